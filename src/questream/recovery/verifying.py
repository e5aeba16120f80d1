"""Compare a live system with what it published: the store, the cluster topic and the newest decisions.

Workers may go on meanwhile. What the store holds is read before the topic and after it: the topic must know all that
the store held before, but for what waits in the outbox, and the store must know all that the topic has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from questream.broker.connect import open_reader
from questream.broker.reading import all_read, read_to_end, start_before_end
from questream.domain import ClusterState, name_some, parse_cluster_id
from questream.records import read_decision
from questream.recovery.cluster_topic import ClusterTopic, Published
from questream.recovery.differences import Difference
from questream.recovery.verifying_operations import compare_operations
from questream.settings import Settings
from questream.store.protocol import OPERATIONS_KEPT, Store, StoredLevels

_ALL = 1_000_000_000
# Sums are float32: adding in another order moves the last digits.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Verified:
    """The compared namespaces, and all differences."""

    namespaces: int
    clusters: int
    decisions: int
    differences: list[Difference]


def verify(settings: Settings, store: Store, topic: ClusterTopic, decisions: int) -> Verified:
    """Compare all namespaces but those of other streams, and the newest `decisions` of each output partition.

    Raises what the store raises, KafkaUnavailable and KafkaRefused.
    """
    own = settings.kafka.cluster_topic
    before = {name: _Held(store, name) for name in store.namespaces() if store.topics(name).cluster_topic in ("", own)}
    newest = list(_newest_decisions(settings, decisions))
    published = topic.published()
    differences: list[Difference] = []
    for name in sorted(before.keys() | published.keys()):
        held = before.get(name) or _Held(store, name)
        of_topic = published.get(name, Published())
        states = topic.states(name, of_topic.revisions.keys())
        named = {cluster_id for namespace, cluster_id in newest if namespace == name}
        differences += _compare(store, name, held, of_topic, states, named)
        differences += _compare_levels(store, name, held, of_topic)
        differences += compare_operations(store, name, held.operations, held.published_operations, of_topic.operations)
    clusters = sum(len(held.states) for held in before.values())
    return Verified(len(before.keys() | published.keys()), clusters, len(newest), differences)


class _Held:
    """The store's data of a namespace at about one moment."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.recovered = store.store_epoch(namespace) is not None
        self.states = (
            {} if store.namespace_state(namespace) is None else {s.cluster_id: s for s in store.clusters(namespace)}
        )
        # After the states: what left the outbox before them is in the topic by now.
        self.unpublished = set(store.unpublished(namespace, 0, _ALL)) if self.states else set()
        # In this order: what counts as published is in the topic by now.
        self.published_operations = store.published_operations(namespace) if self.states else None
        self.operations = store.operations(namespace, OPERATIONS_KEPT) if self.states else []
        mark = store.levels_marks([namespace]).get(namespace)
        self.levels = StoredLevels() if mark is None else store.levels(namespace)
        self.levels_are_published = mark is not None and mark.published == self.levels.version


def _compare(
    store: Store, namespace: str, held: _Held, of_topic: Published, states: Mapping[int, ClusterState], named: set[int]
) -> Iterator[Difference]:
    def differs(promise: str, ids: list[int], words: str, remedy: str) -> Iterator[Difference]:
        if ids:
            yield Difference(namespace, promise, f"{len(ids)} {words}: {name_some(sorted(ids))}", remedy)

    known = store.revisions(namespace, list(of_topic.revisions.keys() | of_topic.retired | named))
    if not held.recovered and (of_topic.revisions or held.states):
        yield Difference(
            namespace,
            "the store is the one that was last compared with the cluster topic",
            "it was restarted, failed over to or emptied since",
            "start a worker, which recovers it, or run: questream restore",
        )
    yield from differs(
        "the store has all that was published",
        [i for i, revision in of_topic.revisions.items() if revision > known.get(i, 0)],
        "clusters of the topic are missing or older in the store",
        "questream restore",
    )
    lingering = [i for i in of_topic.retired if i in known]
    # For a while something of a retired cluster is left in the store.
    left = {state.cluster_id for state in store.states(namespace, lingering) if state.event == "retired"}
    yield from differs(
        "what was retired is gone",
        [i for i in lingering if i not in left],
        "retired clusters are in the store",
        "questream restore",
    )
    yield from differs(
        "every change is published",
        [
            i
            for i, state in held.states.items()
            if i not in held.unpublished and state.revision > of_topic.revisions.get(i, 0) and i not in of_topic.retired
        ],
        "clusters of the store are missing or older in the topic, and do not wait to be published",
        "label one of them, or send a question that joins it: either publishes it anew",
    )
    yield from differs(
        "the topic has what the store holds",
        [i for i, state in states.items() if i in held.states and _disagree(held.states[i], state)],
        "clusters have another size, centroid, label or route in the topic",
        "stop the workers, set the store aside, and run: questream restore",
    )
    yield from differs(
        "every merged id leads to a cluster",
        [i for i, state in states.items() if not _ends_well(state, states, held)],
        "merged ids lead nowhere",
        "questream restore",
    )
    yield from differs(
        "every published id is a cluster's",
        # One that was given and is known no more was retired long ago.
        [i for i in named if i not in known and of_topic.whole is not None and i >= of_topic.whole.next_cluster],
        "ids of the newest decisions are unknown",
        "stop the workers, and run: questream restore",
    )


def _compare_levels(store: Store, namespace: str, held: _Held, of_topic: Published) -> Iterator[Difference]:
    published = of_topic.levels.whole() or StoredLevels()
    if store.levels(namespace).version < published.version:
        yield Difference(
            namespace,
            "the store has all that was published",
            "its intents and topics are older than those of the topic",
            "questream restore",
        )
    if held.levels_are_published and held.levels.version > published.version:
        yield Difference(
            namespace,
            "every change is published",
            "its intents and topics are missing or older in the topic, and do not wait to be published",
            "let the workers open new clusters: what is found then is published",
        )
    if held.levels.version == published.version and held.levels != published:
        yield Difference(
            namespace,
            "the topic has what the store holds",
            "its intents and topics are others in the topic",
            "stop the workers, set the store aside, and run: questream restore",
        )


def _disagree(held: ClusterState, published: ClusterState) -> bool:
    if held.revision != published.revision:
        return False
    if (held.size, held.members, held.label, held.route, held.merged_into) != (
        published.size,
        published.members,
        published.label,
        published.route,
        published.merged_into,
    ):
        return True
    if held.vector_sum is None or published.vector_sum is None:
        return held.vector_sum is not published.vector_sum
    return not np.allclose(held.vector_sum, published.vector_sum, atol=_TOLERANCE)


def _ends_well(state: ClusterState, states: Mapping[int, ClusterState], held: _Held) -> bool:
    seen: set[int] = set()
    while state.merged_into is not None:
        if state.cluster_id in seen:
            return False
        seen.add(state.cluster_id)
        if state.merged_into not in states:
            # It has retired, and its aliases outlive it.
            return state.merged_into not in held.states
        state = states[state.merged_into]
    return True


def _newest_decisions(settings: Settings, limit: int) -> Iterator[tuple[str, int]]:
    """Namespace and cluster of the newest decisions that name one."""
    with open_reader(settings) as reader:
        start_before_end(reader, settings.kafka.output_topic, limit)
        for message in all_read(read_to_end(reader)):
            decision = read_decision(message.value)
            if decision is not None and decision["cluster_id"] is not None:
                yield decision["namespace"], parse_cluster_id(decision["cluster_id"])
