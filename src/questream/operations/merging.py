"""An operator merges two clusters."""

from __future__ import annotations

from collections.abc import Callable

from questream.clustering.merging import Merge, Naming, merged_naming, precedence
from questream.clustering.second_look.kept import keep_both, pack, unpack
from questream.domain import ClusterState, format_cluster_id
from questream.errors import Contended, NamingsDiffer, OperationRefused
from questream.operations.live import live_cluster
from questream.store.protocol import AppliedMerge, Store

_MERGE_ATTEMPTS = 20


def keep_namings(survivor: ClusterState, loser: ClusterState) -> bool:
    """The answer of somebody who gives up no label and no route."""
    del survivor, loser
    return False


def merge_clusters(
    store: Store,
    namespace: str,
    one: int,
    other: int,
    may_drop: Callable[[ClusterState, ClusterState], bool] = keep_namings,
) -> AppliedMerge:
    """Merge two clusters because an operator says so, whatever their similarity.

    The id of the named one survives, else that of the larger, else that of the older. Ids that were merged away stand
    for what they were merged into. Workers publish the merge within seconds.
    Where both are named and their labels or routes differ, those of the smaller would go: `may_drop` is asked with the
    survivor and the loser, and asked again if either is named anew before the merge. Raises KeyError if there is no
    such cluster, ValueError if both are the same, NamingsDiffer if nothing may be dropped, OperationRefused if people
    separated the two, Contended if they never stood still, StoreUnsettled where a worker has to look first whether the
    store has lost anything.
    """
    agreed: Naming | None = None
    for _ in range(_MERGE_ATTEMPTS):
        survivor, loser = sorted(
            (live_cluster(store, namespace, one), live_cluster(store, namespace, other)), key=_precedence
        )
        if survivor.cluster_id == loser.cluster_id:
            raise ValueError("the two are one cluster already")
        if survivor.ruling.is_separate_from(loser.ruling):
            raise OperationRefused(
                f"{format_cluster_id(survivor.cluster_id)} and {format_cluster_id(loser.cluster_id)} were separated",
                "undo that first: `questream clusters history` has its number",
            )
        if survivor.vector_sum is None or loser.vector_sum is None:
            continue
        kept, lost = (survivor.label, survivor.route), (loser.label, loser.route)
        if merged_naming(kept, lost, agreed) is None:
            if not may_drop(survivor, loser):
                raise NamingsDiffer("the two have labels or routes that differ, and a cluster has one of each")
            agreed = lost
        merge = Merge(
            survivor.cluster_id,
            loser.cluster_id,
            survivor.members,
            loser.members,
            survivor.vector_sum + loser.vector_sum,
            agreed,
            pack(keep_both(unpack(survivor.features), unpack(loser.features))) or None,
            by_operator=True,
        )
        store_epoch, whole = store.store_epoch(namespace), store.namespace_state(namespace)
        merged = store.merge(namespace, store_epoch or "", whole.seq if whole else 0, [merge])
        if merged.applied:
            return merged.applied[0]
    raise Contended("the clusters kept moving", "try again")


def _precedence(state: ClusterState) -> tuple[bool, int, int]:
    return precedence((state.label, state.route), state.size, state.cluster_id)
