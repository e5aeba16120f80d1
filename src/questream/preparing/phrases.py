"""The phrases that mails are framed with, of all languages together: a mail does not say which it is in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases in lower case, words apart by one space.

    A sentence at the beginning of a mail that begins with one of `courtesies` and soon ends asks nothing, nor does one
    at its end that begins with one of `endings`. `headers` are names of the fields of a mail or a ticket, `subjects`
    those of them that say what it is about.
    """

    greetings: frozenset[str]
    courtesies: frozenset[str]
    endings: frozenset[str]
    closings: frozenset[str]
    sent_from: frozenset[str]
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
        sent_from=of("sent_from"),
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
    for count in range(min(len(words), 8), 0, -1):
        if " ".join(words[:count]) in those:
            return count
    return 0
