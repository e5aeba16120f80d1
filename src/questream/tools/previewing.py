"""What an operation would do with the questions that came lately, if they came again: the effect of a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from typing import Any

from questream.clustering.mirror import ClusterMoved, Mirror
from questream.clustering.nearest import NEIGHBOURS, assigned, nearest_clusters
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import features
from questream.domain import Vector, format_cluster_id, parse_cluster_id
from questream.records import open_decoder
from questream.settings import Settings
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import ProposedOperation, Store
from questream.tools.following import open_texts, recent
from questream.tools.kept_questions import KeptQuestions, kept_in_order
from questream.tools.members import First
from questream.tools.questions import Encodes

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the operation's clusters that was read again."""

    question_id: str | None
    text: str
    cluster_id: int
    is_member: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and where it would be before and after the operation; None for a new cluster."""

    question_id: str | None
    text: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """Of the last decisions those of the operation's clusters, and the questions that these keep: how many would move.

    `unread` of both are in the input topic no more. `labels` and `routes` are those of the clusters before it.
    """

    decisions: int
    decisions_moved: int
    members: int
    members_moved: int
    unread: int
    labels: list[str]
    routes: list[str]
    moving: list[Example]
    staying: list[Example]

    def document(self) -> dict[str, Any]:
        """As JSON tells it."""
        return asdict(self)


def effect_of_binding(
    settings: Settings,
    store: Store,
    namespace: str,
    encoder: Encodes,
    rules: Rules,
    proposed: ProposedOperation,
    most: int,
) -> Effect:
    """What exemplars would do: each question of the clusters is scored without them and with them.

    `most` is how many of the namespace's last decisions are looked at. Raises KafkaUnavailable or KafkaRefused.
    """
    asked, unread = _questions(settings, store, namespace, proposed, most)
    mirror = store.load(namespace)
    rules = rules.in_force(mirror.rules)
    texts = [one.text for one in asked]
    vectors = encoder.encode(texts) if texts else ()
    before = [_goes_to(mirror, rules, *question) for question in zip(vectors, texts, strict=True)]
    mirror.apply(
        ClusterMoved(
            cluster_id, mirror.member_count(cluster_id), mirror.vector_sum(cluster_id), exemplars=ruling.exemplars
        )
        for cluster_id, ruling in proposed.after.items()
        if cluster_id in mirror.row_of
    )
    after = [_goes_to(mirror, rules, *question) for question in zip(vectors, texts, strict=True)]
    return _effect(proposed, asked, list(zip(before, after, strict=True)), unread)


def effect_of_merge(settings: Settings, store: Store, namespace: str, proposed: ProposedOperation, most: int) -> Effect:
    """What a merge would do: all of the cluster that goes is in the one that stays. Raises as `effect_of_binding`."""
    asked, unread = _questions(settings, store, namespace, proposed, most)
    return _effect(proposed, asked, [(one.cluster_id, proposed.survivor) for one in asked], unread)


def _effect(
    proposed: ProposedOperation, asked: Sequence[Asked], places: Sequence[tuple[int | None, int | None]], unread: int
) -> Effect:
    found = list(zip(asked, places, strict=True))
    moving, staying = ([one for one in found if (one[1][0] != one[1][1]) is moves] for moves in (True, False))
    members = [one.is_member for one, _ in moving]
    return Effect(
        decisions=sum(not one.is_member for one in asked),
        decisions_moved=len(members) - sum(members),
        members=sum(one.is_member for one in asked),
        members_moved=sum(members),
        unread=unread,
        labels=sorted({ruling.label for ruling in proposed.before.values() if ruling.label}),
        routes=sorted({ruling.route for ruling in proposed.before.values() if ruling.route}),
        moving=_examples(moving),
        staying=_examples(staying),
    )


def _examples(found: Sequence[tuple[Asked, tuple[int | None, int | None]]]) -> list[Example]:
    """The first few; a question that is both a member and decided lately stands there once."""

    def named(place: int | None) -> str | None:
        return None if place is None else format_cluster_id(place)

    examples = (Example(one.question_id, one.text, named(before), named(after)) for one, (before, after) in found)
    return list(dict.fromkeys(examples))[:EXAMPLES]


def _goes_to(mirror: Mirror, rules: Rules, vector: Vector, text: str) -> int | None:
    neighbours = nearest_clusters(mirror, rules, vector, NEIGHBOURS, features(text))
    cluster = assigned(neighbours, rules).cluster
    return None if cluster is None else cluster.cluster_id


def _questions(
    settings: Settings, store: Store, namespace: str, proposed: ProposedOperation, most: int
) -> tuple[list[Asked], int]:
    """The kept questions of the operation's clusters and those of the last decisions, and how many cannot be read."""
    unread = 0
    found: list[Asked] = []
    with closing(KeptQuestions(settings)) as kept:
        for state in store.states(namespace, list(proposed.after)):
            members = kept.read(state.cluster_id, namespace, kept_in_order(state, First.NEWEST))
            read = [one.question for one in members if one.question is not None]
            unread += len(members) - len(read)
            found += [Asked(question.id, question.text, state.cluster_id, is_member=True) for question in read]
    decisions = [
        seen.decision
        for seen in recent(settings, namespace, most, with_texts=False, records=most)
        if seen.decision is not None and seen.decision.get("cluster_id")
    ]
    numbers = [parse_cluster_id(decision["cluster_id"]) for decision in decisions]
    chains = follow_aliases(store, namespace, numbers)
    with ExitStack() as opened:
        text_of = open_texts(settings, open_decoder(settings), opened)
        for decision, number in zip(decisions, numbers, strict=True):
            live = survivor_of(number, chains[number])
            if live in proposed.after:
                text = text_of(decision)
                unread += text is None
                found += [] if text is None else [Asked(decision.get("question_id"), text, live)]
    return found, unread
