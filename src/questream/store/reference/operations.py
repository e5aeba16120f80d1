"""People's operations in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from questream.clustering.mirror import Change, ClusterRemoved, MeanMoved
from questream.domain import Operation, RulesChange, Ruling
from questream.store.protocol import (
    OPERATIONS_KEPT,
    TOMBSTONE_SECONDS,
    ClusterRow,
    Forgetting,
    OpenedCluster,
    OperationClaim,
    ProposedOperation,
    Remains,
    aliases_of,
    digest_of_aliases,
    kept_rulings,
    waits_to_be_published,
    without_texts,
)
from questream.store.reference.merging import MemoryMerging
from questream.store.reference.retiring import MemoryRetirement
from questream.store.reference.state import Cluster, Namespace, members_of, recovery_needed
from questream.store.reference.unmerging import may_unmerge, unmerge


class MemoryOperations(MemoryMerging, MemoryRetirement):
    """The part of the protocol Operations."""

    def operate(self, namespace: str, proposed: ProposedOperation) -> Operation | None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise recovery_needed(namespace)
            known = next((one for one in state.operations.values() if one.id == proposed.id), None)
            if known is not None:
                return known
            rows = {
                i: cluster.cluster_row
                for i in proposed.before
                if (cluster := state.clusters.get(i)) and (cluster.vector_sum is not None or i == proposed.parted)
            }
            if not _is_in_force(state, proposed, rows):
                return None
            count = max(state.operation_count, state.rules.operation, state.levels.operation)
            number = 1 + max([count, *(row.operation for row in rows.values())])
            if state.operation_epoch is not None and number - OPERATIONS_KEPT > state.operations_published:
                raise waits_to_be_published()
            self._apply_operation(state, proposed, rows, number)
            return self._record_operation(state, proposed, number)

    def _apply_operation(
        self, state: Namespace, proposed: ProposedOperation, rows: dict[int, ClusterRow], number: int
    ) -> None:
        """Change clusters, rules and levels, and log what mirrors have to follow."""
        merge, part = proposed.merge, proposed.part
        if merge is not None:
            self._keep_remains(state, state.clusters[merge.survivor], state.clusters[merge.loser])
        rows |= {i: self._open(state, i, opened) for i, opened in proposed.opens.items()}
        changes = [change for i, row in rows.items() for change in self._rule_cluster(state, proposed, i, row, number)]
        if proposed.rules is not None:
            state.rules = replace(proposed.rules.after, operation=number)
            mean = state.mean or MeanMoved(0, np.zeros(state.identity.dimension, np.float32))
            changes.append(replace(mean, rules=state.rules))
            state.outbox[0] = self._clock()
        if proposed.levels is not None:
            version = max(state.levels.version + 1, int(self._clock() * 1000))
            state.levels = replace(proposed.levels.changed(number), version=version)
            state.levels_heeding = True
        self._log(state, changes)
        state.constrained = state.seq if changes else state.constrained
        if proposed.forgets is not None:
            self._erase_texts(state, proposed.forgets, number)
        if merge is not None:
            self._log(state, self._merge_by_operation(state, merge, proposed.after[merge.survivor]))
        if part is not None:
            self._log(state, unmerge(state, part))
            state.constrained = state.seq

    def _rule_cluster(
        self, state: Namespace, proposed: ProposedOperation, cluster_id: int, row: ClusterRow, number: int
    ) -> Iterator[Change]:
        """Give a cluster its new ruling; yields what mirrors have to follow."""
        after, cluster = proposed.after[cluster_id], state.clusters[cluster_id]
        cluster.cluster_row = replace(row.ruled(after), operation=number, revision=row.revision + 1)
        cluster.labelled = (row.label, row.route) != (after.label, after.route)
        state.outbox[cluster_id] = self._clock()
        binds = (row.ruling.exemplars, row.ruling.threshold) != (after.exemplars, after.threshold)
        is_moved = binds or cluster_id in proposed.opens or proposed.forgets is not None
        if is_moved and cluster.vector_sum is not None and not (proposed.merge or proposed.part):
            yield cluster.moved(cluster_id, cluster.features or None if cluster_id in proposed.opens else None)
        if cluster_id in proposed.retires:
            self._make_stub(state, cluster_id, TOMBSTONE_SECONDS)
            cluster.cluster_row = replace(cluster.cluster_row, revision=row.revision + 1)
            yield ClusterRemoved(cluster_id)

    def _record_operation(self, state: Namespace, proposed: ProposedOperation, number: int) -> Operation:
        operation = Operation(
            proposed.id,
            number,
            proposed.kind,
            proposed.actor,
            proposed.reason,
            int(self._clock() * 1000),
            _kept_before(proposed),
            kept_rulings(proposed.after, proposed.before),
            proposed.undoes,
            survivor=proposed.survivor,
            rules=proposed.rules and RulesChange.of(proposed.rules.document()),
            parted=proposed.parted,
            levels=None if proposed.levels is None else proposed.levels.change,
            corrections=proposed.corrections,
            asked=proposed.asked,
        )
        undone = state.operations.get(proposed.undoes or 0)
        state.operation_count = number
        state.operations[number] = operation
        state.operations.pop(number - OPERATIONS_KEPT, None)
        if undone is not None:
            state.operations[undone.number] = replace(undone, undone_by=number)
        return operation

    def _open(self, state: Namespace, cluster_id: int, opened: OpenedCluster) -> ClusterRow:
        """A cluster of no question."""
        at = opened.opened_at
        row = ClusterRow(cluster_id, 0, 0, at, at, opened.representative or None)
        state.clusters[cluster_id] = Cluster(row, opened.members, opened.vector_sum, features=opened.features)
        state.next_id = cluster_id + 1
        state.outbox[0] = self._clock()
        return row

    def forgetting(self, namespace: str, cluster_id: int) -> Forgetting:
        with self._lock:
            return _forgetting(self._get(namespace), cluster_id)

    def _erase_texts(self, state: Namespace, forgets: Forgetting, number: int) -> None:
        for i in forgets.cluster_ids:
            known = state.clusters[i].cluster_row
            ruling = replace(known.ruling, represented_by=None)
            row = replace(known, representative=None, own_representative=None, ruling=ruling)
            is_alias = i != forgets.cluster_id
            state.clusters[i].cluster_row = replace(row, kept_members="", revision=row.revision + is_alias)
            state.outbox[i] = self._clock()
            state.made_names.pop(i, None)
            if is_alias and i in state.remains:
                remains, in_flight, at = state.remains[i]
                state.remains[i] = replace(remains, kept_members="", erased_by=number), in_flight, at
        state.name_changes = max(state.name_changes + 1, int(self._clock() * 1000))
        state.operations = {known: without_texts(one, forgets.cluster_ids) for known, one in state.operations.items()}
        del state.log[:-1]

    def remains(self, namespace: str, cluster_id: int) -> Remains | None:
        with self._lock:
            all_of_them = self._get(namespace).remains
            if cluster_id not in all_of_them:
                return None
            found = all_of_them[cluster_id][0]
            if not found.key:
                return None
            later = [one for one, _, _ in list(all_of_them.values())[list(all_of_them).index(cluster_id) + 1 :]]
            return replace(found, later_kept=tuple(one.kept_members for one in later if one.survivor == found.survivor))

    def operation(self, namespace: str, number: int) -> Operation | None:
        with self._lock:
            return self._get(namespace).operations.get(number)

    def operations(self, namespace: str, limit: int) -> list[Operation]:
        with self._lock:
            state = self._get(namespace)
            newest = range(state.operation_count, state.operation_count - limit, -1)
            return [state.operations[number] for number in newest if number in state.operations]

    def operations_from(self, namespace: str, number: int, limit: int) -> list[Operation]:
        with self._lock:
            state = self._get(namespace)
            first = max(number, state.operation_count - OPERATIONS_KEPT + 1)
            return [state.operations[at] for at in range(first, first + limit) if at in state.operations]

    def published_operations(self, namespace: str) -> int | None:
        with self._lock:
            state = self._get(namespace)
            is_compared = state.store_epoch is not None and state.operation_epoch == state.store_epoch
            return state.operations_published if is_compared else None

    def claim_operations(self, namespace: str, token: str, claim_seconds: float) -> OperationClaim | None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise recovery_needed(namespace)
            compared, now = state.operation_epoch == state.store_epoch, self._clock()
            holder, deadline = state.operation_claim
            is_another = holder not in ("", token)
            if is_another and compared and deadline > now:
                return None
            if state.operation_count == 0 or (compared and state.operations_published >= state.operation_count):
                return None
            if is_another and compared:
                compared, state.operation_epoch = False, None
            state.operation_claim = (token, now + claim_seconds)
            return OperationClaim(state.store_epoch, state.operations_published, state.operation_count, compared)

    def restore_operations(self, namespace: str, token: str, published: Sequence[Operation], newest: int) -> int | None:
        with self._lock:
            state = self._get(namespace)
            recovers = state.store_epoch is None and state.recovery_token == token
            if not recovers and (state.store_epoch is None or state.operation_claim[0] != token):
                return None
            state.operation_count = max(state.operation_count, newest)
            oldest = state.operation_count - OPERATIONS_KEPT
            lacking = [one for one in published if one.number > oldest and not _has(state.operations, one)]
            places = {one.id: one.number for one in state.operations.values()}
            displaced = [state.operations[one.number] for one in lacking if one.number in state.operations]
            for one in lacking:
                state.operations.pop(places.get(one.id, one.number), None)
            for one in lacking:
                state.operations[one.number] = replace(one, undone_by=None)
            for one in lacking:
                if one.undoes in state.operations:
                    state.operations[one.undoes] = replace(state.operations[one.undoes], undone_by=one.number)
            for other in displaced:
                if other.id not in {one.id for one in state.operations.values()}:
                    state.operation_count += 1
                    state.operations[state.operation_count] = replace(other, number=state.operation_count)
            state.operations_published, state.operation_epoch = newest, state.store_epoch or token
            if recovers:
                state.operation_claim = ("", 0.0)
            return len(lacking)

    def confirm_operations(self, namespace: str, token: str, published: int) -> None:
        with self._lock:
            state = self._get(namespace)
            if state.operation_claim[0] == token:
                state.operations_published = max(state.operations_published, published)
                state.operation_claim = ("", 0.0)


def _is_in_force(state: Namespace, proposed: ProposedOperation, rows: Mapping[int, ClusterRow]) -> bool:
    """True if the namespace is as it was when the operation was proposed; `rows` are the clusters that it rules."""
    undone = state.operations.get(proposed.undoes or 0)
    merge, levels, opens = proposed.merge, proposed.levels, proposed.opens
    return (
        (proposed.undoes is None or (undone is not None and undone.undone_by is None))
        and (proposed.part is None or may_unmerge(state, proposed.part))
        and {i: rows[i].ruling if i in rows else Ruling() for i in {*rows, *opens}} == proposed.before
        and list(opens) == list(range(state.next_id, state.next_id + len(opens)))
        and not any(rows[i].size for i in proposed.retires)
        and (
            merge is None
            or [state.clusters[i].members for i in (merge.survivor, merge.loser)]
            == [merge.survivor_members, merge.loser_members]
        )
        and (proposed.rules is None or proposed.rules.before == state.rules)
        and (levels is None or (bool(levels.stored.version) and levels.stored == state.levels))
        and (proposed.forgets is None or proposed.forgets == _forgetting(state, proposed.forgets.cluster_id))
    )


def _has(operations: Mapping[int, Operation], one: Operation) -> bool:
    known = operations.get(one.number)
    return known is not None and known.id == one.id


def _kept_before(proposed: ProposedOperation) -> dict[int, Ruling]:
    kept = kept_rulings(proposed.before, proposed.after)
    return {i: ruling.without_texts() for i, ruling in kept.items()} if proposed.forgets else kept


def _forgetting(state: Namespace, cluster_id: int) -> Forgetting:
    into: dict[int, list[int]] = {}
    for i, cluster in state.clusters.items():
        if cluster.merged_into is not None:
            into.setdefault(cluster.merged_into, []).append(i)
    known = digest_of_aliases(i for _, i in sorted(members_of(state, "aliases"), key=lambda one: (one[0], str(one[1]))))
    return Forgetting(cluster_id, aliases_of(cluster_id, into), known, state.operation_count)
