"""How the stream was meant to be clustered and published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# From one offset up to another, by partition.
Window = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Named:
    """A live cluster was given this label and this route, and the cluster topic had it."""

    namespace: str
    number: int
    label: str
    route: str


@dataclass(frozen=True, slots=True)
class Operated:
    """An operation that was asked for, with the number that the store answered, 0 where its answer was lost.

    It is on the `clusters`. `forgettable`: the store lost its memory afterwards, and the topic may not have it
    before. `renumbered`: it was answered before anybody had noticed that, perhaps under the number of another.
    Questions at or beyond the offsets `asked` were asked afterwards, by partition, None where that is not known.
    `absorbed` are the clusters that had been merged away by then, None where nobody looked. `turned_away` are vectors
    by the cluster that turned them away, `naming` a label and a route and `threshold` one that it set, `represents` the
    text that it chose to represent its cluster, and `erased` are the clusters of which it erased the texts. One that
    `may_part` takes merges back.
    """

    namespace: str
    id: str
    number: int
    clusters: frozenset[int] = frozenset()
    forgettable: bool = False
    renumbered: bool = False
    asked: Mapping[int, int] | None = None
    absorbed: frozenset[int] | None = None
    turned_away: Mapping[int, Sequence[bytes]] = field(default_factory=dict)
    naming: tuple[str, str] | None = None
    threshold: float | None = None
    represents: str | None = None
    erased: frozenset[int] = frozenset()
    may_part: bool = False

    def came_before(self, place: tuple[int, int]) -> bool:
        """True if the question at this place was asked after it, for certain."""
        return self.asked is not None and place[1] >= self.asked.get(place[0], 0)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a stream that the checks need; the rest they see.

    `embed` gives the unit vector (d,) of a text as the workers' model does; without it twins and centroids are judged
    by what was published alone. `store_lost_memory` names a stream whose store was restored on the way: the questions
    that it forgot are counted again, at another size, or answered by the clusters of that time (`replayed`), and a
    centroid may have learned one of them twice. `decided_anew` are the records whose offsets were not committed when it
    lost its memory: delivered at least once, they may be published again with another decision, which is theirs from
    then on. `tombstones`, records with a key and without a value, are passed over or dead-lettered. `added_fields` are
    those of a decision that an earlier release beside this one leaves out where it repeats it; `mean_of_some` where it
    counts no questions in the mean.
    """

    threshold: float
    embed: Callable[[str], NDArray[Any]] | None = None
    similarity: Literal["centred", "cosine"] = "centred"
    linkage: Literal["adaptive", "average", "centroid", "first"] = "adaptive"
    mean_prior: int = 5
    mean_questions: int = 1000
    centroid_members: int = 256
    delivery: Literal["exactly-once", "at-least-once"] = "exactly-once"
    store_lost_memory: bool = False
    decided_anew: Sequence[Window] = ()
    tombstones: Literal["skip", "dead-letter"] = "skip"
    added_fields: frozenset[str] = frozenset()
    mean_of_some: bool = False
    # Workers score in float32.
    tolerance: float = 1e-4
    # What people called clusters without an operation, in order of time; nobody merged one by hand.
    named: Sequence[Named] = ()
    # What people decided, in order of time.
    operated: Sequence[Operated] = ()

    def may_decide_anew(self, place: tuple[int, int]) -> bool:
        """True if a record may have been published with a decision that the store then forgot."""
        partition, offset = place
        windows = [window.get(partition, (0, 0)) for window in self.decided_anew]
        return self.delivery == "at-least-once" and any(first <= offset < end for first, end in windows)
