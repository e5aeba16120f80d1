"""The lexicon of a language, from its file: opposites, and the small words that turn a sentence around."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from questream.clustering.second_look.items import Kind, Role, hashed, item
from questream.clustering.second_look.stems import stem_of

LANGUAGES = ("en", "de", "fr", "es")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of one language, in lower case. `poles` are items by stem, `phrases` by verb's stem and particle.

    `choices` are those of an axis with more than two poles: "not on Monday" is not "on Tuesday".
    """

    language: str
    function: frozenset[str]
    negators: frozenset[str]
    failing: frozenset[str]
    failing_next: frozenset[str]
    stopped: frozenset[str]
    reciprocal: frozenset[str]
    failing_after: frozenset[str]
    failing_verbs: frozenset[str]
    boundaries: frozenset[str]
    help: frozenset[str]
    symmetric: frozenset[str]
    infinitive: frozenset[str]
    articles: frozenset[str]
    determiners: frozenset[str]
    exchange: frozenset[str]
    prepositions: frozenset[str]
    verbs: frozenset[str]
    halves: frozenset[str]
    agents: frozenset[str]
    objects: frozenset[str]
    paired: Mapping[str, str]
    numbers: Mapping[str, float]
    number_joint: str
    scales: Mapping[str, float]
    roles: Mapping[str, tuple[int, ...]]
    irregular: Mapping[str, str]
    poles: Mapping[str, tuple[int, ...]]
    choices: Mapping[str, tuple[int, ...]]
    listed: frozenset[str]
    phrases: Mapping[tuple[str, str], tuple[int, ...]]
    particles: frozenset[str]
    compound: frozenset[str]
    rewordings: tuple[str, ...]
    reworded_words: tuple[str, ...]
    reworded_phrases: re.Pattern[str]

    def stem(self, word: str) -> str:
        """The stem of a word in lower case."""
        known = self.irregular.get(word)
        return stem_of(known or word, self.language)

    def paired_pole(self, stem: str, particle: str) -> int:
        """The item of a verb's particle, which excludes the other of its pair with the same verb: "scroll up"."""
        return item(Kind.POLE, hashed(f"{stem} {self.paired[particle]}", 15) << 13 | hashed(particle, 12))

    def reworded(self, text: str) -> str:
        """The text with phrases such as `no longer` as the words that they stand for."""
        lowered = text.lower()
        if text.isascii() and not any(phrase in lowered for phrase in self.reworded_words):
            return text
        # By group: where case is ignored, more is found than the phrases in lower case, such as "m\u0131dnight".
        return self.reworded_phrases.sub(lambda found: self.rewordings[(found.lastindex or 1) - 1], text)


@cache
def lexicon(language: str) -> Lexicon:
    """The lexicon of a language: en, de, fr or es."""
    raw = read_lexicon(language)

    def words(name: str) -> frozenset[str]:
        return frozenset(raw[name].split())

    def values(name: str) -> dict[str, float]:
        return {word: float(value) for word, _, value in (pair.partition("=") for pair in raw[name].split())}

    def pairs(name: str) -> dict[str, str]:
        return {word: other for word, _, other in (pair.partition("=") for pair in raw[name].split())}

    irregular = pairs("irregular")
    roles: dict[str, tuple[int, ...]] = {}
    for role in Role:
        for word in raw[role.name.lower()].split() if role not in (Role.AGENT, Role.OBJECT) else ():
            roles[word] = (*roles.get(word, ()), role)
    poles: dict[str, tuple[int, ...]] = {}
    choices: dict[str, tuple[int, ...]] = {}
    listed: set[str] = set()
    phrases: dict[tuple[str, str], tuple[int, ...]] = {}
    for entry, pole, is_choice in _entries(language):
        verb, _, particle = entry.partition("_")
        stem = stem_of(irregular.get(verb, verb), language)
        listed.add(verb)
        if particle:
            phrases[stem, particle] = (*phrases.get((stem, particle), ()), pole)
            continue
        known = choices if is_choice else poles
        if pole not in known.get(stem, ()):
            known[stem] = (*known.get(stem, ()), pole)
    reworded = ["|".join(map(re.escape, phrases.split(" / "))) for phrases in raw["rewordings"].values()]
    return Lexicon(
        language=language,
        function=words("function"),
        negators=words("negators"),
        failing=words("failing"),
        failing_next=words("failing_next"),
        stopped=words("stopped"),
        reciprocal=words("reciprocal"),
        failing_after=words("failing_after"),
        failing_verbs=words("failing_verbs"),
        boundaries=words("boundaries"),
        help=words("help"),
        symmetric=words("symmetric"),
        infinitive=words("infinitive"),
        articles=words("articles"),
        determiners=words("determiners"),
        exchange=words("exchange"),
        prepositions=words("prepositions"),
        verbs=words("verbs"),
        halves=words("halves"),
        agents=words("agent"),
        objects=words("object"),
        paired=pairs("paired"),
        numbers={**values("numbers"), **values("ordinals")},
        number_joint=raw["number_joint"],
        scales=values("scales"),
        roles=roles,
        irregular=irregular,
        poles=poles,
        choices=choices,
        listed=frozenset(listed),
        phrases=phrases,
        particles=frozenset(particle for _, particle in phrases),
        reworded_words=tuple(phrase for those in raw["rewordings"].values() for phrase in those.split(" / ")),
        rewordings=tuple(raw["rewordings"]),
        reworded_phrases=re.compile(rf"\b(?:{'|'.join(f'({those})' for those in reworded)})\b", re.IGNORECASE),
        compound=frozenset(word.partition("_")[0] for word in roles if "_" in word),
    )


def axes_of(language: str) -> list[list[list[str]]]:
    """The axes of a language and those of all languages, each as the words of its poles."""
    own, shared = read_lexicon(language), read_lexicon("any")
    axes = [[pole.split() for pole in axis.split("|")] for axis in (*own["axes"], *shared["axes"])]
    return axes + [[entry.split("/") for entry in entries.split()] for entries in shared["lists"]]


def axis_name(poles: list[list[str]]) -> int:
    """The axis of an item: the names of two poles, since "light" is one thing beside "heavy", another beside "dark"."""
    return hashed(f"{poles[0][0]}|{poles[1][0]}", 15) << 1


def _entries(language: str) -> Iterator[tuple[str, int, bool]]:
    """Each entry of the axes with the item of its pole, named by its first entry; true if there are more than two."""
    for poles in axes_of(language):
        for pole in poles:
            for entry in pole:
                yield entry, item(Kind.POLE, axis_name(poles) << 12 | hashed(pole[0], 12)), len(poles) > 2


def read_lexicon(name: str) -> dict[str, Any]:
    """The parsed file of a language, or of `any`."""
    folder = files("questream.clustering.second_look") / "lexicon"
    return tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
