"""Recovery: a store that may have forgotten is compared with the cluster topic, and what it lacks is restored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from questream.domain import ClusterState, InFlight, NamespaceState


@dataclass(frozen=True, slots=True)
class Restored:
    """A cluster to restore. `publish` asks for its state to be published again, since it is not what was read.

    What the store has of a `damaged` one is replaced, whatever its revision.
    """

    state: ClusterState
    publish: bool = False
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Mended:
    """The `revisions` of clusters that are whole in the store, and the last known ones (or 0) of those `damaged`."""

    revisions: dict[int, int] = field(default_factory=dict)
    damaged: dict[int, int] = field(default_factory=dict)


class Recovery(Protocol):
    """The calls of a recovery, from `begin_recovery` to `recover`."""

    def revisions(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, int]:
        """The revisions of those clusters that the store knows and that are whole, recovered or not."""

    def seconds_since_noted(self, namespaces: Sequence[str]) -> float | None:
        """The seconds since a worker of one of these last noted that it runs, by the store's clock.

        None where none has, or where this login may not read all of them.
        """

    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        """Look at these clusters and at all that an index names, and make the indexes agree with those that are whole.

        `dimension` is what a centroid has to have, None for what the namespace says. Nothing is found and nothing
        happens where the memory of that token is gone.
        """

    def heads(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The heads of the partitions' ledgers, recovered or not; -1 where nothing was decided."""

    def in_flight(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, InFlight]:
        """The unpublished counts of these clusters, recovered or not; clusters without any are left out."""

    def begin_recovery(self, namespace: str) -> str:
        """A token of the memory that the namespace has now; ask for it before the cluster topic is read.

        Raises NamespaceHeld while somebody holds it.
        """

    def lease_recovery(self, namespace: str, token: str, holder: str, seconds: float) -> bool:
        """Lease the recovery to the holder, for so long from now at most; false if another has it; 0 ends the lease.

        False where another is, where the namespace is recovered, and where the memory of that token is gone. It spares
        work that is done twice: `restore` and `recover` take the token from anybody.
        """

    def hold(self, namespace: str, store_epoch: str, seconds: float) -> str | None:
        """End the store epoch and let nobody but the holder of the token recover the namespace, for so long at most.

        `restore` and `recover` take the token; recovering it unchanged ends the hold. None if the epoch is another.
        """

    def still_holds(self, namespace: str, token: str, seconds: float) -> bool:
        """Renew the hold of the token's holder for so many seconds from now; false if it has ended."""

    def delete(self, namespace: str, token: str, operation: int = 0) -> bool:
        """Forget a namespace that the token's holder holds; False where it is another's to recover by now.

        It is in `namespaces` no more. Numbers of its clusters and operations, that of the `operation` which deletes it
        included, are not given again, and it keeps its home: what begins anew under its name goes on behind them. A
        call that fails may be made again.
        """

    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        """Put clusters back into a namespace that is not recovered; returns how many were.

        Nothing happens where the memory of that token is gone.
        A state of event `retired` removes what the store has; any other replaces an earlier revision.
        """

    def recover(
        self,
        namespace: str,
        token: str,
        whole: NamespaceState | None,
        heads: Mapping[tuple[str, int], int],
        unpublished: Iterable[int] = (),
    ) -> None:
        """Begin a new store epoch, unless there is one or the memory of that token is gone: decisions may be made.

        `whole` is the namespace as it was published, which the store may be behind: in what it has counted, or by
        whole generations, each with a model of its own. Offsets up to the `heads` of partitions count as decided.
        The next number is above every id that the store still names. `unpublished` wait to be published.
        """

    def require_recovery(self, namespace: str) -> None:
        """End the store epoch: nothing is decided until the namespace is recovered again.

        A release before this one, which would restore a part, waits for that as long as a worker of this one recovers.
        """
