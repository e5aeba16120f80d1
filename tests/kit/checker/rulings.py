"""What people decided, against what the store holds at the end, and against the questions that came afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.kit.checker.clusters import root_of
from tests.kit.checker.operations import (
    Exemplar,
    Published,
    Ruled,
    forgotten,
    names_given,
    published_operations,
    unit,
)
from tests.kit.checker.published import ClusterTopic, Decision, Run
from tests.kit.checker.rules import Floats, Operated, Rules
from tests.kit.checker.stored import Stored
from tests.kit.checker.thresholds import Thresholds
from tests.kit.checker.violation import Promise, Violation

# Of one cluster; of more the oldest go.
_EXEMPLARS_KEPT = 32
# Two vectors of one text: an exemplar is kept in half precision.
_SAME = 0.999
# A cluster of nothing but that text is as near to it as the exemplar is.
_NEARER = 0.98


@dataclass(slots=True)
class Decided:
    """What operations made of a namespace, taken one after the other.

    `last` is the last operation on each cluster, `owner` the cluster that each end of a separation and each exemplar
    was given to, `exemplars` the exemplars by name, `removed` the names that were taken away again.
    """

    last: dict[int, tuple[Published, Ruled]] = field(default_factory=dict)
    owner: dict[str, int] = field(default_factory=dict)
    exemplars: dict[str, Exemplar] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    merged: dict[int, int] = field(default_factory=dict)
    rules: Published | None = None


def decided(operations: Sequence[Published]) -> Decided:
    """What these operations of a namespace come to."""
    made = Decided()
    for operation in operations:
        added: dict[str, int] = {}
        for number, after in operation.after.items():
            before = operation.before[number]
            for name in before.bound - after.bound:
                made.owner.pop(name, None)
                made.removed.add(name)
            added |= dict.fromkeys(after.bound - before.bound, number)
            made.exemplars |= after.exemplars
            made.last[number] = operation, after
        made.owner |= added
        if operation.parted is not None:
            made.merged.pop(operation.parted, None)
        if operation.survivor is not None:
            made.merged |= {number: operation.survivor for number in operation.after if number != operation.survivor}
        if operation.rules is not None:
            made.rules = operation
    return made


def check_rulings(run: Run, rules: Rules) -> Iterator[Violation]:
    """The store has what the operations came to, in the clusters that theirs are by now.

    An operation that the store forgot before it was published may have left its mark on the clusters that it was on,
    and one that got another number may have lost it: nothing is said of these.
    """
    for namespace, operations in published_operations(run.evidence).items():
        known = [one for one in rules.operated if one.namespace == namespace]
        in_force = _InForce(run, namespace, decided(operations), operations, forgotten(known, operations))
        yield from in_force.check_rules()
        yield from in_force.check_bound()
        yield from in_force.check_namings()
        yield from in_force.check_pins(rules.operated)
        yield from in_force.check_merges()
        yield from in_force.check_kept()
        yield from in_force.check_representatives(rules.operated)
        yield from in_force.check_erased(rules.operated)


class _InForce:
    """The operations in force of a namespace, to be compared with its clusters in the store."""

    def __init__(
        self,
        run: Run,
        namespace: str,
        made: Decided,
        operations: Sequence[Published],
        forgotten: Sequence[Operated],
    ) -> None:
        self._namespace = namespace
        self._made = made
        self._operations = operations
        self._forgotten = forgotten
        self._stored = run.evidence.stored.get(namespace) or Stored()
        self._run = run
        self._unclear = {self._root(number) for one in forgotten for number in one.clusters} - {None}

    def _root(self, number: int) -> int | None:
        return root_of(self._run, self._namespace, number)

    def check_rules(self) -> Iterator[Violation]:
        """The rules are those that were set last."""
        last = self._made.rules
        if last is not None and not self._forgotten and dict(last.rules or {}) != self._stored.rules:
            yield _broken(self._namespace, None, f"the rules are not those of operation {last.number}")

    def check_bound(self) -> Iterator[Violation]:
        """What was left with a cluster is there, and what was separated is apart."""
        made = self._made
        for name, owner in made.owner.items():
            root = self._root(owner)
            cluster = self._stored.clusters.get(owner if root is None else root)
            known = cluster.bound if cluster is not None else frozenset()
            if name not in known and len(known) < _EXEMPLARS_KEPT and root not in self._unclear:
                what = "exemplar" if name in made.exemplars else "separation"
                yield _broken(self._namespace, owner, f"has lost an {what} that somebody left with it")
            other = made.owner.get(f"{name[:-1]}-") if name.endswith("+") else None
            if other is not None and root is not None and self._root(other) == root:
                yield _broken(self._namespace, owner, f"is one with c{other}, which somebody separated from it")

    def check_namings(self) -> Iterator[Violation]:
        """A cluster has the label and the route that it, or else what is a part of it, was given last."""
        namings: dict[int, set[tuple[str | None, str | None]]] = {}
        for number, (_, after) in self._made.last.items():
            root = self._root(number)
            if root is not None and (number == root or (after.label, after.route) != (None, None)):
                namings.setdefault(root, set()).add((after.label, after.route))
        for root, known in namings.items():
            last = self._made.last.get(root)
            own = (None, None) if last is None else (last[1].label, last[1].route)
            cluster = self._stored.clusters.get(root)
            allowed = known if own == (None, None) else {own}
            if cluster is None and self._is_retired(root) and allowed == {(None, None)}:
                continue
            if root not in self._unclear and (cluster is None or (cluster.label, cluster.route) not in allowed):
                yield _broken(self._namespace, root, "has not the label and the route that somebody gave it last")
        given = names_given(self._operations) | {one.naming for one in self._forgotten if one.naming}
        for number, cluster in self._stored.clusters.items():
            if (cluster.label, cluster.route) not in given | {(None, None)}:
                detail = "has the label of one and the route of another"
                yield Violation(Promise.NAMES, f"{self._namespace}/c{number}", detail)

    def check_pins(self, operated: Sequence[Operated]) -> Iterator[Violation]:
        """A pinned cluster is pinned, and nothing but an operation merged it with another."""
        by_id = {known.id: known for known in operated}
        clusters = self._stored.clusters
        for number, (operation, after) in self._made.last.items():
            cluster = clusters.get(number)
            if cluster is None or self._root(number) in self._unclear:
                continue
            if cluster.merged_into is not None and after.pinned and number not in self._made.merged:
                yield _broken(self._namespace, number, "was merged away although it is pinned")
            if cluster.merged_into is None and cluster.pinned != after.pinned:
                yield _broken(
                    self._namespace, number, f"is not pinned, or not free, as operation {operation.number} left it"
                )
            alone = cluster.muted, cluster.resolved_size, cluster.dismissed
            if cluster.merged_into is None and alone != (after.muted, after.resolved_size, after.dismissed):
                detail = f"is not muted, resolved or dismissed as operation {operation.number} left it"
                yield _broken(self._namespace, number, detail)
            known = by_id.get(operation.id)
            if after.pinned and known is not None and known.absorbed is not None:
                absorbed = {n for n, one in clusters.items() if one.merged_into == number}
                for other in sorted(absorbed - known.absorbed - self._made.merged.keys()):
                    yield _broken(self._namespace, other, f"was merged into c{number} although that is pinned")

    def check_merges(self) -> Iterator[Violation]:
        """What an operation merged is one cluster."""
        for loser, survivor in self._made.merged.items():
            if self._root(loser) != self._root(survivor):
                yield _broken(self._namespace, loser, f"is no part of c{survivor}, which somebody merged it with")

    def check_kept(self) -> Iterator[Violation]:
        """What people keep in an intent is kept there, and so is what it became."""
        for number, (operation, after) in self._made.last.items():
            root = self._root(number)
            cluster = None if root is None else self._stored.clusters.get(root)
            if root is None or cluster is None or root in self._unclear:
                continue
            last = self._made.last.get(root)
            is_later = last is not None and last[0].number > operation.number
            if not is_later and not after.kept_in <= cluster.kept_in:
                yield _broken(self._namespace, root, f"is not kept where operation {operation.number} left c{number}")
            levels = [name[0] for name in cluster.kept_in]
            if len(levels) > len(set(levels)):
                yield _broken(self._namespace, root, "is one of clusters that people keep in two intents or topics")

    def check_representatives(self, operated: Sequence[Operated]) -> Iterator[Violation]:
        """The question that people chose represents a cluster and what that became, in the words that they chose."""
        chosen: dict[int, set[str | None]] = {}
        for number, (_, after) in self._made.last.items():
            root = self._root(number)
            if root is not None and (number == root or after.represented is not None):
                chosen.setdefault(root, set()).add(after.represented)
        for root, known in chosen.items():
            last = self._made.last.get(root)
            own = None if last is None else last[1].represented
            cluster = self._stored.clusters.get(root)
            allowed = known if own is None else {own}
            if cluster is not None and root not in self._unclear and cluster.represented not in allowed:
                yield _broken(self._namespace, root, "is not represented by what somebody chose last")
        texts = self._texts(operated)
        for number, states in self._topic.states.items():
            for state in states:
                if state.represented in texts and state.representative != texts[state.represented]:
                    yield _broken(self._namespace, number, "was published with another text than somebody chose for it")

    def check_erased(self, operated: Sequence[Operated]) -> Iterator[Violation]:
        """After the texts of a cluster were erased, published states have none, but one that somebody chose since."""
        published = {one.id: one for one in self._operations}
        for known in operated:
            operation = published.get(known.id)
            if known.namespace != self._namespace or operation is None or known in self._forgotten:
                continue
            for number in known.erased:
                states = [state for state in self._topic.states.get(number, ()) if not state.retired]
                states_after = [
                    state for state in states if number in operation.after and state.operation >= operation.number
                ]
                newest = self._topic.newest(number)
                states_after += [newest] if newest is not None and not newest.retired else []
                has_text = any(one.own or (one.representative and not one.represented) for one in states_after)
                if has_text and number not in self._unclear:
                    yield _broken(self._namespace, number, "was published with a text that somebody had erased")

    def _texts(self, operated: Sequence[Operated]) -> dict[str | None, str]:
        """The texts that were chosen to represent clusters, by the names that they have since."""
        published = {one.id: one for one in self._operations}
        return {
            ruled.represented: known.represents
            for known in operated
            if known.represents is not None and known.id in published
            for number, ruled in published[known.id].after.items()
            if ruled.represented is not None and ruled.represented != published[known.id].before[number].represented
        }

    @property
    def _topic(self) -> ClusterTopic:
        return self._run.cluster_topics.get(self._namespace) or ClusterTopic()

    def _is_retired(self, number: int) -> bool:
        return self._topic.is_retired(number)


def check_later_decisions(run: Run, rules: Rules) -> Iterator[Violation]:
    """No question that was asked after an operation was decided against it."""
    published = published_operations(run.evidence)
    for namespace in run.namespaces:
        decisions = run.decided_in(namespace)
        operations = {one.id: one for one in published.get(namespace, ())}
        made = decided(published.get(namespace, ()))
        known = [one for one in rules.operated if one.namespace == namespace and one.id in operations]
        yield from _check_thresholds(namespace, decisions, known, made, Thresholds(run, namespace), rules)
        yield from _check_modes(namespace, decisions, known, made)
        if rules.embed is not None:
            for one in known:
                yield from _check_exemplars(run, rules, namespace, decisions, (one, operations[one.id]), made)


def _check_thresholds(
    namespace: str,
    decisions: Sequence[Decision],
    known: Sequence[Operated],
    made: Decided,
    own: Thresholds,
    rules: Rules,
) -> Iterator[Violation]:
    """The last rules are in force, but for clusters with a threshold of their own."""
    last = next((one for one in known if made.rules is not None and one.id == made.rules.id), None)
    if last is None or made.rules is None:
        return
    wanted = (made.rules.rules or {}).get("threshold", rules.threshold)
    for decision in decisions:
        allowed = own.of(decision.number if decision.outcome == "joined" else None, wanted)
        if last.came_before(decision.place) and all(abs(decision.threshold - one) > rules.tolerance for one in allowed):
            detail = f"a question of it was decided at threshold {decision.threshold}, not at {wanted}"
            yield _broken(namespace, decision.number, detail)


def _check_modes(
    namespace: str, decisions: Sequence[Decision], known: Sequence[Operated], made: Decided
) -> Iterator[Violation]:
    """Where clusters are known alone no question opens one, and elsewhere each has one."""
    last = next((one for one in known if made.rules is not None and one.id == made.rules.id), None)
    if last is None or made.rules is None:
        return
    unwanted = "created" if (made.rules.rules or {}).get("mode") == "known-only" else "unmatched"
    for decision in decisions:
        if last.came_before(decision.place) and decision.outcome == unwanted:
            detail = f"a question was {unwanted} against the mode of operation {made.rules.number}"
            yield _broken(namespace, decision.number, detail)


def _check_exemplars(
    run: Run,
    rules: Rules,
    namespace: str,
    decisions: Sequence[Decision],
    operation: tuple[Operated, Published],
    made: Decided,
) -> Iterator[Violation]:
    known, published = operation
    for owner, after in published.after.items():
        added = after.exemplars.keys() - published.before[owner].exemplars.keys() - made.removed
        for exemplar in [after.exemplars[name] for name in sorted(added) if name in made.owner]:
            for decision in decisions:
                if not known.came_before(decision.place) or decision.place not in run.asked or decision.value["reason"]:
                    continue
                if (decision.similarity or 0.0) > _NEARER or not _is_of(run, rules, decision, exemplar.vector):
                    continue
                if exemplar.kind == "cannot" and decision.number == owner and decision.outcome == "joined":
                    yield _broken(namespace, owner, "took a question that somebody had turned away from it")
                if exemplar.kind == "must" and _is_elsewhere(run, namespace, decision, owner, exemplar.vector, made):
                    yield _broken(namespace, decision.number, f"took a question that somebody had moved to c{owner}")


def _is_of(run: Run, rules: Rules, decision: Decision, vector: Floats) -> bool:
    assert rules.embed is not None
    return float(np.dot(rules.embed(run.text(decision.place)), vector)) >= _SAME


def _is_elsewhere(run: Run, namespace: str, decision: Decision, owner: int, vector: Floats, made: Decided) -> bool:
    """True if a question went elsewhere than to a cluster that it was moved to, and that has not turned it away too."""
    root = root_of(run, namespace, owner)
    barred = [
        name
        for name, other in made.owner.items()
        if name in made.exemplars and made.exemplars[name].kind == "cannot" and root_of(run, namespace, other) == root
        if float(made.exemplars[name].vector @ vector) >= _SAME
    ]
    return not barred and root_of(run, namespace, decision.number) != root


class TurnedAway:
    """Which clusters of a namespace may have turned a question away: what opened a cluster then had none nearer."""

    def __init__(self, run: Run, namespace: str, rules: Rules) -> None:
        self._threshold = rules.threshold
        self._vectors: dict[int, list[Floats]] = {}
        self._run, self._namespace = run, namespace
        for operation in published_operations(run.evidence).get(namespace, ()):
            for number, after in operation.after.items():
                self._note(number, [one.vector for one in after.exemplars.values() if one.kind == "cannot"])
        for known in rules.operated:
            if known.namespace == namespace:
                for number, packed in known.turned_away.items():
                    self._note(number, [unit(one) for one in packed])

    def may_have(self, number: int, vector: Floats) -> bool:
        """True if a cluster, or what it is a part of by now, has ever turned away what is near a unit vector (d,)."""
        near = self._vectors.get(self._root(number), [])
        # The mean is taken off before they are compared.
        return any(float(one @ vector) >= self._threshold - 0.2 for one in near)

    def _root(self, number: int) -> int:
        return root_of(self._run, self._namespace, number) or number

    def _note(self, number: int, vectors: Sequence[Floats]) -> None:
        if vectors:
            self._vectors.setdefault(self._root(number), []).extend(vectors)


def _broken(namespace: str, number: int | None, detail: str) -> Violation:
    return Violation(Promise.RULINGS, namespace if number is None else f"{namespace}/c{number}", detail)
