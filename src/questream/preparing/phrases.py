"""The phrases that mails are framed with, of all languages together: a mail does not say which it is in."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise


class Beginnings:
    """Phrases that a line may begin with, found by their first word."""

    def __init__(self, those: Iterable[str]) -> None:
        self._those = frozenset(those)
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        for words in map(str.split, self._those):
            lengths[words[0]].add(len(words))
        # Of each first word, the longest first.
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def begin(self, words: Sequence[str], at: int = 0) -> int:
        """The number of words from `at` on that make the longest phrase they begin with; 0 for none."""
        for length in self._lengths.get(words[at], ()) if at < len(words) else ():
            if at + length <= len(words) and " ".join(words[at : at + length]) in self._those:
                return length
        return 0

    def may_be_in(self, words: Iterable[str]) -> bool:
        """True if a phrase begins with one of these words."""
        return not self._lengths.keys().isdisjoint(words)


class Sayings:
    """Phrases that may be anywhere among words."""

    def __init__(self, those: Iterable[str]) -> None:
        self._those = Beginnings(those)

    def among(self, words: Sequence[str]) -> set[str]:
        """The words that are said."""
        # Most lines say none.
        if not self._those.may_be_in(words):
            return set()
        return {" ".join(words[at:end]) for at, end in self._found_in(words)}

    def left_out_of(self, words: Sequence[str]) -> list[str]:
        """The words beside them."""
        left, begun = list[str](), 0
        for at, end in self._found_in(words):
            left += words[begun:at]
            begun = end
        return [*left, *words[begun:]]

    def _found_in(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        at = 0
        while at < len(words):
            count = self._those.begin(words, at)
            if count:
                yield at, at + count
            at += count or 1


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases in lower case, words apart by one space.

    A sentence of nothing but `courtesies`, `fillers` and `small` words, one courtesy at least, does not say what a mail
    is about; nor does one of a number and `references`. `remarks` are courtesies too, unless the sentence asks or has
    one of the `wanting` words: the manual was read in vain, or is asked for. A closing in other words has one of
    `regards`. A line that begins with one of `sent_from` names one of `devices`. Where a sender asks, or speaks of
    themself, one of `asking` is said, or two words of `asking_pairs`, one behind the other. Who wants something of the
    reader says one of `requests`. `headers` are names of the fields of a mail or a ticket, `subjects` those of them
    that say what it is about, `senders` those that say whose mail it is, `bodies` those that have the mail itself.
    `passed_on` says that the mail below is the one to read, `banners` are what a gateway puts above a mail from
    outside.
    """

    greetings: Beginnings
    courtesies: Beginnings
    courtesies_and_remarks: Beginnings
    wanting: frozenset[str]
    closings: Beginnings
    regards: frozenset[str]
    fillers: frozenset[str]
    small: frozenset[str]
    references: frozenset[str]
    asking: frozenset[str]
    asking_pairs: frozenset[tuple[str, str]]
    requests: Sayings
    sent_from: Beginnings
    devices: frozenset[str]
    headers: frozenset[str]
    subjects: frozenset[str]
    bodies: frozenset[str]
    senders: frozenset[str]
    wrote: Sayings
    forwarded: Sayings
    legal: Sayings
    passed_on: Sayings
    banners: Sayings


@cache
def phrases() -> Phrases:
    """The phrases of every language that has a file."""
    folder = files("questream.preparing") / "phrases"
    texts = (file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml"))
    languages = [tomllib.loads(text) for text in texts]

    def of(name: str) -> frozenset[str]:
        return frozenset().union(*(language[name] for language in languages))

    asking = of("asking")
    return Phrases(
        greetings=Beginnings(of("greetings")),
        courtesies=Beginnings(of("courtesies")),
        courtesies_and_remarks=Beginnings(of("courtesies") | of("remarks")),
        wanting=of("wanting"),
        closings=Beginnings(of("closings")),
        regards=of("regards"),
        fillers=of("fillers"),
        small=of("small") | of("fillers"),
        references=of("references"),
        asking=frozenset(one for one in asking if " " not in one),
        asking_pairs=frozenset(pair for one in asking for pair in pairwise(one.split())),
        requests=Sayings(of("requests")),
        sent_from=Beginnings(of("sent_from")),
        devices=of("devices"),
        headers=of("headers") | of("bodies"),
        subjects=of("subjects"),
        bodies=of("bodies"),
        senders=of("senders"),
        wrote=Sayings(of("wrote")),
        forwarded=Sayings(of("forwarded")),
        legal=Sayings(of("legal")),
        passed_on=Sayings(of("passed_on")),
        banners=Sayings(of("banners")),
    )


def asks_in(words: Sequence[str]) -> bool:
    """True if a sender asks with these words in lower case, or speaks of themself."""
    known = phrases()
    return not (known.asking.isdisjoint(words) and known.asking_pairs.isdisjoint(pairwise(words)))
