"""The phrases that mails are framed with, of all languages together: a mail does not say which it is in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

# Words of a phrase that a line may begin with.
LONGEST = 12


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases in lower case, words apart by one space.

    A sentence at the beginning of a mail that is one of `courtesies` and some of `fillers` asks nothing, nor does one
    at its end that is one of `endings`. A closing in other words has one of `regards`. A line that begins with one of
    `sent_from` names one of `devices`. Where a sender asks, or speaks of themself, one of `asking` is said, of one word
    or two. `headers` are names of the fields of a mail or a ticket, `subjects` those of them that say what it is about.
    """

    greetings: frozenset[str]
    courtesies: frozenset[str]
    endings: frozenset[str]
    closings: frozenset[str]
    regards: frozenset[str]
    fillers: frozenset[str]
    asking: frozenset[str]
    sent_from: frozenset[str]
    devices: frozenset[str]
    headers: frozenset[str]
    subjects: frozenset[str]
    wrote: re.Pattern[str]
    forwarded: re.Pattern[str]
    legal: re.Pattern[str]


@cache
def phrases() -> Phrases:
    """Those of every language that a file stands for."""
    folder = files("questream.preparing") / "phrases"
    texts = (file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml"))
    languages = [tomllib.loads(text) for text in texts]

    def of(name: str) -> frozenset[str]:
        return frozenset().union(*(language[name] for language in languages))

    return Phrases(
        greetings=of("greetings"),
        courtesies=of("courtesies"),
        endings=of("endings"),
        closings=of("closings"),
        regards=of("regards"),
        fillers=of("fillers"),
        asking=of("asking"),
        sent_from=of("sent_from"),
        devices=of("devices"),
        headers=of("headers"),
        subjects=of("subjects"),
        wrote=_any_of(of("wrote")),
        forwarded=_any_of(of("forwarded")),
        legal=_any_of(of("legal")),
    )


def _any_of(those: Iterable[str]) -> re.Pattern[str]:
    """Finds any of the phrases among words that have a space on either side."""
    return re.compile(f"(?<= )(?:{'|'.join(map(re.escape, sorted(those, key=len, reverse=True)))})(?= )")


def begins_with(words: Sequence[str], those: frozenset[str]) -> int:
    """How many of the words make the longest of those phrases that they begin with; 0 for none."""
    for count in range(min(len(words), LONGEST), 0, -1):
        if " ".join(words[:count]) in those:
            return count
    return 0


def asks_in(words: Sequence[str]) -> bool:
    """Whether a sender asks with these words in lower case, or speaks of themself."""
    asking = phrases().asking
    return not (asking.isdisjoint(words) and asking.isdisjoint(map(" ".join, pairwise(words))))
