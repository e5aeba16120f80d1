"""Operations: people's decisions about clusters, numbered, with the rulings before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from questream.clustering.merging import Merge
from questream.clustering.stored_levels import StoredLevels
from questream.domain import Correction, LevelsChange, Operation, OperationKind, RulesChange, Ruling, Vector
from questream.errors import Contended

# The last ones of a namespace that the store keeps; only these are shown and can be undone.
OPERATIONS_KEPT = 1000


# The remains of the last merges of a namespace, which can be undone.
REMAINS_KEPT = 1000
UNDO_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Remains:
    """A cluster when `survivor` absorbed it: `vector_sum` (d,) is the raw sum of its `members`.

    `key` names these remains in the store. `exemplars` are the names of those that it had, `survivor_exemplars` of
    those that the survivor had; `survivor_ruling` is how that was ruled, without them and its representative.
    `survivor_kept` are the references of the survivor, None where they were not kept; `later_kept` those of what it
    absorbed since. Where the operation `erased_by` has erased its texts since (0: none), it has no references.
    """

    key: str
    cluster_id: int
    survivor: int
    size: int
    members: int
    vector_sum: Vector
    features: bytes
    kept_members: str
    exemplars: tuple[str, ...]
    survivor_ruling: Ruling
    survivor_exemplars: tuple[str, ...]
    survivor_kept: str | None = None
    later_kept: tuple[str, ...] = ()
    erased_by: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A cluster that was merged away is live again, with its `remains`.

    `survivor` is what it has become, seen with so many `survivor_members`; `vector_sum` (d,) and `kept_members` are
    the survivor's after it. So many questions that `joined` since go with it; `returned_kept` are its references then.
    """

    remains: Remains
    survivor: int
    survivor_members: int
    vector_sum: Vector
    kept_members: str
    joined: int = 0
    returned_kept: str | None = None

    @property
    def size(self) -> int:
        """The number of questions of the cluster that parts."""
        return self.remains.size + self.joined

    @property
    def own_kept(self) -> str:
        """The references that it has."""
        return self.remains.kept_members if self.returned_kept is None else self.returned_kept


# Longer than anybody may still be publishing an earlier state of a cluster that an operation retires.
TOMBSTONE_SECONDS = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class OpenedCluster:
    """A cluster that an operation opens before any question comes: the raw sum (d,) of its `members` examples.

    `opened_at` in ms since the epoch. `features` and `representative` are as in its state.
    """

    members: int
    vector_sum: Vector
    opened_at: int
    features: bytes = b""
    representative: str | None = None


