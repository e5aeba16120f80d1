"""References to a few questions of a cluster: those decided last, those most alike to it, and those that just joined.

As text, three lists with a semicolon between, each of three tokens `PLACE:SIMILARITY:FINGERPRINT` at most.
`store/redis/lua/writing.lua` unites two of them as `KeptMembers.joined_by` does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

KEPT_OF_A_KIND = 3
# Enough to distinguish a record from another one that has its offset by now.
_FINGERPRINT_DIGITS = 8
_SIMILARITY_DIGITS = 4

Place = tuple[str, int, int]

_TOKEN = re.compile(r"([^/:; ]+)/([0-9]{1,10})/([0-9]{1,19}):(-?[0-9]\.[0-9]+|):([0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class KeptMember:
    """A question's place: topic as the ledgers name it, partition and offset; `fingerprint` begins that of its record.

    `similarity` is the cosine to the cluster when it joined, None of the question that opened it.
    """

    place: Place
    similarity: float | None
    fingerprint: str = ""

    def is_of(self, fingerprint: str) -> bool:
        """True if a record with this fingerprint may be the one that was decided."""
        return fingerprint.startswith(self.fingerprint)

    def __str__(self) -> str:
        similarity = "" if self.similarity is None else f"{self.similarity:.{_SIMILARITY_DIGITS}f}"
        return f"{'/'.join(map(str, self.place))}:{similarity}:{self.fingerprint[:_FINGERPRINT_DIGITS]}"


@dataclass(frozen=True, slots=True)
class KeptMembers:
    """The newest first, the most alike first, and the least alike first; one question may be in all three."""

    newest: tuple[KeptMember, ...] = ()
    typical: tuple[KeptMember, ...] = ()
    doubtful: tuple[KeptMember, ...] = ()

    @classmethod
    def of(cls, members: Sequence[KeptMember]) -> Self:
        """The kept members of questions in the order of their decisions."""
        joined = [one for one in members if one.similarity is not None]
        return cls(
            tuple(reversed(members[-KEPT_OF_A_KIND:])),
            tuple(sorted(joined, key=_descending)[:KEPT_OF_A_KIND]),
            tuple(sorted(joined, key=_ascending)[:KEPT_OF_A_KIND]),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. They are worth no cluster: nothing where the text is not such."""
        lists = [[_parsed(token) for token in tokens.split()] for tokens in text.split(";")]
        if len(lists) != 3 or any(one is None or len(members) > KEPT_OF_A_KIND for members in lists for one in members):
            return cls()
        newest, typical, doubtful = (tuple(one for one in members if one is not None) for members in lists)
        return cls(newest, typical, doubtful)

    def joined_by(self, later: Self) -> Self:
        """The kept members once `later` ones have joined; of equally similar ones the earlier stay."""
        return type(self)(
            _first((*later.newest, *self.newest)),
            _first(sorted((*self.typical, *later.typical), key=_descending)),
            _first(sorted((*self.doubtful, *later.doubtful), key=_ascending)),
        )

    def all(self) -> list[KeptMember]:
        """Each of them once."""
        return list({one.place: one for one in (*self.newest, *self.typical, *self.doubtful)}.values())

    def only(self, places: Collection[Place]) -> Self:
        """The members at one of these places."""
        return self.without([one.place for one in self.all() if one.place not in places])

    def without(self, places: Collection[Place]) -> Self:
        """The members at none of these places."""

        def left(members: Iterable[KeptMember]) -> tuple[KeptMember, ...]:
            return tuple(one for one in members if one.place not in places)

        return type(self)(left(self.newest), left(self.typical), left(self.doubtful))

    def __str__(self) -> str:
        lists = (self.newest, self.typical, self.doubtful)
        return ";".join(" ".join(map(str, members)) for members in lists) if any(lists) else ""


def _first(members: Iterable[KeptMember]) -> tuple[KeptMember, ...]:
    by_place: dict[Place, KeptMember] = {}
    for one in members:
        by_place.setdefault(one.place, one)
    return tuple(by_place.values())[:KEPT_OF_A_KIND]


def _parsed(token: str) -> KeptMember | None:
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    topic, partition, offset, similarity, fingerprint = found.groups()
    return KeptMember((topic, int(partition), int(offset)), float(similarity) if similarity else None, fingerprint)


def _descending(member: KeptMember) -> float:
    return -(member.similarity or 0.0)


def _ascending(member: KeptMember) -> float:
    return member.similarity or 0.0
