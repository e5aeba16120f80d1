"""Questions that joined what a cluster was merged into: read again, so that each goes to the part that is nearer."""

from __future__ import annotations

from contextlib import closing

from questream.operations import KnownQuestion
from questream.operations.asking import require_same_model
from questream.operations.parting import joined_since
from questream.settings import Settings
from questream.store.ledger import topic_of
from questream.store.protocol import Store
from questream.tools.asking import encoder_of
from questream.tools.kept_questions import KeptQuestions


def joined_questions(settings: Settings, store: Store, namespace: str, cluster_id: int) -> list[KnownQuestion]:
    """Those of `joined_since` that the input topic still has, embedded by the namespace's model.

    Where there are none, neither Kafka nor the model is asked for anything. Raises KeyError if there is no such
    cluster, KafkaUnavailable or KafkaRefused, and QuestreamError where the settings have another model.
    """
    since = joined_since(store, namespace, cluster_id)
    if not since:
        return []
    with closing(KeptQuestions(settings)) as kept:
        members = kept.read(cluster_id, namespace, since)
    found = [
        ((topic_of(one.place[0]), *one.place[1:]), member.question)
        for one, member in zip(since, members, strict=True)
        if member.question is not None
    ]
    if not found:
        return []
    encoder = encoder_of(settings, store.namespace_state(namespace))
    require_same_model(store, namespace, encoder)
    vectors = encoder.encode([question.text for _, question in found])
    return [
        KnownQuestion(cluster_id, vector, place, None, question.id, question.record.key)
        for (place, question), vector in zip(found, vectors, strict=True)
    ]


def merged_away(store: Store, namespace: str, number: int) -> int | None:
    """The cluster that stands by itself again where an operation of this number is undone; None for none."""
    undone = store.operation(namespace, number)
    if undone is None or undone.survivor is None:
        return None
    return next((one for one in undone.after if one != undone.survivor), None)
