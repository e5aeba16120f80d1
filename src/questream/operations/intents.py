"""Intents that people know before any question comes: clusters are opened from their examples, as operations.

The name of an intent is the label of its clusters. Its examples are exemplars of these: what is near to one goes there.
Examples that would not be one cluster open several, the leaves of the intent. What an import finds there already stays,
and nothing is taken away: a repeated one changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from questream.clustering.assignment import BatchAssigner
from questream.clustering.constraints import pack_vector, unpack_vector
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.nearest import NEIGHBOURS, assigned, nearest_clusters
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import Kept, keep, pack
from questream.domain import (
    EXEMPLARS_KEPT,
    REPRESENTATIVE_CHARACTERS,
    ClusterState,
    Exemplar,
    Matrix,
    Operation,
    Ruling,
    Vector,
)
from questream.errors import OperationRefused
from questream.operations.binding import Change, adding, new_names
from questream.operations.decisions import By, Decisions
from questream.store.protocol import OpenedCluster, Store

# Of one intent, and of all that one operation brings: it is one record of Kafka, which has a vector of each.
MOST_EXAMPLES = 200
_SAME_VECTOR = 0.999

Leaf = tuple[Ruling, OpenedCluster]


@dataclass(frozen=True, slots=True, eq=False)
class KnownIntent:
    """An intent by its name, and where its questions go: None leaves that as it is, an empty text is nowhere.

    `vectors` (n, d) are the unit vectors of its examples. Questions join its clusters at `threshold`: None leaves that
    as it is, 0 is the namespace's.
    """

    name: str
    route: str | None
    examples: tuple[str, ...]
    vectors: Matrix
    threshold: float | None = None


@dataclass(slots=True)
class PlannedIntent:
    """An import's changes of an intent: `added` examples open `leaves` or go to clusters of the intent (`changes`)."""

    name: str
    is_new: bool
    added: int = 0
    leaves: list[Leaf] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        """True if the import changes it."""
        return bool(self.leaves or self.changes)


@dataclass(frozen=True, slots=True)
class Overlap:
    """So many examples that are added to an intent would join a cluster of another `label`, None without one."""

    intent: str
    label: str | None
    cluster_id: int | None
    examples: int
    similarity: float


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The changes of an import of intents, in their order, and which of them overlap with what else."""

    intents: list[PlannedIntent]
    overlaps: list[Overlap]

    def parts(self) -> Iterator[list[PlannedIntent]]:
        """The changed intents of each operation, in order."""
        part: list[PlannedIntent] = []
        for one in self.intents:
            if part and sum(other.added for other in part) + one.added > MOST_EXAMPLES:
                yield part
                part = []
            if one.is_changed:
                part.append(one)
        if part:
            yield part


def plan_import(
    store: Store, namespace: str, rules: Rules, intents: Sequence[KnownIntent], *, keep_texts: bool
) -> ImportPlan:
    """The changes of an import in a namespace as it is; `rules` are those of its workers' settings.

    Examples have their texts in the store with `keep_texts` alone. Raises OperationRefused for more than 200 examples
    of one intent.
    """
    mirror = store.load(namespace)
    rules = rules.in_force(mirror.rules)
    owned: dict[str, list[ClusterState]] = {}
    labels: dict[int, str | None] = {}
    for state in store.summaries(namespace):
        labels[state.cluster_id] = state.label
        if state.label:
            owned.setdefault(state.label, []).append(state)
    stem = new_names(1)[0]
    numbers = iter(range(1_000_000))

    def exemplar(vector: Vector, text: str) -> Exemplar:
        name = f"{stem}-{next(numbers):05x}"
        return Exemplar(name, "must", pack_vector(vector), None, text if keep_texts else None)

    planner = _Planner(mirror, rules, exemplar)
    planned, fresh = [], []
    for intent in intents:
        if len(intent.examples) > MOST_EXAMPLES:
            raise OperationRefused(
                f"an intent has {len(intent.examples)} examples, {MOST_EXAMPLES} at most do",
                "keep those that differ most",
            )
        known = owned.get(intent.name, [])
        rows = [row for row in range(len(intent.examples)) if not _has(known, intent, row)]
        planned.append(planner.plan(intent, known, rows))
        fresh.append(rows)
    return ImportPlan(planned, _overlaps(mirror, rules, intents, planned, fresh, labels))


def commit_import(store: Store, namespace: str, by: By, plan: ImportPlan) -> list[Operation]:
    """Commit the import in as few operations as hold it; one that was broken off goes on when it is said again.

    Ids are derived from that of `by`, if there is one.
    """
    done = []
    for part in plan.parts():
        names = hashlib.blake2b("\n".join(one.name for one in part).encode(), digest_size=6).hexdigest()
        decisions = Decisions(store, namespace, replace(by, id=by.id and f"{by.id}-{names}"))
        leaves = [leaf for one in part for leaf in one.leaves]
        changes = {cluster_id: change for one in part for cluster_id, change in one.changes.items()}
        done.append(decisions.commit(decisions.open_intents(leaves, changes)))
    return done


@dataclass(frozen=True, slots=True)
class ExportedIntent:
    """An intent as it is exported: `threshold` is that of its first cluster, None for the namespace's."""

    name: str
    route: str | None
    threshold: float | None
    examples: list[str]


