"""Intents and topics by name: their labels and routes, which what lies within has too, and how a change is undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

from questream.clustering.levels import LEVEL_NAMES, Node, leaf, parse_node
from questream.clustering.stored_levels import MOST_NAMED, StoredLevels
from questream.domain import UNNAMED, LevelsChange, Naming, Ruling
from questream.errors import OperationRefused
from questream.store.protocol import ProposedLevels


def live_community(stored: StoredLevels, name: str) -> Node:
    """The intent or topic of an id, or what it has become. Raises ValueError, OperationRefused."""
    node = parse_node(name)
    if not node.level:
        raise ValueError("an intent is i and a number, a topic t and a number")
    now = stored.became([node])[node]
    level = LEVEL_NAMES[node.level - 1]
    if now is None:
        raise OperationRefused(f"there is no {level} {node}", f"see: questream clusters list --level {level}")
    if not now.level:
        raise OperationRefused(f"{level} {node} is no more, and of its clusters {now} is left", f"name {now}")
    return now


def named(stored: StoredLevels, name: str, label: str | None, route: str | None) -> ProposedLevels:
    """An intent or topic gets a label, a route or both; None leaves one as it is, "" removes it.

    Raises as `live_community`, and OperationRefused where too many have one.
    """
    node = live_community(stored, name)
    before = stored.naming_of(node)
    after = (
        before[0] if label is None else label or None,
        before[1] if route is None else route or None,
    )
    proposed = ProposedLevels(stored, LevelsChange({str(node): before}, {str(node): after}))
    if len(proposed.changed(0).named) > max(MOST_NAMED, len(stored.named)):
        raise OperationRefused(
            f"{MOST_NAMED:,} intents and topics have a label or a route, which is the most there may be",
            "remove one that is not needed",
        )
    return proposed


def undone_levels(stored: StoredLevels, change: LevelsChange, require: Callable[[bool], None]) -> ProposedLevels:
    """The change that reverts an operation's changes of intents and topics.

    What it moved goes back as far as it is where it was put. `require` refuses where a name is another now.
    """
    places = _undone_places(stored, change)
    placed = stored.changed(LevelsChange({}, {}, places), stored.operation)
    before: dict[str, Naming] = {}
    after: dict[str, Naming] = {}
    nodes = {parse_node(name): name for name in change.after}
    for node, now in placed.became(nodes).items():
        name = nodes[node]
        naming = UNNAMED if now is None else placed.naming_of(now)
        is_changed = change.before[name] != change.after[name]
        require(naming == change.after[name] or not is_changed)
        if now is not None:
            before[str(now)], after[str(now)] = naming, change.before[name] if is_changed else naming
    return ProposedLevels(stored, LevelsChange(before, after, places))


def kept_again(stored: StoredLevels, cluster_id: int, ruling: Ruling) -> ProposedLevels | None:
    """The change where a cluster comes back that people keep in an intent; None for one that is kept in none."""
    kept = keeping(ProposedLevels(stored, LevelsChange({}, {})), {cluster_id: ruling})
    return kept if kept.change.places and stored.version else None


def keeping(proposed: ProposedLevels, rulings: Mapping[int, Ruling]) -> ProposedLevels:
    """The change, with each of these clusters where its ruling keeps it."""
    former, parents = proposed.stored.levels.parents, proposed.changed(0).levels.parents
    places = dict(proposed.change.places)
    for cluster_id, ruling in rulings.items():
        for below, above in pairwise([leaf(cluster_id), *map(parse_node, ruling.kept_in)]):
            if parents.get(below) != above:
                places[str(below)] = text_of(former.get(below)), str(above)
    return replace(proposed, change=replace(proposed.change, places=places))


def text_of(node: Node | None) -> str | None:
    """The node as operations name it."""
    return None if node is None else str(node)


def _undone_places(stored: StoredLevels, change: LevelsChange) -> dict[str, tuple[str | None, str | None]]:
    back: dict[str, tuple[str | None, str | None]] = {}
    for name, (before, after) in change.places.items():
        into = stored.levels.parents.get(parse_node(name))
        if after == (None if into is None else str(into)):
            back[name] = after, before
    return back
