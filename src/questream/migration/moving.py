"""Switch a namespace to another model at one atomic step: the commit of one Kafka transaction.

That transaction carries the new state of every cluster and of the namespace, as a later generation. What the cluster
topic knows better than the store is put into the store by the next recovery of the namespace (`questream.recovery`),
most often by the worker that moves it, at once. So a crash at any point leaves the old model or the new one, never a
mixture: before the commit nothing has changed, after it the rest follows from the topic.

While the namespace is held nothing is decided in it, and questions wait in Kafka.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from questream.broker.port import Outgoing
from questream.domain import ClusterState, NamespaceState, Ruling, name_some, retired_cluster
from questream.errors import KafkaRefused, QuestreamError, RecoveryNeeded
from questream.migration.held import HOLD_SECONDS, NotBegun, publish_held
from questream.migration.rebuilding import Rebuilding
from questream.records import encode_cluster_state, encode_namespace_state
from questream.settings import Settings
from questream.store.protocol import Identity, Restored, Store

# A move that is far behind comes nearer with each pass; what is left is embedded while the namespace is held.
_PASSES = 20
_SHORT_PASS_SECONDS = 2.0


class TextsMissing(QuestreamError):
    """Clusters cannot be embedded anew: their questions are neither in the input topic nor in the store."""

    def __init__(self, cluster_ids: Sequence[int], remedy: str) -> None:
        what = f"of {len(cluster_ids)} clusters no question can be read again ({name_some(cluster_ids)}): {remedy}"
        super().__init__(what)
        self.cluster_ids = list(cluster_ids)


class ExemplarsMissing(QuestreamError):
    """Exemplars cannot be embedded anew: their questions are neither in the input topic nor kept."""

    def __init__(self, cluster_ids: Sequence[int]) -> None:
        super().__init__(
            f"questions that people moved or rejected cannot be read again, of {name_some(cluster_ids)}",
            "undo those operations, or --retire-unread leaves them out",
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a switch, and for how long nothing was decided meanwhile."""

    clusters: int
    retired: int
    held_seconds: float


def move(
    settings: Settings,
    store: Store,
    namespace: str,
    rebuilding: Rebuilding,
    identity: Identity,
    *,
    retire_unread: bool,
) -> Moved:
    """Switch the namespace to the rebuilt clusters; with `retire_unread`, clusters without any text are retired.

    Raises RecoveryNeeded where a worker has to look first whether the store has lost anything, TextsMissing, and what
    store and topics raise. After KafkaUnavailable it may have happened nevertheless: within a minute the model of the
    namespace shows it.
    """
    for _ in range(_PASSES):
        began = time.monotonic()
        rebuilding.read_rest()
        if time.monotonic() - began < _SHORT_PASS_SECONDS:
            break
    store_epoch = store.store_epoch(namespace)
    started = time.monotonic()
    token = None if store_epoch is None else store.hold(namespace, store_epoch, HOLD_SECONDS)
    if token is None:
        raise RecoveryNeeded(
            f"namespace {namespace!r} is not recovered, or is being moved", "a worker recovers it, or questream restore"
        )
    try:
        states, whole = _new_states(store, namespace, rebuilding, identity, retire_unread=retire_unread)
    except BaseException:
        _let_go(store, namespace, token)
        raise
    try:
        topic = settings.kafka.cluster_topic
        records = [Outgoing(topic, *encode_cluster_state(state)) for state in states]
        records.append(Outgoing(topic, *encode_namespace_state(whole)))
        publish_held(settings, store, namespace, token, records)
    except (KafkaRefused, NotBegun):
        _let_go(store, namespace, token)
        raise
    # After any other failure it is not known whether the transaction was committed. The topic shows it to the
    # worker that recovers the namespace once the hold is over.
    # In at-least-once an older state may still be on its way: then the last word has to be said again.
    again = settings.delivery == "at-least-once"
    store.restore(namespace, token, [Restored(state, publish=again and state.event != "retired") for state in states])
    store.recover(namespace, token, whole, {})
    retired = sum(state.event == "retired" for state in states)
    return Moved(len(states) - retired, retired, time.monotonic() - started)


def _new_states(
    store: Store,
    namespace: str,
    rebuilding: Rebuilding,
    identity: Identity,
    *,
    retire_unread: bool,
) -> tuple[list[ClusterState], NamespaceState]:
    # States that were published before the hold and are not read yet.
    rebuilding.read_rest()
    rebuilding.follow_store()
    live = list(store.summaries(namespace))
    missing = rebuilding.complete(live)
    if missing and not retire_unread:
        raise TextsMissing(missing, "--retire-unread retires them")
    # A label or a route is an operator's word, which a cluster does not retire against.
    unread = set(missing)
    spoken_for = [s.cluster_id for s in live if s.cluster_id in unread and s.ruling != Ruling()]
    if spoken_for:
        raise TextsMissing(spoken_for, "people named or ruled them; remove that, or send questions that join them")
    exemplars = rebuilding.exemplars_of(live)
    lost = [s.cluster_id for s in live if len(exemplars.get(s.cluster_id, ())) < len(s.ruling.exemplars)]
    if lost and not retire_unread:
        raise ExemplarsMissing(lost)
    mirror = rebuilding.centroids.mirror
    states = [
        replace(
            state,
            event="updated",
            members=mirror.member_count(state.cluster_id),
            vector_sum=mirror.vector_sum(state.cluster_id).copy(),
            model=identity.model,
            revision=state.revision + 1,
            ruling=replace(state.ruling, exemplars=exemplars.get(state.cluster_id, ())),
        )
        for state in live
        if state.cluster_id in rebuilding.centroids
    ]
    before = store.namespace_state(namespace)
    if before is None:
        raise RecoveryNeeded(f"namespace {namespace!r} is gone")
    whole = replace(
        before,
        model=identity.model,
        model_revision=identity.revision,
        similarity=identity.similarity,
        linkage=before.rules.linkage or identity.linkage,
        threshold=identity.threshold if before.rules.threshold is None else before.rules.threshold,
        mean_questions=mirror.mean_questions,
        mean_sum=mirror.mean_sum,
        generation=before.generation + 1,
    )
    return [*states, *(retired_cluster(namespace, cluster_id) for cluster_id in missing)], whole


def _let_go(store: Store, namespace: str, token: str) -> None:
    """Nothing was published: the namespace goes on as it was."""
    with suppress(QuestreamError):
        store.recover(namespace, token, None, {})