def known_intents(states: Sequence[ClusterState]) -> tuple[list[ExportedIntent], int]:
    """The intents that have examples with texts, in the order in which they were given; how many labels have none."""
    found: dict[str, list[Exemplar]] = {}
    first: dict[str, ClusterState] = {}
    for state in states:
        if state.label:
            given = [one for one in state.ruling.exemplars if one.kind == "must" and one.text is not None]
            found.setdefault(state.label, []).extend(given)
            first.setdefault(state.label, state)
    with_examples = {
        name: sorted({one.name: one for one in given}.values(), key=lambda one: one.name)
        for name, given in found.items()
        if given
    }
    in_order = sorted(with_examples.items(), key=lambda item: item[1][0].name)
    intents = [
        ExportedIntent(
            name, first[name].route, first[name].ruling.threshold, list(dict.fromkeys(one.text or "" for one in given))
        )
        for name, given in in_order
    ]
    return intents, len(found) - len(with_examples)


@dataclass(slots=True)
class _Planner:
    """A plan for the examples of intents, in a mirror that has none of the planned leaves."""

    mirror: Mirror
    rules: Rules
    exemplar: Callable[[Vector, str], Exemplar]

    def plan(self, intent: KnownIntent, known: Sequence[ClusterState], rows: Sequence[int]) -> PlannedIntent:
        """The changes of an intent's `known` clusters by new examples, those of `rows`, route and threshold."""
        planned = PlannedIntent(intent.name, is_new=not known, added=len(rows))
        room = {state.cluster_id: EXEMPLARS_KEPT - len(state.ruling.exemplars) for state in known}
        joining: dict[int, list[int]] = {}
        opening: list[int] = []
        for row in rows:
            cluster_id = self._joined(intent, row) if known else None
            if cluster_id is not None and room.get(cluster_id, 0) > 0:
                room[cluster_id] -= 1
                joining.setdefault(cluster_id, []).append(row)
            else:
                opening.append(row)
        for state in known:
            added = [
                self.exemplar(intent.vectors[row], intent.examples[row]) for row in joining.get(state.cluster_id, ())
            ]
            change = _change(intent, added)
            if added or change(state.ruling) != state.ruling:
                planned.changes[state.cluster_id] = change
        bare = (
            Ruling(intent.name)
            if not known
            else Ruling(intent.name, known[0].route, threshold=known[0].ruling.threshold)
        )
        ruling = _change(intent, ())(bare)
        planned.leaves.extend(self._leaf(intent, ruling, group) for group in self._groups(intent, ruling, opening))
        return planned

    def _joined(self, intent: KnownIntent, row: int) -> int | None:
        looks = features(intent.examples[row])
        neighbours = nearest_clusters(self.mirror, self.rules, intent.vectors[row], NEIGHBOURS, looks)
        cluster = assigned(neighbours, self.rules).cluster
        return None if cluster is None else cluster.cluster_id

    def _groups(self, intent: KnownIntent, ruling: Ruling, rows: Sequence[int]) -> Iterator[list[int]]:
        """The rows by the clusters that they would be if they came as the first questions, with this mean."""
        if not rows:
            return
        bare = Mirror(self.mirror.dimension)
        bare.apply([MeanMoved(self.mirror.mean_questions, self.mirror.mean_sum)])
        threshold = self.rules.threshold_of(ruling.threshold)
        steady = replace(self.rules, threshold=threshold, mean_questions=self.mirror.mean_questions, mode="open")
        looks = [features(intent.examples[row]) for row in rows]
        groups: dict[int, list[int]] = {}
        for row, choice in zip(
            rows, BatchAssigner(intent.vectors[list(rows)], bare, steady, looks).plan().choices, strict=True
        ):
            groups.setdefault(choice.cluster_id or 0, []).append(row)
        for group in groups.values():
            yield from (group[at : at + EXEMPLARS_KEPT] for at in range(0, len(group), EXEMPLARS_KEPT))

    def _leaf(self, intent: KnownIntent, ruling: Ruling, rows: Sequence[int]) -> Leaf:
        learned = list(rows[: self.rules.learning_members])
        kept: Kept = ()
        for row in rows if self.rules.judges else ():
            kept = keep(kept, features(intent.examples[row]))
        exemplars = tuple(self.exemplar(intent.vectors[row], intent.examples[row]) for row in rows)
        text = exemplars[0].text
        opened = OpenedCluster(
            len(learned),
            intent.vectors[learned].sum(axis=0),
            int(time.time() * 1000),
            pack(kept),
            None if text is None else text[:REPRESENTATIVE_CHARACTERS],
        )
        return replace(ruling, exemplars=exemplars), opened


