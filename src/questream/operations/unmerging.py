"""Undo of merges: the absorbed cluster is live again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from questream.clustering.kept_members import KeptMember, KeptMembers, Place
from questream.domain import ClusterState, Correction, Ruling, Vector, format_cluster_id
from questream.errors import OperationRefused
from questream.operations.binding import KnownQuestion
from questream.operations.live import live_cluster
from questream.operations.merging import drawn_by_merge_of
from questream.store.ledger import in_topic
from questream.store.protocol import Part, Remains, Store

Rulings = dict[int, Ruling]
_TINY = 1e-12


Unmerging = tuple[Part, Rulings, Rulings, tuple[Correction, ...]]


def joined_since(store: Store, namespace: str, cluster_id: int) -> list[KeptMember]:
    """References to questions that joined what a cluster was merged into, since that merge.

    Of those that the survivor keeps, without what is not published yet and what other clusters brought. None where the
    cluster is not merged, what it was is not kept, or the survivor was merged itself. Raises KeyError if there is no
    such cluster.
    """
    survivor, remains = live_cluster(store, namespace, cluster_id), store.remains(namespace, cluster_id)
    return [] if remains is None or survivor.cluster_id == cluster_id else _joined(survivor, remains)


def _joined(survivor: ClusterState, remains: Remains) -> list[KeptMember]:
    if survivor.cluster_id != remains.survivor or remains.survivor_kept is None:
        return []
    of_others = (remains.kept_members, remains.survivor_kept, *remains.later_kept)
    known = {one.place for text in of_others for one in KeptMembers.parse(text).all()}
    in_flight = survivor.in_flight.joins
    return [
        one
        for one in KeptMembers.parse(survivor.kept_members).all()
        if one.place not in known and one.place[2] not in in_flight.get(one.place[:2], ())
    ]


def unmerging(store: Store, namespace: str, cluster_id: int, joined: Sequence[KnownQuestion] = ()) -> Unmerging:
    """The undoing of a merge: the rulings of both clusters before and after it, and the questions that move.

    It gets back what it was, and of the questions that `joined` the survivor since those that are nearer to it: each is
    counted and referred to there, and has a correction. Other questions stay counted where they were decided. The two
    are separated, since what has merged once would merge again. Raises KeyError if there is no such cluster,
    OperationRefused where it is not merged, what it was is not kept any longer, or a part of that has parted since.
    """
    # First: where texts are erased after it, the store refuses the part, which has references that the survivor had.
    remains = store.remains(namespace, cluster_id)
    survivor, returned = live_cluster(store, namespace, cluster_id), store.cluster(namespace, cluster_id)
    name = format_cluster_id(cluster_id)
    if survivor.cluster_id == cluster_id:
        raise OperationRefused(f"{name} is not merged")
    if remains is None or returned is None or survivor.vector_sum is None:
        raise OperationRefused(
            f"what {name} was before its merge is not kept any longer, or a part of it is a cluster again",
            "clusters.undo_seconds says how long; `questream clusters split` parts questions that come later",
        )
    left_sum = survivor.vector_sum - remains.vector_sum
    nearer = _nearer(joined, _joined(survivor, remains), remains.vector_sum, left_sum)
    kept, own_kept = KeptMembers.parse(survivor.kept_members), KeptMembers.parse(remains.kept_members)
    part = Part(
        remains,
        survivor.cluster_id,
        survivor.members,
        left_sum,
        str(kept.without({*nearer, *(one.place for one in own_kept.all())})),
        len(nearer),
        str(own_kept.joined_by(kept.only(nearer))),
    )
    moved = tuple(
        Correction(one.place, survivor.cluster_id, cluster_id, one.question_id, one.key)
        for one in nearer.values()
        if one.place is not None
    )
    before = {survivor.cluster_id: survivor.ruling, cluster_id: returned.ruling}
    stem = uuid.uuid4().hex[:12]
    own = tuple(one for one in survivor.ruling.exemplars if one.name in remains.exemplars)
    alone = returned.ruling
    left = _left(survivor.ruling, alone, remains, is_direct=survivor.cluster_id == remains.survivor)
    after = {
        survivor.cluster_id: replace(left, separations=(*left.separations, f"{stem}+")),
        cluster_id: replace(alone, separations=(*alone.separations, f"{stem}-"), exemplars=own),
    }
    return part, before, after, moved


def _nearer(
    questions: Sequence[KnownQuestion], joined: Sequence[KeptMember], own_sum: Vector, left_sum: Vector
) -> dict[Place, KnownQuestion]:
    """The questions that joined since and are nearer to the part than to the rest, by cosine."""
    by_place = {one.place: one for one in questions if one.place is not None}
    towards = own_sum / max(float(np.linalg.norm(own_sum)), _TINY) - left_sum / max(
        float(np.linalg.norm(left_sum)), _TINY
    )
    found: dict[Place, KnownQuestion] = {}
    for one in joined:
        question = by_place.get(in_topic(one.place))
        if question is not None and float(question.vector @ towards) > 0:
            found[one.place] = question
    return found


def _left(ruling: Ruling, returned: Ruling, remains: Remains, *, is_direct: bool) -> Ruling:
    """The survivor's ruling without what it had from the cluster that parts; what was decided since stays."""
    was = remains.survivor_ruling
    naming, own = (ruling.label, ruling.route), (was.label, was.route)
    if is_direct and naming == (returned.label, returned.route):
        naming = own
    gone = set(remains.exemplars) - set(remains.survivor_exemplars)
    gone |= drawn_by_merge_of(remains.cluster_id, ruling.exemplars)
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
