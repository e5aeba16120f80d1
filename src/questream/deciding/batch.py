"""A micro-batch of one namespace while it is decided, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from questream.deciding.proposal import Arrival
from questream.domain import ClusterState, Decision, Matrix, NamespaceState
from questream.errors import NamespaceRefused
from questream.store.protocol import OutboxPosition


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The outcome of a batch beside its decisions.

    What its states wait for in the outbox was there by `outbox_position`, which is None where nothing was
    committed. `commit_seconds` is the part of the time that the store took, `missed_changes` how much of the log had
    been missed. `judged_same` and `judged_other` count what a judge said of close calls.
    """

    namespace_state: NamespaceState | None = None
    outbox_position: OutboxPosition | None = None
    merges: int = 0
    merges_refused: int = 0
    stale_retries: int = 0
    missed_changes: int = 0
    judged_same: int = 0
    judged_other: int = 0
    commit_seconds: float = 0.0


_OUTCOME = [one.name for one in fields(Outcome)]


@dataclass(slots=True)
class NamespaceDecisions(Outcome):
    """The decisions of a batch in the order of its arrivals, and the state of every cluster that it changed."""

    namespace: str
    decisions: list[Decision]
    states: list[ClusterState]


@dataclass(slots=True)
class NamespaceBatch(Outcome):
    """The arrivals of a micro-batch in one namespace, with their unit `vectors` (n, d), and what came of them so far.

    `store_epoch` is the one that the ledgers of their partitions were read under. Those of `pending` are undecided;
    with `refused` they stay so, since the store does not serve the namespace.
    """

    namespace: str
    store_epoch: str
    arrivals: Sequence[Arrival]
    vectors: Matrix
    refused: NamespaceRefused | None = None
    pending: list[int] = field(init=False)
    decisions: list[Decision | None] = field(init=False)
    states: dict[int, ClusterState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pending = list(range(len(self.arrivals)))
        self.decisions = [None] * len(self.arrivals)

    @property
    def is_open(self) -> bool:
        """True if it has still to be decided."""
        return bool(self.pending) and self.refused is None

    def decided(self) -> NamespaceDecisions:
        """The outcome. Raises NamespaceRefused."""
        if self.refused is not None:
            raise self.refused
        return NamespaceDecisions(
            self.namespace,
            [decision for decision in self.decisions if decision is not None],
            list(self.states.values()),
            **{name: getattr(self, name) for name in _OUTCOME},
        )
