"""The outbox: which clusters have a state that is not published yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from questream.domain import NamespaceRules
from questream.store.protocol.namespaces import StoreError


@dataclass(frozen=True, slots=True)
class OutboxPosition:
    """A position in the outbox of a namespace: a confirmation takes out only entries from before it.

    It holds for the current store epoch. `count` is how often a cluster was found outdated in the cluster topic,
    `server_time_ms` the store's time since the epoch.
    """

    store_epoch: str
    count: int
    server_time_ms: int


# By cluster id, 0 for the namespace as a whole (NamespaceState.revision).
Revisions = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """These revisions are in the cluster topic; they were sent after `position`.

    What a cluster counts from below the `committed` offsets of partitions is no longer in flight.
    """

    namespace: str
    revisions: Revisions
    committed: Mapping[tuple[str, int], int]
    position: OutboxPosition


Unconfirmed = list[tuple[Confirmation, StoreError]]


@dataclass(frozen=True, slots=True)
class Verified:
    """The outbox positions of namespaces, None for one that has to be recovered; and the refused confirmations."""

    positions: dict[str, OutboxPosition | None]
    unconfirmed: Unconfirmed


@dataclass(frozen=True, slots=True)
class Waiting:
    """The store epoch of a namespace, None where it has to be recovered, and the clusters that wait in its outbox.

    `operations`: operations wait to be published; `levels`: the namespace's levels wait, and their
    lease is free. `rules` are those that people set for the namespace.
    """

    store_epoch: str | None
    cluster_ids: list[int]
    operations: bool = False
    levels: bool = False
    rules: NamespaceRules = field(default_factory=NamespaceRules)


class Outbox(Protocol):
    """The calls about states that wait for their publication, and about its confirmation."""

    def verify_before_commit(
        self, published: Mapping[str, Revisions], confirmations: Sequence[Confirmation] = ()
    ) -> Verified:
        """True if the namespaces are still there, when these revisions have their place in the cluster topic.

        It takes one round trip.

        A cluster that has moved on since waits to be published again: the worker that moved it may have published it
        before. The confirmations of earlier publications go with it, as by `confirm`. Raises the error of the first
        namespace that has one.
        """

    def outbox_position(self, namespace: str) -> OutboxPosition:
        """The present outbox position, for a confirmation."""

    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        """Clusters whose last change has waited that long to be confirmed as published; 0 is the namespace itself."""

    def waiting(
        self, namespaces: Sequence[str], older_than_seconds: float, limit: int
    ) -> dict[str, Waiting | StoreError]:
        """As `store_epoch` and `unpublished`, of all these namespaces in one round trip.

        What fails in one namespace is the answer for that one.
        """

    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        """Remove published states from the outbox, in one round trip; returns the confirmations that were refused.

        A cluster that has moved on since stays to be published: two workers may publish it in either order; so does one
        that `verify_before_commit` has put there after the position. Nothing happens where the store epoch is another
        than at the position. It may be said twice, and may be lost: what stays is published again.
        """
