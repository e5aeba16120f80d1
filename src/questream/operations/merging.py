"""The result of an operator's merge of two clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from questream.clustering.constraints import pack_vector
from questream.clustering.kept_members import KeptMembers, Place
from questream.clustering.merging import Merge, merged_naming, precedence
from questream.clustering.second_look.kept import keep_both, pack, unpack
from questream.domain import ClusterState, Exemplar, Naming, Ruling, format_cluster_id, joint_exemplars
from questream.errors import NamingsDiffer, OperationRefused
from questream.operations.binding import new_names
from questream.operations.live import live_cluster
from questream.store.ledger import in_topic
from questream.store.protocol import Store

# In the name of an exemplar that a merge has left, before the number of the cluster that it took away.
_MARK = "m"
MayDrop = Callable[[ClusterState, ClusterState], bool]


def keep_namings(survivor: ClusterState, loser: ClusterState) -> bool:
    """The answer of somebody who gives up no label and no route."""
    del survivor, loser
    return False


@dataclass(slots=True)
class OperatorsMerge:
    """Two clusters become one because an operator says so, whatever their similarity.

    The id of the named one survives, else that of the larger, else that of the older. Where both are named and their
    labels or routes differ, those of `keep` stay, one of the two; without it those of the survivor, if `may_drop`
    agrees: it is asked with the survivor and the loser, and asked again if either is named anew before the merge.
    What is near to either goes to what both become: `drawing`.
    The ends of separations that are `forgiven` go.
    """

    store: Store
    namespace: str
    one: int
    other: int
    may_drop: MayDrop = keep_namings
    keep: int | None = None
    forgiven: frozenset[str] = frozenset()
    _agreed: tuple[Naming, Naming] | None = field(default=None, init=False)

    def proposed(self) -> tuple[Merge, dict[int, Ruling], dict[int, Ruling]]:
        """The merge, and how survivor and loser are ruled before and after it, by id in this order.

        Raises KeyError if there is no such cluster, ValueError if both are the same, NamingsDiffer if nothing may be
        dropped, OperationRefused if people separated the two.
        """
        states = [live_cluster(self.store, self.namespace, cluster_id) for cluster_id in (self.one, self.other)]
        survivor, loser = sorted(states, key=precedence_of)
        if survivor.cluster_id == loser.cluster_id:
            raise ValueError("the two are one cluster already")
        kept, lost = self._forgiving(survivor.ruling), self._forgiving(loser.ruling)
        if kept.is_separate_from(lost):
            raise OperationRefused(
                f"{format_cluster_id(survivor.cluster_id)} and {format_cluster_id(loser.cluster_id)} were separated,"
                " or are kept in two intents or topics",
                "undo that first, `questream clusters history` has its number, or move one to the other's intent",
            )
        label, route = self._naming(survivor, loser)
        both = replace(kept, label=label, route=route).with_constraints_of(lost)
        after = replace(both, exemplars=joint_exemplars(both.exemplars, drawing(survivor, loser)))
        before = {survivor.cluster_id: survivor.ruling, loser.cluster_id: loser.ruling}
        gone = replace(lost, exemplars=())
        return merge_of(survivor, loser), before, {survivor.cluster_id: after, loser.cluster_id: gone}

    def _forgiving(self, ruling: Ruling) -> Ruling:
        return replace(ruling, separations=tuple(end for end in ruling.separations if end not in self.forgiven))

    def _naming(self, survivor: ClusterState, loser: ClusterState) -> Naming:
        kept, lost = (survivor.label, survivor.route), (loser.label, loser.route)
        naming = merged_naming(kept, lost, None)
        if naming is not None:
            return naming
        if self.keep is not None:
            chosen = live_cluster(self.store, self.namespace, self.keep).cluster_id
            if chosen not in (survivor.cluster_id, loser.cluster_id):
                raise OperationRefused("the decision that is kept is of neither of the two", "name one of the two")
            return kept if chosen == survivor.cluster_id else lost
        if self._agreed != (kept, lost):
            if not self.may_drop(survivor, loser):
                raise NamingsDiffer("the two have labels or routes that differ, and a cluster has one of each")
            self._agreed = kept, lost
        return kept


def drawing(survivor: ClusterState, loser: ClusterState) -> list[Exemplar]:
    """Exemplars that draw what is near to either of two clusters to what both become, however unlike they are.

    Each is the centroid, at the place of the question that is most alike: a move to another model embeds that. There is
    none without any, nor one of a survivor that an earlier merge has left one of. `drawn_by_merge_of` recognises them.
    """
    drawn_before = any(_MARK in one.name for one in survivor.ruling.exemplars)
    states = [loser] if drawn_before else [survivor, loser]
    found = []
    for name, state in zip(new_names(len(states)), states, strict=True):
        place, centroid = _typical_place(state), np.asarray(state.vector_sum)
        if place is not None and (length := np.linalg.norm(centroid)) > 0:
            found.append(Exemplar(f"{name}{_MARK}{loser.cluster_id}", "must", pack_vector(centroid / length), place))
    return found


def drawn_by_merge_of(cluster_id: int, exemplars: Iterable[Exemplar]) -> set[str]:
    """The names of the exemplars that the operator's merge which took this cluster away has left."""
    return {one.name for one in exemplars if one.name.endswith(f"{_MARK}{cluster_id}")}


def _typical_place(state: ClusterState) -> Place | None:
    kept = KeptMembers.parse(state.kept_members)
    return next((in_topic(one.place) for one in (*kept.typical, *kept.newest)), None)


def merge_of(survivor: ClusterState, loser: ClusterState) -> Merge:
    """The merge of two live clusters."""
    assert survivor.vector_sum is not None and loser.vector_sum is not None  # noqa: S101, PT018 - both live
    return Merge(
        survivor.cluster_id,
        loser.cluster_id,
        survivor.members,
        loser.members,
        survivor.vector_sum + loser.vector_sum,
        kept=pack(keep_both(unpack(survivor.features), unpack(loser.features))) or None,
        by_operator=True,
    )


def precedence_of(state: ClusterState) -> tuple[bool, bool, int, int]:
    """By what a cluster survives a merge, the lesser first."""
    return precedence((state.label, state.route), state.size, state.cluster_id, state.ruling.kept_in)
