"""The undo of a merge: one cluster becomes two again."""

from __future__ import annotations

from dataclasses import replace

from questream.clustering.mirror import Change
from questream.domain import InFlight
from questream.store.protocol import Part
from questream.store.reference.state import Namespace


def may_unmerge(state: Namespace, part: Part) -> bool:
    """True if the clusters of a merge still are as they were when it was to be taken back."""
    remains = state.remains.get(part.remains.cluster_id)
    survivor, returned = state.clusters.get(part.survivor), state.clusters.get(part.remains.cluster_id)
    return (
        remains is not None
        and (remains[0].key, remains[0].erased_by) == (part.remains.key, part.remains.erased_by)
        and survivor is not None
        and survivor.vector_sum is not None
        and survivor.members == part.survivor_members > remains[0].members
        and survivor.cluster_row.size > part.size
        and returned is not None
        and returned.merged_into is not None
        and not returned.retired
    )


def unmerge(state: Namespace, part: Part) -> list[Change]:
    """Make a merged cluster live again; the rulings of both are set by now. Returns changes for the log."""
    remains, was, _ = state.remains.pop(part.remains.cluster_id)
    through: int | None = remains.survivor
    while through not in (None, part.survivor) and through in state.clusters:
        # The clusters that it came through have absorbed it and give it up too: nobody takes it out twice.
        state.remains.pop(through, None)
        through = state.clusters[through].merged_into
    survivor, returned = state.clusters[part.survivor], state.clusters[remains.cluster_id]
    left, back = _parted(survivor.cluster_row.in_flight, remains.cluster_id, was)
    row = survivor.cluster_row
    survivor.cluster_row = replace(row, size=row.size - part.size, in_flight=left, kept_members=part.kept_members)
    survivor.members, survivor.vector_sum = survivor.members - remains.members, part.vector_sum
    returned.cluster_row = replace(returned.cluster_row, size=part.size, in_flight=back, kept_members=part.own_kept)
    returned.members, returned.vector_sum, returned.merged_into = remains.members, remains.vector_sum, None
    returned.features = remains.features
    return [
        survivor.moved(part.survivor, None),
        returned.moved(remains.cluster_id, remains.features or None),
    ]


def _parted(now: InFlight, returned: int, was: InFlight) -> tuple[InFlight, InFlight]:
    """The questions in flight of a survivor and of the cluster that leaves it, which had `was` when it was absorbed."""
    own = {at: set(offsets) for at, offsets in was.joins.items()}
    left = {at: tuple(o for o in offsets if o not in own.get(at, ())) for at, offsets in now.joins.items()}
    back = {at: tuple(o for o in offsets if o in own.get(at, ())) for at, offsets in now.joins.items()}
    others = [one for one in now.absorbed if one != returned]
    return (
        InFlight({at: some for at, some in left.items() if some}, tuple(i for i in others if i not in was.absorbed)),
        InFlight({at: some for at, some in back.items() if some}, tuple(i for i in others if i in was.absorbed)),
    )
