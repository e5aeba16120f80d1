"""The lexicon of a language, from its file: opposites, and the small words that turn a sentence around."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from questream.clustering.second_look.items import Kind, Role, hashed, item
from questream.clustering.second_look.stems import stem_of

LANGUAGES = ("en", "de", "fr", "es")

# Endings of a name from a list that has so many letters: "Colombians", "deutschen".
_NAME_ENDINGS = {
    "en": ("s", "n", "ns"),
    "de": ("s", "e", "n", "en", "er", "es", "em"),
    "fr": ("s", "e", "es"),
    "es": ("s", "es"),
}
_FEWEST_LETTERS = 5


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of one language, in lower case. `poles` are items by stem, `phrases` by verb's stem and particle.

    `choices` are those of an axis with more than two poles: "not on Monday" is not "on Tuesday". `listed_names` are
    likewise, by word: by its stem "time" would be Tim. `choices_of_one_stem` are those of words that only their endings
    tell apart: "hermana" and "hermano".
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
    choices_of_one_stem: Mapping[str, tuple[int, ...]]
    listed_names: Mapping[str, tuple[int, ...]]
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

    def choices_of(self, word: str) -> tuple[int, ...]:
        """What a word in lower case says that excludes others, one of which it is: a month, a city, a person."""
        found = self.choices_of_one_stem.get(word) or self.choices.get(self.stem(word), ())
        word = word.removesuffix("'s")
        names = self.listed_names.get(word)
        for ending in _NAME_ENDINGS[self.language] if names is None else ():
            if word.endswith(ending) and len(word) - len(ending) >= _FEWEST_LETTERS:
                names = names or self.listed_names.get(word[: -len(ending)])
        return (*found, *(names or ()))

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
        choices_of_one_stem=_choices_of_one_stem(language, choices),
        listed_names=_listed_names(words("not_names")),
        listed=frozenset(listed),
        phrases=phrases,
        particles=frozenset(particle for _, particle in phrases),
        reworded_words=tuple(phrase for those in raw["rewordings"].values() for phrase in those.split(" / ")),
        rewordings=tuple(raw["rewordings"]),
        reworded_phrases=re.compile(rf"\b(?:{'|'.join(f'({those})' for those in reworded)})\b", re.IGNORECASE),
        compound=frozenset(word.partition("_")[0] for word in roles if "_" in word),
    )


def _choices_of_one_stem(language: str, choices: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The choices of words that have their stem in common with another choice of their axis."""
    found: dict[str, tuple[int, ...]] = {}
    for entry, pole, is_choice in _entries(language):
        alike = choices.get(stem_of(entry, language), ()) if is_choice else ()
        if any(other != pole and other >> 12 == pole >> 12 for other in alike):
            found[entry] = (*found.get(entry, ()), pole)
    return found


def _listed_names(not_names: Set[str]) -> dict[str, tuple[int, ...]]:
    """The names of the lists but for these words, each with its choices."""
    found: dict[str, tuple[int, ...]] = {}
    for names in _lists():
        for spellings in names:
            for word in set(spellings) - not_names:
                found[word] = (*found.get(word, ()), _pole(names, spellings))
    return found


def axes_of(language: str) -> list[list[list[str]]]:
    """The axes of a language and those of all languages, and the lists of names, each as the words of its poles."""
    return _axes(language) + _lists()


def _axes(language: str) -> list[list[list[str]]]:
    axes = (*read_lexicon(language)["axes"], *read_lexicon("any")["axes"])
    return [[pole.split() for pole in axis.split("|")] for axis in axes]


def _lists() -> list[list[list[str]]]:
    return [[entry.split("/") for entry in entries.split()] for entries in read_lexicon("any")["lists"]]


def axis_name(poles: list[list[str]]) -> int:
    """The axis of an item: the names of two poles, since "light" is one thing beside "heavy", another beside "dark"."""
    return hashed(f"{poles[0][0]}|{poles[1][0]}", 15) << 1


def _entries(language: str) -> Iterator[tuple[str, int, bool]]:
    """Each entry of the axes with the item of its pole, named by its first entry; true if there are more than two."""
    for poles in _axes(language):
        for pole in poles:
            for entry in pole:
                yield entry, _pole(poles, pole), len(poles) > 2


def _pole(poles: list[list[str]], pole: list[str]) -> int:
    return item(Kind.POLE, axis_name(poles) << 12 | hashed(pole[0], 12))


def read_lexicon(name: str) -> dict[str, Any]:
    """The parsed file of a language, or of `any`."""
    folder = files("questream.clustering.second_look") / "lexicon"
    return tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
