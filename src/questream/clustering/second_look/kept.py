"""The kept members of a cluster for the second look: the items of a few of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np

from questream.clustering.second_look.conflict import Reason, conflict, shared_words
from questream.clustering.second_look.features import MOST_ITEMS, Features

# Of the members that differ; the first ones, which are what a cluster is known by. At most 640 bytes.
MEMBERS = 4

Kept: TypeAlias = tuple[Features, ...]

_VERSION = 1
_UNPACKED = 8192
_UINT32 = np.dtype("<u4")


def keep(kept: Kept, features: Features) -> Kept:
    """The kept members once a question has joined a cluster."""
    if not features or len(kept) >= MEMBERS or features in kept:
        return kept
    return (*kept, features)


def keep_both(kept: Kept, other: Kept) -> Kept:
    """The kept members of two clusters together: of each in turn, so that neither is forgotten."""
    both: Kept = ()
    for at in range(MEMBERS):
        for one in (kept, other):
            if at < len(one):
                both = keep(both, one[at])
    return both


def conflict_with(features: Features, kept: Kept) -> Reason | None:
    """The reason why a question does not belong to a cluster: it differs from more than half of the kept members.

    Where it differs from half, the member that is most alike in words decides: one in other words rarely tells an
    opposite. With those of people who merged what differs it goes on.
    """
    reasons = [conflict(features, one) for one in kept]
    if 2 * sum(reason is not None for reason in reasons) != len(reasons) or _disagree(kept):
        return _of_most(reasons)
    alike = [shared_words(features, one) for one in kept]
    return max(zip(alike, reasons, strict=True), key=lambda pair: (pair[0], pair[1] is None), default=(0.0, None))[1]


def conflict_between(kept: Kept, other: Kept) -> Reason | None:
    """The reason why two clusters are not one: half of the pairs of their kept members differ, or more.

    Half do where one of two members does not mention it, as `Is it possible?` beside `Turn it on`. Where the members of
    one cluster differ from each other, one of them may belong to the other cluster, and more than half decide.
    """
    reasons = [conflict(one, two) for one in kept for two in other]
    differing = [reason for reason in reasons if reason is not None]
    if differing and 2 * len(differing) == len(reasons) and not (_disagree(kept) or _disagree(other)):
        return differing[0]
    return _of_most(reasons)


def pack(kept: Kept) -> bytes:
    """A version, then each member's items after their number; nothing for nothing."""
    if not kept:
        return b""
    items = [[len(one), *one] for one in kept]
    return bytes([_VERSION]) + np.array([number for one in items for number in one], _UINT32).tobytes()


@lru_cache(maxsize=_UNPACKED)
def unpack(packed: bytes) -> Kept:
    """The inverse of `pack`; nothing of a later version, which has no bearing on what is decided but a second look.

    Raises ValueError if it is cut short.
    """
    if not packed or packed[0] != _VERSION:
        return ()
    numbers = np.frombuffer(packed, _UINT32, offset=1).tolist()
    kept, at = [], 0
    while at < len(numbers):
        count = numbers[at]
        one = tuple(numbers[at + 1 : at + 1 + count])
        if len(one) != count or count > MOST_ITEMS:
            raise ValueError("the items of a member are cut short")
        kept.append(one)
        at += 1 + count
    return tuple(kept[:MEMBERS])


def _disagree(kept: Kept) -> bool:
    return any(conflict(one, two) for one, two in combinations(kept, 2))


def _of_most(reasons: Iterable[Reason | None]) -> Reason | None:
    found = list(reasons)
    differing = [reason for reason in found if reason is not None]
    return differing[0] if 2 * len(differing) > len(found) else None