@dataclass(frozen=True, slots=True)
class ProposedLevels:
    """A change of intents and topics, by one operation, of the levels at the time of its proposal.

    There have to be some.
    """

    stored: StoredLevels
    change: LevelsChange

    def changed(self, operation: int) -> StoredLevels:
        """The levels after the operation."""
        return self.stored.changed(self.change, operation)


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Whose texts an operation erases: a live cluster's, and those of all `aliases` that were merged into it.

    `aliases_known` is the digest of all aliases of the namespace then, `operation_count` was its last operation.
    """

    cluster_id: int
    aliases: tuple[int, ...]
    aliases_known: str
    operation_count: int

    @property
    def cluster_ids(self) -> frozenset[int]:
        """The cluster and its aliases."""
        return frozenset((self.cluster_id, *self.aliases))


@dataclass(frozen=True, slots=True)
class ProposedOperation:
    """An operation on live clusters that have the rulings `before`, and get those of `after`; both name the same.

    With a `merge` it is on just its survivor and its loser, in this order, which have the member counts that it says;
    with a `part` on what a merged cluster has become and on that cluster. `rules` changes those of the namespace,
    `levels` its intents and topics. `opens` has clusters that it opens under the numbers that are next,
    in their order: the last of `before`, where nothing rules them. Those of `retires` are of no question, and leave the
    index. One that `forgets` is on that cluster alone, and leaves no text of it but label and route. `corrections` and
    `asked` are kept with it.
    """

    id: str
    kind: OperationKind
    actor: str
    reason: str
    before: Mapping[int, Ruling]
    after: Mapping[int, Ruling]
    undoes: int | None = None
    merge: Merge | None = None
    rules: RulesChange | None = None
    part: Part | None = None
    levels: ProposedLevels | None = None
    opens: Mapping[int, OpenedCluster] = field(default_factory=dict)
    retires: frozenset[int] = frozenset()
    forgets: Forgetting | None = None
    corrections: tuple[Correction, ...] = ()
    asked: str | None = None

    def __post_init__(self) -> None:
        if self.forgets is not None and list(self.before) != [self.forgets.cluster_id]:
            raise ValueError("an operation erases the texts of the one cluster that it is on")

    @property
    def survivor(self) -> int | None:
        """Of a merge, the one of its two clusters that both will be."""
        return None if self.merge is None else self.merge.survivor

    @property
    def parted(self) -> int | None:
        """The cluster that is one of its own again, if a merge is undone."""
        return None if self.part is None else self.part.remains.cluster_id


@dataclass(frozen=True, slots=True)
class OperationClaim:
    """One worker may publish the operations above the number `published`, up to `newest`, in this store epoch.

    Where it is not `compared`, what was published has to be read first: the store may have forgotten it, or a worker
    that had the claim before may have died.
    """

    store_epoch: str
    published: int
    newest: int
    compared: bool


def kept_rulings(rulings: Mapping[int, Ruling], others: Mapping[int, Ruling]) -> dict[int, Ruling]:
    """The rulings of one time as an operation is kept with them; `others` are those of the other time.

    Of exemplars, those that the other time has not: an undo needs no more. None has its text; neither has the question
    that represents a cluster, where it does at both times.
    """
    return {
        i: replace(
            ruling,
            exemplars=tuple(replace(one, text=None) for one in ruling.exemplars if one not in others[i].exemplars),
            represented_by=ruling.represented_by
            and (
                replace(ruling.represented_by, text=None)
                if ruling.represented_by == others[i].represented_by
                else ruling.represented_by
            ),
        )
        for i, ruling in rulings.items()
    }


def digest_of_aliases(cluster_ids: Iterable[int]) -> str:
    """A digest of all aliases of a namespace, in the order of their merges and then of their texts."""
    return hashlib.sha1(" ".join(map(str, cluster_ids)).encode(), usedforsecurity=False).hexdigest()


def aliases_of(cluster_id: int, merged_into: Mapping[int, Collection[int]]) -> tuple[int, ...]:
    """All that a cluster has absorbed, by what was merged into each."""
    found: dict[int, None] = {}
    asked = [cluster_id]
    while asked:
        new = [i for i in merged_into.get(asked.pop(), ()) if i not in found]
        found.update(dict.fromkeys(new))
        asked += new
    return tuple(sorted(found))


def without_texts(operation: Operation, cluster_ids: Collection[int]) -> Operation:
    """An operation as it is kept once the texts of these clusters are erased."""
    erase = {i for i in operation.before if i in cluster_ids}
    before, after = (
        {i: ruling.without_texts() if i in erase else ruling for i, ruling in rulings.items()}
        for rulings in (operation.before, operation.after)
    )
    return replace(operation, before=before, after=after)


def waits_to_be_published() -> Contended:
    """The error where an operation would drive out one that is not published yet."""
    return Contended(
        f"{OPERATIONS_KEPT:,} operations wait to be published", "try again once a worker has published them"
    )


class Operations(Protocol):
    """People's operations, and the one way to commit one."""

    def operate(self, namespace: str, proposed: ProposedOperation) -> Operation | None:
        """Commit an operation, all of it or nothing; a repeated id answers the operation that it named first.

        None where a cluster is not there or not ruled as it was `before`, where the namespace has other rules than it
        had, the centroid of one that merges has moved, a number that it opens is not next, one that it retires has a
        question, what it forgets has absorbed more, or where what it undoes is undone or no longer kept: look again.
        Rules that change and clusters that it opens are in the log: a proposal of a mirror that has not seen them is
        stale. Raises RecoveryNeeded.
        """

    def forgetting(self, namespace: str, cluster_id: int) -> Forgetting:
        """The aliases that an operation has to name to erase the texts of a live cluster, as the namespace is now."""

    def remains(self, namespace: str, cluster_id: int) -> Remains | None:
        """The remains of a cluster that was merged away: of the last merges, and for as long as its settings say.

        None where a part of it, which it had absorbed before, has parted from what it has become.
        """

    def operation(self, namespace: str, number: int) -> Operation | None:
        """One of the operations that are kept."""

    def operations(self, namespace: str, limit: int) -> list[Operation]:
        """The last operations that are kept, the newest first."""

    def operations_from(self, namespace: str, number: int, limit: int) -> list[Operation]:
        """The kept operations from this number on, the oldest first."""

    def published_operations(self, namespace: str) -> int | None:
        """Up to which number operations are published, None where no worker has compared that in this store epoch."""

    def claim_operations(self, namespace: str, token: str, claim_seconds: float) -> OperationClaim | None:
        """Claim the unpublished operations, or hold the claim for longer; None if there are none or another has it.

        Raises RecoveryNeeded.
        """

    def restore_operations(self, namespace: str, token: str, published: Sequence[Operation], newest: int) -> int | None:
        """Restore what the store lacks of the published operations, oldest first, up to the number `newest`.

        A number that a store without its memory gave again is that of the operation in the topic; the other goes behind
        them all. One that was done again under its id is the one that was published.

        `token` is that of the claim, or of the recovery in hand. Returns how many were restored; None where it is
        another's by now.
        """

    def confirm_operations(self, namespace: str, token: str, published: int) -> None:
        """The operations up to this number are published: the claim ends, if it is still this one's."""
