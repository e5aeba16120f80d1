"""Questions that joined what a cluster was merged into: read again, so that each goes to the part that is nearer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from questream.clustering.kept_members import KeptMember
from questream.errors import QuestreamError
from questream.operations import KnownQuestion
from questream.operations.unmerging import joined_since
from questream.settings import Settings
from questream.store.ledger import in_topic
from questream.store.protocol import Store
from questream.tools.kept_questions import KeptQuestions
from questream.tools.questions import Encodes


@dataclass(frozen=True, slots=True)
class Joined:
    """The questions that joined since; where these cannot be read or embedded, `unknown` says why, and they stay."""

    questions: list[KnownQuestion] = field(default_factory=list)
    unknown: str | None = None


def joined_questions(
    settings: Settings, store: Store, namespace: str, cluster_id: int | None, encoder_of: Callable[[], Encodes]
) -> Joined:
    """The questions of `joined_since` that the input topic still has, embedded by the namespace's model.

    Where there are none, neither Kafka nor the model is asked for anything; nor where there is no such cluster, which
    the operation says itself.
    """
    try:
        since = [] if cluster_id is None else joined_since(store, namespace, cluster_id)
    except KeyError:
        return Joined()
    try:
        return Joined(_read(settings, namespace, cluster_id or 0, since, encoder_of) if since else [])
    except QuestreamError as error:
        return Joined(unknown=f"questions that joined since stay where they were decided: {error}")


def _read(
    settings: Settings,
    namespace: str,
    cluster_id: int,
    since: Sequence[KeptMember],
    encoder_of: Callable[[], Encodes],
) -> list[KnownQuestion]:
    with closing(KeptQuestions(settings)) as kept:
        members = kept.read(cluster_id, namespace, since)
    found = [
        (in_topic(one.place), member.question)
        for one, member in zip(since, members, strict=True)
        if member.question is not None
    ]
    if not found:
        return []
    vectors = encoder_of().encode([question.text for _, question in found])
    return [
        KnownQuestion(cluster_id, vector, place, None, question.id, question.record.key)
        for (place, question), vector in zip(found, vectors, strict=True)
    ]


def merged_away(store: Store, namespace: str, number: int) -> int | None:
    """The cluster that is live again where an operation of this number is undone; None for none."""
    undone = store.operation(namespace, number)
    if undone is None or undone.survivor is None:
        return None
    return next((one for one in undone.after if one != undone.survivor), None)
