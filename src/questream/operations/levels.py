"""Labels and routes of intents and topics: what lies within has them, as far as it has none of its own."""

from __future__ import annotations

from collections.abc import Callable

from questream.clustering.levels import LEVEL_NAMES, Node, parse_node
from questream.clustering.stored_levels import MOST_NAMED, StoredLevels
from questream.domain import LevelNamings, Naming
from questream.errors import OperationRefused
from questream.store.protocol import ProposedNamings

_UNNAMED: Naming = (None, None)


def live_community(standing: StoredLevels, name: str) -> Node:
    """The intent or topic of an id, or what it has become. Raises ValueError, OperationRefused."""
    node = parse_node(name)
    if not node.level:
        raise ValueError("an intent is i and a number, a topic t and a number")
    now = standing.became([node])[node]
    level = LEVEL_NAMES[node.level - 1]
    if now is None:
        raise OperationRefused(f"there is no {level} {node}", f"see: questream clusters list --level {level}")
    if not now.level:
        raise OperationRefused(f"{level} {node} is no more, and of its clusters {now} is left", f"name {now}")
    return now


def named(standing: StoredLevels, name: str, label: str | None, route: str | None) -> ProposedNamings:
    """An intent or topic gets a label, a route or both; None leaves one as it is, "" removes it.

    Raises as `live_community`, and OperationRefused where too many have one.
    """
    node = live_community(standing, name)
    before = standing.named.get(node, _UNNAMED)
    after = (
        before[0] if label is None else label or None,
        before[1] if route is None else route or None,
    )
    proposed = ProposedNamings(standing, LevelNamings({str(node): before}, {str(node): after}))
    if len(proposed.renamed(0).named) > max(MOST_NAMED, len(standing.named)):
        raise OperationRefused(
            f"{MOST_NAMED:,} intents and topics have a label or a route, which is the most there may be",
            "remove one that is not needed",
        )
    return proposed


def taken_back(standing: StoredLevels, change: LevelNamings, require: Callable[[bool], None]) -> ProposedNamings:
    """The change from what an operation made of names to what they were; `require` refuses where one is another now."""
    before: dict[str, Naming] = {}
    after: dict[str, Naming] = {}
    nodes = {parse_node(name): name for name in change.after}
    for node, now in standing.became(nodes).items():
        name = nodes[node]
        stands = _UNNAMED if now is None else standing.named.get(now, _UNNAMED)
        require(stands == change.after[name])
        if now is not None:
            before[str(now)], after[str(now)] = stands, change.before[name]
    return ProposedNamings(standing, LevelNamings(before, after))
