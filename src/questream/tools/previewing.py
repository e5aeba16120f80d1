"""The effect of a dry run: which clusters recent questions would join after an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from questream.clustering.kept_members import KeptMembers
from questream.clustering.levels import leaves_within, parse_node
from questream.clustering.mirror import ClusterMoved, ClusterRemoved, Mirror
from questream.clustering.nearest import NEIGHBOURS, assigned, nearest_of_each
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import features
from questream.clustering.stored_levels import StoredLevels, inherited
from questream.domain import ClusterState, Matrix, Naming, Ruling, format_cluster_id, parse_cluster_id
from questream.records import open_decoder
from questream.settings import Settings
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.ledger import in_topic
from questream.store.protocol import Part, ProposedLevels, ProposedOperation, Store
from questream.tools.following import open_texts, recent
from questream.tools.kept_questions import KeptQuestions, each_still_kept
from questream.tools.members import First
from questream.tools.questions import Encodes
from questream.tools.stored_sentences import StoredSentences

EXAMPLES = 5
# The clusters of a topic may be thousands: the largest are looked at for what they keep.
_MOST_READ = 50

# Called where questions have to be scored: the model of the namespace, and the rules of the settings.
Scoring = Callable[[], tuple[Encodes, Rules]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the operation's clusters that was read again; `lineage` is what its cluster has been till now."""

    question_id: str | None
    text: str
    cluster_id: int
    place: tuple[str, int, int]
    lineage: frozenset[int] = frozenset()
    is_member: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and where it would be before and after; null for a new cluster. Texts for those who may read them."""

    question_id: str | None
    text: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class OperationEffect:
    """The number of questions that would move, of the last decisions and the kept members of the operation's clusters.

    `unread` of both are in the input topic no more. `clusters` are those that the operation names, or that are within
    the intent or topic that it names: so many would have another label (`relabelled`) or route (`rerouted`). `labels`
    and `routes` are those before it.
    """

    decisions: int
    decisions_moved: int
    members: int
    members_moved: int
    unread: int
    clusters: int
    relabelled: int
    rerouted: int
    labels: list[str]
    routes: list[str]
    moving: list[Example]
    staying: list[Example]

    def without_texts(self) -> OperationEffect:
        """The same for those who may not read what was asked."""
        moving, staying = ([replace(one, text=None) for one in found] for found in (self.moving, self.staying))
        return replace(self, moving=moving, staying=staying)


Places = Sequence[tuple[int | None, int | None]]


def effect_of(
    settings: Settings, store: Store, namespace: str, proposed: ProposedOperation, most: int, scoring: Scoring
) -> OperationEffect:
    """The effect of an operation on the kept members and the recent questions of its clusters.

    `most` is how many of the namespace's last decisions are looked at. Raises KafkaUnavailable or KafkaRefused, and
    what `scoring` raises, which is asked where questions have to be scored.
    """
    stored = store.levels(namespace)
    within = _within(proposed, stored)
    states = store.states(namespace, list(proposed.after) or within)
    states = [state for state in states if state.cluster_id == proposed.parted or state.merged_into is None]
    asked, unread = _questions(settings, store, namespace, states, most)
    places = _places(store, namespace, proposed, asked, scoring)
    return _effect(_namings(proposed, stored, states), asked, places, unread)


def _places(
    store: Store, namespace: str, proposed: ProposedOperation, asked: Sequence[Asked], scoring: Scoring
) -> Places:
    """The cluster of each question before the operation and after it."""
    if proposed.survivor is not None:
        return [(one.cluster_id, proposed.survivor) for one in asked]
    if proposed.part is not None:
        return _parted(proposed.part, proposed, asked)
    if not asked or not any(_binds(proposed.before[one], after) for one, after in proposed.after.items()):
        return [(one.cluster_id, one.cluster_id) for one in asked]
    encoder, rules = scoring()
    mirror = store.load(namespace)
    rules = rules.in_force(mirror.rules)
    vectors = encoder.encode([one.text for one in asked])
    before = _assigned_clusters(mirror, rules, vectors, asked)
    mirror.apply(_changes(mirror, proposed))
    return list(zip(before, _assigned_clusters(mirror, rules, vectors, asked), strict=True))


def _binds(before: Ruling, after: Ruling) -> bool:
    """True if later questions may be assigned differently."""
    return (before.exemplars, before.threshold) != (after.exemplars, after.threshold)


def _changes(mirror: Mirror, proposed: ProposedOperation) -> Iterable[ClusterMoved | ClusterRemoved]:
    for cluster_id, ruling in proposed.after.items():
        if cluster_id in proposed.retires:
            yield ClusterRemoved(cluster_id)
        elif cluster_id in proposed.opens:
            opened = proposed.opens[cluster_id]
            yield ClusterMoved(cluster_id, opened.members, opened.vector_sum, opened.features, ruling.exemplars)
        elif cluster_id in mirror.row_of:
            yield ClusterMoved(
                cluster_id,
                mirror.member_count(cluster_id),
                mirror.vector_sum(cluster_id),
                exemplars=ruling.exemplars,
                threshold=ruling.threshold or 0.0,
            )


def _assigned_clusters(mirror: Mirror, rules: Rules, vectors: Matrix, asked: Sequence[Asked]) -> list[int | None]:
    looks = [features(one.text) for one in asked]
    chosen = [assigned(one, rules).cluster for one in nearest_of_each(mirror, rules, vectors, NEIGHBOURS, looks)]
    return [None if one is None else one.cluster_id for one in chosen]


def _parted(part: Part, proposed: ProposedOperation, asked: Sequence[Asked]) -> Places:
    """The cluster that is split off takes its own decisions, its kept members, and questions nearer to it."""
    parted = part.remains.cluster_id
    own = {in_topic(one.place) for one in KeptMembers.parse(part.own_kept).all()}
    own |= {one.place for one in proposed.corrections}
    return [(part.survivor, parted if parted in one.lineage or one.place in own else part.survivor) for one in asked]


def _within(proposed: ProposedOperation, stored: StoredLevels) -> list[int]:
    """The clusters of the intents and topics that an operation names."""
    change = proposed.levels.change if isinstance(proposed.levels, ProposedLevels) else None
    names = [] if change is None else list(change.after)
    return leaves_within(map(parse_node, names), stored.levels.children()) if names else []


def _namings(
    proposed: ProposedOperation, stored: StoredLevels, states: Sequence[ClusterState]
) -> list[tuple[Naming, Naming]]:
    """Label and route of each cluster before and after, those included that it inherits."""
    changed = stored if proposed.levels is None else proposed.levels.changed(0)

    def carried(rulings: Mapping[int, Ruling], state: ClusterState, levels: StoredLevels) -> Naming:
        own = rulings.get(state.cluster_id, state.ruling)
        return inherited((own.label, own.route), levels.naming(levels.levels.path(state.cluster_id)))

    return [(carried(proposed.before, one, stored), carried(proposed.after, one, changed)) for one in states]


def _effect(
    namings: Sequence[tuple[Naming, Naming]], asked: Sequence[Asked], places: Places, unread: int
) -> OperationEffect:
    found = list(zip(asked, places, strict=True))
    moving, staying = ([one for one in found if (one[1][0] != one[1][1]) is moves] for moves in (True, False))
    members = [one.is_member for one, _ in moving]
    return OperationEffect(
        decisions=sum(not one.is_member for one in asked),
        decisions_moved=len(members) - sum(members),
        members=sum(one.is_member for one in asked),
        members_moved=sum(members),
        unread=unread,
        clusters=len(namings),
        relabelled=sum(before[0] != after[0] for before, after in namings),
        rerouted=sum(before[1] != after[1] for before, after in namings),
        labels=sorted({before[0] for before, _ in namings if before[0]}),
        routes=sorted({before[1] for before, _ in namings if before[1]}),
        moving=_examples(moving),
        staying=_examples(staying),
    )


def _examples(found: Sequence[tuple[Asked, tuple[int | None, int | None]]]) -> list[Example]:
    """The first few; a question that is both a member and decided lately is there once."""

    def named(place: int | None) -> str | None:
        return None if place is None else format_cluster_id(place)

    examples = (Example(one.question_id, one.text, named(before), named(after)) for one, (before, after) in found)
    return list(dict.fromkeys(examples))[:EXAMPLES]


def _questions(
    settings: Settings, store: Store, namespace: str, states: Sequence[ClusterState], most: int
) -> tuple[list[Asked], int]:
    """The kept questions of the clusters and those of the last decisions, and how many cannot be read."""
    unread = 0
    found: list[Asked] = []
    with closing(KeptQuestions(settings)) as kept:
        largest = sorted(states, key=lambda state: -state.size)[:_MOST_READ]
        for cluster_id, places in each_still_kept(store, namespace, largest, First.NEWEST).items():
            members = kept.read(cluster_id, namespace, places)
            read = [(one, one.question) for one in members if one.question is not None]
            unread += len(members) - len(read)
            found += [
                Asked(question.id, question.text, cluster_id, (one.topic, *one.published.place), is_member=True)
                for one, question in read
            ]
    ids = {state.cluster_id for state in states}
    decisions = [
        seen.decision
        for seen in recent(settings, namespace, most, with_texts=False, records=most)
        if seen.decision is not None and seen.decision.get("cluster_id")
    ]
    numbers = [parse_cluster_id(decision["cluster_id"]) for decision in decisions]
    chains = follow_aliases(store, namespace, numbers)
    with ExitStack() as opened:
        text_of = open_texts(settings, open_decoder(settings, StoredSentences(lambda: store)), opened)
        for decision, number in zip(decisions, numbers, strict=True):
            live = survivor_of(number, chains[number])
            if live in ids:
                text = text_of(decision)
                unread += text is None
                lineage = frozenset(state.cluster_id for state in chains[number])
                found += [] if text is None else [_decided(decision, text, live, lineage)]
    return found, unread


def _decided(decision: Mapping[str, Any], text: str, live: int, lineage: frozenset[int]) -> Asked:
    source = decision["source"]
    place = str(source["topic"]), int(source["partition"]), int(source["offset"])
    return Asked(decision.get("question_id"), text, live, place, lineage)