def _has(known: Sequence[ClusterState], intent: KnownIntent, row: int) -> bool:
    """True if an example is an exemplar of the intent's clusters already."""
    for exemplar in (one for state in known for one in state.ruling.exemplars if one.kind == "must"):
        if exemplar.text is not None:
            if exemplar.text == intent.examples[row]:
                return True
            continue
        vector = unpack_vector(exemplar.vector)
        if len(vector) == intent.vectors.shape[1] and float(vector @ intent.vectors[row]) >= _SAME_VECTOR:
            return True
    return False


def _change(intent: KnownIntent, added: Sequence[Exemplar]) -> Change:
    extend = adding(added)

    def change(ruling: Ruling) -> Ruling:
        changed = extend(ruling) if added else ruling
        if intent.route is not None:
            changed = replace(changed, route=intent.route or None)
        return changed if intent.threshold is None else replace(changed, threshold=intent.threshold or None)

    return change


def _overlaps(
    mirror: Mirror,
    rules: Rules,
    intents: Sequence[KnownIntent],
    planned: Sequence[PlannedIntent],
    fresh: Sequence[Sequence[int]],
    labels: Mapping[int, str | None],
) -> list[Overlap]:
    """Which of the fresh examples would join another intent's cluster, were that alone there; the mirror is used up."""
    label_of, there = dict(labels), set(labels)
    for one in planned:
        for ruling, opened in one.leaves:
            label_of[mirror.next_id] = one.name
            centroid = opened.members, opened.vector_sum, opened.features
            mirror.apply([ClusterMoved(mirror.next_id, *centroid, ruling.exemplars, ruling.threshold)])
    found: dict[tuple[str, str | None, int | None], tuple[int, float]] = {}
    for intent, rows in zip(intents, fresh, strict=True):
        for row in rows:
            looks = features(intent.examples[row])
            for near in nearest_clusters(mirror, rules, intent.vectors[row], NEIGHBOURS, looks):
                label = label_of.get(near.cluster_id)
                if label != intent.name and near.reason is None and near.is_near(rules):
                    key = intent.name, label, near.cluster_id if near.cluster_id in there else None
                    count, similarity = found.get(key, (0, -1.0))
                    found[key] = count + 1, max(similarity, near.similarity)
                    break
    return [Overlap(*key, *value) for key, value in found.items()]
