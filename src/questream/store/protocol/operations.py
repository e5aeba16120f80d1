"""Operations: what people decide of clusters, numbered, with what stood before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from questream.domain import Operation, OperationKind, Ruling

# The last ones of a namespace that the store keeps; only these are shown and can be undone.
OPERATIONS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class ProposedOperation:
    """An operation on live clusters that have the rulings `before`, and get those of `after`; both name the same."""

    id: str
    kind: OperationKind
    actor: str
    reason: str
    before: Mapping[int, Ruling]
    after: Mapping[int, Ruling]
    undoes: int | None = None


class Operations(Protocol):
    """What people decided, and the one way to decide."""

    def operate(self, namespace: str, proposed: ProposedOperation) -> Operation | None:
        """Commit an operation, all of it or nothing; a repeated id answers the operation that it named first.

        None where a cluster is not there or not ruled as it was `before`, or where what it undoes is undone or
        no longer kept: look again. Raises RecoveryNeeded.
        """

    def operation(self, namespace: str, number: int) -> Operation | None:
        """One of the operations that are kept."""

    def operations(self, namespace: str, limit: int) -> list[Operation]:
        """The last operations that are kept, the newest first."""
