"""The levels of a namespace in a store: when a run is due, what it writes, and where each cluster is until the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from questream.clustering.level_places import PlacedLevels, place
from questream.clustering.levels import (
    Leaves,
    LevelRules,
    Levels,
    Node,
    Regrouped,
    leaf,
    leaves_of,
    parse_node,
    regroup,
)
from questream.clustering.mirror import Mirror
from questream.domain import ClusterState, Naming
from questream.store.protocol import ENDED_KEPT, LevelsMark, StoredLevels

# A run costs what all clusters cost. Levels may change after so many new ones, and so large a share of those that live.
_NEW_CLUSTERS = 8
_NEW_SHARE = 0.125
# What is compared at once with all clusters: with 20,000 of these it takes 80 MB.
_PLACED_AT_ONCE = 512


def is_due(mark: LevelsMark) -> bool:
    """True if the levels should be found anew: so many clusters were opened since the last run, or what people decided
    of levels may not be heeded in these, or they set other resolutions."""
    if not mark.heeding or (mark.version and not mark.by_rules):
        return True
    return mark.opened_now - mark.opened >= max(_NEW_CLUSTERS, _NEW_SHARE * mark.live)


def regroup_levels(
    mirror: Mirror,
    sizes: Mapping[int, int],
    stored: StoredLevels,
    rules: LevelRules,
    kept: Mapping[Node, Node] = MappingProxyType({}),
) -> tuple[StoredLevels, float]:
    """The levels of a mirror, from the present place of each cluster, to be written in the place of the stored ones.

    `sizes` are the questions of each cluster, `kept` says where people keep what (`kept_nodes`). Returns beside them
    the share of the questions whose intent or topic has another id than before; those of clusters that are new since
    the last run are left out.
    """
    leaves = leaves_of(mirror, sizes)
    # Decisions have named where new clusters are: these stay there as others do, but for a clear gain.
    found = regroup(leaves, current_levels(mirror, stored, rules), rules, kept, stored.opened)
    written = replace(
        stored, levels=found.levels, opened=mirror.next_id - 1, ended=_ended(stored.ended, found, ENDED_KEPT)
    )
    written = replace(written, named=_handed_over(written, mirror))
    return written, _changed_share(leaves, stored, found.levels)


def ended_names(before: StoredLevels, after: StoredLevels) -> dict[Node, Node | None]:
    """Communities whose label and route nothing has after a run, each with what it became, None for nothing."""
    became = after.became(before.named)
    lost = {node: into for node, into in became.items() if into is None or after.named.get(into) != before.named[node]}
    return {node: None if into == node else into for node, into in lost.items()}


def kept_nodes(states: Iterable[ClusterState]) -> dict[Node, Node]:
    """The communities that people keep nodes in: of clusters the intent, of intents the topic. Of two the last."""
    kept: dict[Node, Node] = {}
    for state in states:
        above = {node.level: node for node in map(parse_node, state.ruling.kept_in)}
        node = leaf(state.cluster_id)
        for level in sorted(above):
            kept[node] = above[level]
            node = above[level]
    return kept


def current_levels(mirror: Mirror, stored: StoredLevels, rules: LevelRules) -> Levels:
    """The levels as stored, with each cluster that is new since where the clusters nearest to it are."""
    if not stored.levels.parents:
        return stored.levels
    placed = PlacedLevels(stored.levels)
    new = sorted(int(number) for number in mirror.ids if not stored.knows(int(number)))
    for start in range(0, len(new), _PLACED_AT_ONCE):
        place(mirror, placed, rules, new[start : start + _PLACED_AT_ONCE])
    return placed.levels


def _ended(former: Mapping[Node, Node | None], found: Regrouped, most: int) -> dict[Node, Node | None]:
    """The last `most` communities that ended, each with where its questions are by now."""
    ended = {node: found.ended.get(into, into) if into is not None else None for node, into in former.items()}
    ended.update(found.ended)
    # A community that people keep something in is restored.
    for node in set(found.levels.parents.values()) & ended.keys():
        del ended[node]
    return dict(list(ended.items())[-most:])


def _handed_over(written: StoredLevels, mirror: Mirror) -> dict[Node, Naming]:
    """The namings of communities, each that ended under the one that it became, unless that has a naming of its own.

    Label and route are one decision. A cluster has a naming here where its community left it alone.
    """
    became = written.became(written.named)
    named = {node: naming for node, naming in written.named.items() if became[node] == node}
    for node, naming in written.named.items():
        into = became[node]
        if into is not None and into != node:
            named.setdefault(into, naming)
    return {node: naming for node, naming in named.items() if node.level or node.number in mirror.row_of}


def _changed_share(leaves: Leaves, stored: StoredLevels, levels: Levels) -> float:
    known = changed = 0.0
    for number, size in zip(leaves.ids.tolist(), leaves.sizes.tolist(), strict=True):
        if number <= stored.opened:
            known += size
            changed += size * (stored.levels.path(number)[1:] != levels.path(number)[1:])
    return changed / known if known else 0.0
