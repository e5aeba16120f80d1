"""Operations on intents and topics: their nodes stay in them, and communities are found around these.

A decision is kept in the rulings of the clusters that it is on: what keeps these keeps it, and it binds their merges.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from questream.clustering.levels import LEVEL_NAMES, LevelRules, Node, leaf, leaves_within, parse_node
from questream.clustering.merging import merged_naming, precedence
from questream.deciding.level_runs import current_levels
from questream.domain import LEVEL_LETTERS, UNNAMED, ClusterState, LevelsChange, Naming, Ruling, opposite_end
from questream.errors import NamingsDiffer, OperationRefused
from questream.operations.levels import live_community, text_of
from questream.operations.live import live_cluster
from questream.store.protocol import ProposedLevels, Store

# In the place of an intent or a topic: another one, that nothing is in yet.
OWN = "own"
_MOST_CLUSTERS = 1000
_TOPIC = 2

# True if the label and route of the second may be dropped for the sake of the first one's.
MayDropNaming = Callable[[str, str, Naming], bool]


def keep_both(survivor: str, loser: str, lost: Naming) -> bool:
    """The answer of somebody who gives up no label and no route."""
    del survivor, loser, lost
    return False


@dataclass(frozen=True, slots=True)
class OnLevels:
    """An operation on intents and topics: how its clusters are ruled before and after it, and what changes above."""

    before: Mapping[int, Ruling]
    after: Mapping[int, Ruling]
    levels: ProposedLevels


class Communities:
    """The present intents and topics of a namespace, with the clusters that are new since they were found.

    What each function proposes is of the levels that were read. They raise ValueError for what is no id, KeyError for a
    cluster that is not there, OperationRefused where there is no such intent or topic, where what people decided
    forbids it, and where more than 1,000 clusters would be ruled.
    """

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._stored = store.levels(namespace)
        mark = store.levels_marks([namespace]).get(namespace)
        has_new = mark is not None and mark.opened_now > self._stored.opened
        levels = current_levels(store.load(namespace), self._stored, LevelRules()) if has_new else self._stored.levels
        self._children = levels.children()
        # Where each node is once the operation is done, and those that it looked at.
        self._parents = dict(levels.parents)
        self._touched: dict[Node, None] = {}
        self._next = list(levels.next_numbers)

    def moved(self, names: Sequence[str], target: str) -> OnLevels:
        """Clusters belong to the target, an intent, or intents to a topic; to one of their own where it is `own`."""
        nodes = list(dict.fromkeys(self._node(name) for name in names))
        level = nodes[0].level + 1
        if level > _TOPIC or any(node.level + 1 != level for node in nodes):
            raise OperationRefused("clusters are moved to an intent, and intents to a topic", "move one kind at a time")
        topic = self._topic_of(nodes[0])
        into = self._opened(level) if target == OWN else live_community(self._stored, target)
        if into.level != level:
            raise OperationRefused(
                f"{nodes[0]} cannot be in {into}", f"name an id of the level {LEVEL_NAMES[level - 1]}"
            )
        states = {node: self._leaves([node]) for node in nodes}
        if target != OWN:
            topic = self._topic_kept(into)
        elif level < _TOPIC and topic is not None:
            self._put(into, topic)
            topic = None
        for node in nodes:
            self._put(node, into)
        after = {
            state.cluster_id: self._kept(state, level, topic, LEVEL_LETTERS[level - 1 :])
            for found in states.values()
            for state in found
        }
        return self._proposed(states.values(), after, dict.fromkeys([into]))

    def merged(self, one: str, other: str, may_drop: MayDropNaming = keep_both, keep: str | None = None) -> OnLevels:
        """Two intents or two topics are one: the named, else the larger, else the older.

        Raises ValueError if they are one already, NamingsDiffer if a label or a route would be dropped and neither
        `may_drop` nor `keep`, one of the two, says so.
        """
        states = {node: self._leaves([node]) for node in self._two(one, other)}
        sizes = {node: sum(state.size for state in found) for node, found in states.items()}
        survivor, loser = sorted(
            states, key=lambda node: precedence(self._stored.naming_of(node), sizes[node], node.number)
        )
        ends = {node: {end for state in found for end in state.ruling.separations} for node, found in states.items()}
        letter = LEVEL_LETTERS[survivor.level - 1]
        if any(end[0] == letter and opposite_end(end) in ends[loser] for end in ends[survivor]):
            raise OperationRefused(
                f"{survivor} and {loser} were separated", "undo that first: `questream clusters history` has its number"
            )
        topics = [topic for topic in map(self._topic_kept, (survivor, loser)) if topic is not None]
        if len(set(topics)) > 1:
            raise OperationRefused(f"{survivor} and {loser} are kept in two topics", "move one of them to the other")
        named = self._merged_naming(survivor, loser, may_drop, keep)
        for child in self._children.get(loser, ()):
            self._put(child, survivor)
        self._put(loser, None)
        if topics:
            self._put(survivor, topics[0])
        topic = topics[0] if topics else None
        after = {
            state.cluster_id: self._kept(state, survivor.level, topic) for found in states.values() for state in found
        }
        return self._proposed(states.values(), after, {survivor: named, loser: UNNAMED})

    def separated(self, one: str, other: str) -> OnLevels:
        """Two intents or two topics are different: what is in each stays there, and they are never one."""
        states = {node: self._leaves([node]) for node in self._two(one, other)}
        after = {}
        for (node, found), sign in zip(states.items(), "+-", strict=True):
            if sign == "+":
                end = LEVEL_LETTERS[node.level - 1] + uuid.uuid4().hex[:12]
            topic = self._topic_kept(node)
            for state in found:
                ruling = self._kept(state, node.level, topic)
                after[state.cluster_id] = replace(ruling, separations=(*ruling.separations, end + sign))
        return self._proposed(states.values(), after, dict.fromkeys(states))

    def pinned(self, name: str) -> OnLevels:
        """Keep the nodes of an intent or a topic in it."""
        node = live_community(self._stored, name)
        states, topic = self._leaves([node]), self._topic_kept(node)
        return self._proposed(
            [states],
            {state.cluster_id: self._kept(state, node.level, topic) for state in states},
            dict.fromkeys([node]),
        )

    def unpinned(self, name: str) -> OnLevels:
        """Let the nodes of an intent or a topic leave it, unless people separated it, or keep an intent above."""
        node = live_community(self._stored, name)
        states, after = self._leaves([node]), {}
        for state in states:
            separated = any(end[0] in LEVEL_LETTERS and not end.endswith("=") for end in state.ruling.separations)
            kept_above = any(LEVEL_LETTERS.index(kept[0]) >= node.level for kept in state.ruling.kept_in)
            if str(node) in state.ruling.kept_in and not (separated or kept_above):
                ends = tuple(end for end in state.ruling.separations if end != f"{node}=")
                after[state.cluster_id] = replace(state.ruling, separations=ends)
        if not after:
            raise OperationRefused(
                f"{node} is not pinned, or something else that people decided keeps it",
                f"see: questream clusters history {node}",
            )
        return self._proposed([states], after, dict.fromkeys([node]))

    def _node(self, name: str) -> Node:
        node = parse_node(name)
        if node.level:
            return live_community(self._stored, name)
        return leaf(live_cluster(self._store, self._namespace, node.number).cluster_id)

    def _two(self, one: str, other: str) -> list[Node]:
        nodes = [live_community(self._stored, name) for name in (one, other)]
        if nodes[0] == nodes[1]:
            raise ValueError("the two are one already")
        if nodes[0].level != nodes[1].level:
            raise OperationRefused(f"{nodes[0]} and {nodes[1]} are of two levels", "name two intents or two topics")
        return nodes

    def _leaves(self, nodes: Sequence[Node]) -> list[ClusterState]:
        """The live clusters within."""
        states = self._store.states(self._namespace, leaves_within(nodes, self._children))
        return [state for state in states if state.merged_into is None and state.vector_sum is not None]

    def _topic_of(self, node: Node) -> Node | None:
        above = self._parents.get(node)
        if above is not None and above.level < _TOPIC:
            above = self._parents.get(above)
        return above

    def _topic_kept(self, intent: Node) -> Node | None:
        """The topic that people keep an intent in, with all that is kept in that."""
        if intent.level == _TOPIC:
            return None
        kept = (state.ruling.kept_in for state in self._leaves([intent]))
        return next((parse_node(names[-1]) for names in kept if str(intent) in names and len(names) > 1), None)

    def _opened(self, level: int) -> Node:
        node = Node(level, self._next[level - 1])
        self._next[level - 1] += 1
        return node

    def _put(self, node: Node, into: Node | None) -> None:
        self._touched[node] = None
        if into is None:
            self._parents.pop(node, None)
        else:
            self._parents[node] = into

    def _kept(self, state: ClusterState, level: int, topic: Node | None, left: str = "") -> Ruling:
        """The ruling of a cluster that is kept where it is now in the levels up to this one.

        `topic` is the one that its intent is kept in otherwise. Separations of the levels that it `left` bind it no
        more.
        """
        node = leaf(state.cluster_id)
        intent = self._parents[node]
        if intent.level == _TOPIC:
            # It is alone among intents: it is one of its own from now on.
            alone = self._opened(1)
            self._put(alone, intent)
            intent = alone
        self._put(node, intent)
        topic = self._parents[intent] if level == _TOPIC else topic
        ends = [
            end
            for end in state.ruling.separations
            if end[0] not in LEVEL_LETTERS or not (end.endswith("=") or end[0] in left)
        ]
        kept = [f"{one}=" for one in (intent, topic) if one is not None]
        return replace(state.ruling, separations=(*ends, *kept))

    def _merged_naming(self, survivor: Node, loser: Node, may_drop: MayDropNaming, keep: str | None) -> Naming:
        kept, lost = self._stored.naming_of(survivor), self._stored.naming_of(loser)
        naming = merged_naming(kept, lost, None)
        if naming is not None:
            return naming
        if keep is not None:
            chosen = live_community(self._stored, keep)
            if chosen not in (survivor, loser):
                raise OperationRefused("the decision that is kept is of neither of the two", "name one of the two")
            return kept if chosen == survivor else lost
        if not may_drop(str(survivor), str(loser), lost):
            raise NamingsDiffer("the two have labels or routes that differ, and one has one of each")
        return kept

    def _proposed(
        self,
        states: Iterable[Iterable[ClusterState]],
        after: Mapping[int, Ruling],
        named: Mapping[Node, Naming | None],
    ) -> OnLevels:
        """The operation on the communities that are `named`, which have another name after it where one is given."""
        if len(after) > _MOST_CLUSTERS:
            raise OperationRefused(
                f"{len(after):,} clusters would be ruled, {_MOST_CLUSTERS:,} at most are by one operation",
                "decide of the intents of a topic one by one, or move some of its clusters first",
            )
        before = {state.cluster_id: state.ruling for found in states for state in found if state.cluster_id in after}
        former = self._stored.levels.parents
        places = {
            str(node): (text_of(former.get(node)), text_of(self._parents.get(node)))
            for node in self._touched
            if former.get(node) != self._parents.get(node)
        }
        names = {str(node): self._stored.naming_of(node) for node in named}
        renamed = {str(node): naming or names[str(node)] for node, naming in named.items()}
        gone = self._stored.changed(LevelsChange({}, {}, places), 0).ended.keys() - self._stored.ended.keys()
        for node in sorted(gone & self._stored.named.keys()):
            names.setdefault(str(node), self._stored.naming_of(node))
            renamed.setdefault(str(node), UNNAMED)
        return OnLevels(before, after, ProposedLevels(self._stored, LevelsChange(names, renamed, places)))
