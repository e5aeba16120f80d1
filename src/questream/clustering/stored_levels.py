"""The levels of a namespace in a store: what a run found, what ended before, and what people named."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from questream.clustering.levels import Levels, Node, leaf, parse_node
from questream.domain import UNNAMED, LevelsChange, Naming

# Of one namespace; an operation that would name more is refused.
MOST_NAMED = 10_000


@dataclass(frozen=True, slots=True)
class Within:
    """The place of a cluster. `path` is the cluster, its intent and its topic; one alone on a level is repeated.

    `inherited` is the label and the route that its questions have where it has none itself, `named` those that people
    gave the intent and the topic.
    """

    path: tuple[Node, ...]
    inherited: Naming
    named: Mapping[Node, Naming]

    @property
    def above(self) -> list[Node]:
        """The intent and the topic, as far as it is not alone there."""
        return [node for level, node in enumerate(self.path) if level and node.level == level]


@dataclass(frozen=True, slots=True)
class StoredLevels:
    """The result of a run. `version` is the store's number of it, 0 before the first run; a later one has a higher one.

    `opened` clusters had been opened by then: those with a higher number are new since. `ended` are communities that
    are no more, the last that ended last, and where most of their questions went; None where all their leaves are gone.
    `named` are the labels and routes that people gave communities, or what these became, `operation` the number of the
    last operation that changed any, 0 where none has.
    """

    levels: Levels = field(default_factory=Levels)
    opened: int = 0
    ended: Mapping[Node, Node | None] = field(default_factory=dict)
    version: int = 0
    named: Mapping[Node, Naming] = field(default_factory=dict)
    operation: int = 0

    def became(self, nodes: Iterable[Node]) -> dict[Node, Node | None]:
        """By node, a community itself, or where most questions of one are that ended; None where that is not known."""
        current = set(self.levels.parents.values())
        return {node: self._now(node, current) for node in nodes}

    def naming_of(self, node: Node) -> Naming:
        """The label and the route that people gave a node itself."""
        return self.named.get(node, UNNAMED)

    def naming(self, path: Iterable[Node]) -> Naming:
        """Label and route of what has the path, nearest node first: each is that of the nearest node with one."""
        label = route = None
        for node in path:
            its_label, its_route = self.naming_of(node)
            label, route = label or its_label, route or its_route
        return label, route

    def labelled(self) -> set[int]:
        """The clusters that a labelled intent or topic gives its label to, as far as they were there by then."""
        above = {node for node, (label, _) in self.named.items() if label and node.level}
        if not above:
            return set()
        clusters = [node.number for node in self.levels.parents if not node.level]
        return {number for number in clusters if not above.isdisjoint(self.levels.path(number))}

    def within(self, path: tuple[Node, ...]) -> Within:
        """The communities around a cluster of this path."""
        named = {node: self.named[node] for node in path[1:] if node in self.named and node.level}
        return Within(path, self.naming(path), named)

    def knows(self, cluster_id: int) -> bool:
        """True if they have the place of a cluster; a cluster that is new since has that of its nearest ones."""
        return cluster_id <= self.opened or leaf(cluster_id) in self.levels.parents

    def changed(self, change: LevelsChange, operation: int) -> StoredLevels:
        """The levels after an operation; a community that ended since is an alias of what it became."""
        placed = self._placed(change.places) if change.places else self
        after = {parse_node(name): naming for name, naming in change.after.items()}
        became = placed.became(after)
        named = {node: one for node, one in placed.named.items() if node not in after}
        # A community in force has the last word of its name.
        for node in sorted(after, key=lambda node: became[node] == node):
            into = became[node]
            if into is not None and (into == node or any(after[node])):
                named[into] = after[node]
        return replace(placed, named={node: one for node, one in named.items() if any(one)}, operation=operation)

    def _placed(self, places: Mapping[str, tuple[str | None, str | None]]) -> StoredLevels:
        """The levels once nodes are where people put them; communities of which nothing is left have ended."""
        parents = dict(self.levels.parents)
        for name, (_, into) in places.items():
            parents.pop(parse_node(name), None)
            if into is not None:
                parents[parse_node(name)] = parse_node(into)
        while empty := [node for node in parents if node.level and node not in set(parents.values())]:
            for node in empty:
                del parents[node]
        current = set(parents.values())
        ended = {node: into for node, into in self.ended.items() if node not in current}
        for community, within in sorted(self.levels.children().items()):
            if community not in current:
                went = ended.get(within[0]) or within[0]
                ended[community] = parents.get(went, went)
        next_numbers = tuple(
            max([following, *(node.number + 1 for node in current if node.level == level)])
            for level, following in enumerate(self.levels.next_numbers, start=1)
        )
        return replace(self, levels=replace(self.levels, parents=parents, next_numbers=next_numbers), ended=ended)

    def _now(self, node: Node, current: Container[Node]) -> Node | None:
        seen: set[Node] = set()
        at: Node | None = node
        while at is not None and at.level and at not in current and at not in seen:
            seen.add(at)
            at = self.ended.get(at)
        return None if at in seen else at


def inherited(own: Naming, above: Naming) -> Naming:
    """Label and route of a node that has its own, or those from above."""
    return own[0] or above[0], own[1] or above[1]
