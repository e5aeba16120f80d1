"""Retention in the index: ages in stream time, a limit on the number of clusters, and the expiry of merged ids.

Stream time is the newest timestamp that a live cluster was seen at, never the wall clock: a replay retires what the run
retired, and a stream that pauses loses nothing. A record from the future counts as `FUTURE_ALLOWANCE_SECONDS` ahead of
the clock at most (`proposing.py`), so that one producer whose clock is wrong cannot retire everybody's clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from questream.domain import NamespaceRules

FUTURE_ALLOWANCE_SECONDS = 300

RetirementReason = Literal["idle", "singleton", "full", "alias"]
REASONS: tuple[RetirementReason, ...] = ("idle", "singleton", "full", "alias")
# Names of sorted sets by time last seen: live clusters, those of one question, and ids that were merged away.
Members = Literal["idle", "singletons", "aliases"]


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits of retention; None is for ever, or without limit.

    Seconds of stream time: `idle_seconds` for any cluster, `singleton_seconds` for one that a single question is in,
    `alias_seconds` for an id that was merged away. `tombstone_seconds` of the clock pass between a retirement and its
    tombstone: longer than anybody may still be publishing an earlier state of the cluster.
    """

    idle_seconds: float | None = None
    singleton_seconds: float | None = None
    alias_seconds: float | None = None
    max_clusters: int | None = None
    tombstone_seconds: float = 0.0

    def in_force(self, rules: NamespaceRules) -> Retention:
        """This, but for what people set for the namespace; 0 is for ever there."""
        limit = self.max_clusters if rules.max_clusters is None else rules.max_clusters or None
        return replace(
            self,
            idle_seconds=_set(rules.retention_seconds, self.idle_seconds),
            singleton_seconds=_set(rules.singleton_retention_seconds, self.singleton_seconds),
            alias_seconds=_set(rules.alias_retention_seconds, self.alias_seconds),
            max_clusters=limit,
        )

    @property
    def is_unlimited(self) -> bool:
        """True if nothing ever goes."""
        return self.idle_seconds is self.singleton_seconds is self.alias_seconds is self.max_clusters is None


def _set(seconds: float | None, default: float | None) -> float | None:
    return default if seconds is None else seconds or None


@dataclass(frozen=True, slots=True)
class Index:
    """The live clusters at a moment: how many, when the last one was seen, and since when half of them have not been.

    Times are in ms of stream time.
    """

    clusters: int
    newest: int
    median: int


@dataclass(frozen=True, slots=True)
class Due:
    """The members of `among` that are due: last seen at `until` or before; at 0 only where `timeless`."""

    reason: RetirementReason
    among: Members
    until: int
    timeless: bool = False


@dataclass(slots=True)
class Retired:
    """Ids that left, by reason."""

    ids: dict[RetirementReason, list[int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of clusters that were retired."""
        return sum(map(len, self.ids.values()))

    def add(self, reason: RetirementReason, cluster_ids: list[int]) -> None:
        """These left too."""
        if cluster_ids:
            self.ids.setdefault(reason, []).extend(cluster_ids)


def due_by_age(retention: Retention, newest: int) -> list[Due]:
    """The clusters that are due by age, at the stream time `newest`."""
    ages: list[tuple[RetirementReason, Members, float | None]] = [
        ("idle", "idle", retention.idle_seconds),
        ("singleton", "singletons", retention.singleton_seconds),
        ("alias", "aliases", retention.alias_seconds),
    ]
    # A cluster whose questions carry no timestamp was seen at 0: it has no age.
    return [Due(reason, among, newest - int(s * 1000)) for reason, among, s in ages if s is not None]


def due_for_room(index: Index) -> list[Due]:
    """The clusters that are due while there are too many: the first ones, as long as there are any.

    First singletons that half of all clusters were seen later than: what was asked once and long ago is the cheapest to
    lose, so that a flood of one-off questions does not drive out what is asked every day. Then whatever was idle for
    longest. All of it out of the older half, since else a new cluster would not live to see its second question.
    Whenever some have gone, look again: the half is another one.
    """
    return [Due("full", among, index.median, timeless=True) for among in ("singletons", "idle")]


def excess(retention: Retention, clusters: int) -> int:
    """The number of clusters above the limit."""
    return 0 if retention.max_clusters is None else max(0, clusters - retention.max_clusters)
