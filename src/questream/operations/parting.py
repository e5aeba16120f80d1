"""A merge is taken back: what it absorbed stands by itself again."""

from __future__ import annotations

import uuid
from dataclasses import replace

from questream.clustering.kept_members import KeptMembers
from questream.domain import Ruling, format_cluster_id
from questream.errors import OperationRefused
from questream.operations.live import live_cluster
from questream.store.protocol import Part, Remains, Store

Rulings = dict[int, Ruling]


def parting(store: Store, namespace: str, cluster_id: int) -> tuple[Part, Rulings, Rulings]:
    """How a merged cluster parts from what it has become, and how both are ruled before and after it.

    It gets back what it was: questions that joined since stay counted where they were decided. The two are separated,
    since what has merged once would merge again. Raises KeyError if there is no such cluster, OperationRefused where it
    is not merged or what it was is not kept any longer.
    """
    survivor = live_cluster(store, namespace, cluster_id)
    name = format_cluster_id(cluster_id)
    if survivor.cluster_id == cluster_id:
        raise OperationRefused(f"{name} is not merged")
    remains, returned = store.remains(namespace, cluster_id), store.cluster(namespace, cluster_id)
    if remains is None or returned is None or survivor.vector_sum is None:
        raise OperationRefused(
            f"what {name} was before its merge is not kept any longer",
            "clusters.undo_seconds says for how long; `questream clusters split` parts questions that come later",
        )
    places = {one.place for list_ in _lists(remains) for one in list_}
    part = Part(
        remains,
        survivor.cluster_id,
        survivor.members,
        survivor.vector_sum - remains.vector_sum,
        str(KeptMembers.parse(survivor.kept_members).without(places)),
    )
    before = {survivor.cluster_id: survivor.ruling, cluster_id: returned.ruling}
    stem = uuid.uuid4().hex[:12]
    own = tuple(one for one in survivor.exemplars if one.name in remains.exemplars)
    alone = returned.ruling
    left = _left(survivor.ruling, alone, remains, is_direct=survivor.cluster_id == remains.survivor)
    after = {
        survivor.cluster_id: replace(left, separations=(*left.separations, f"{stem}+")),
        cluster_id: replace(alone, separations=(*alone.separations, f"{stem}-"), exemplars=own),
    }
    return part, before, after


def _lists(remains: Remains) -> tuple[tuple, ...]:  # type: ignore[type-arg]  # of references, read for their places
    kept = KeptMembers.parse(remains.kept_members)
    return kept.newest, kept.typical, kept.doubtful


def _left(ruling: Ruling, returned: Ruling, remains: Remains, *, is_direct: bool) -> Ruling:
    """The survivor's ruling without what it had from the cluster that parts; what was decided since stays."""
    was = remains.survivor_ruling
    naming, own = (ruling.label, ruling.route), (was.label, was.route)
    if is_direct and naming == (returned.label, returned.route):
        naming = own
    gone = set(remains.exemplars) - set(remains.survivor_exemplars)
    chosen = ruling.represented_by
    if is_direct and chosen is not None and chosen == returned.represented_by:
        # A survivor inherits one where it has none of its own.
        chosen = None
    return replace(
        ruling,
        represented_by=chosen,
        label=naming[0],
        route=naming[1],
        pinned=ruling.pinned and not (is_direct and returned.pinned and not was.pinned),
        separations=tuple(
            end for end in ruling.separations if end not in returned.separations or end in was.separations
        ),
        exemplars=tuple(one for one in ruling.exemplars if one.name not in gone),
    )
