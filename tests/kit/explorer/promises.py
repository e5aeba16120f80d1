"""What must hold: in every state, and once all is quiet. None of it is computed as the product computes it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from questream.domain import format_cluster_id, parse_cluster_id
from questream.records import encode_cluster_state, encode_namespace_state
from questream.store.protocol import Committed, Proposal
from questream.store.reference.store import MemoryStore

from .scenario import NAMESPACE, Scenario

if TYPE_CHECKING:
    from .world import World


class Broken(AssertionError):
    """A promise does not hold."""


def require(holds: bool, promise: str) -> None:
    """Raises Broken unless it holds."""
    if not holds:
        raise Broken(promise)


@dataclass(frozen=True)
class Published:
    """A decision as a reader of the output topic sees it."""

    place: tuple[int, int]
    cluster: int | None
    outcome: str


@functools.lru_cache(maxsize=100_000)
def read_decision(value: bytes) -> Published:
    """A record of the output topic."""
    body = orjson.loads(value)
    cluster = body["cluster_id"] and parse_cluster_id(body["cluster_id"])
    return Published((body["source"]["partition"], body["source"]["offset"]), cluster, body["outcome"])


def check_commit(scenario: Scenario, before: MemoryStore, proposal: Proposal, reply: object) -> None:
    """No twins: a question that opens a cluster scored below the threshold of each older one."""
    if not isinstance(reply, Committed):
        return
    live = list(before.clusters(NAMESPACE))
    founders = [(batch.partition, row.offset) for batch in proposal.partitions for row in batch.rows if row.created]
    for place in founders:
        for cluster in live:
            score = float(np.dot(scenario.vector(*place), np.asarray(cluster.vector_sum))) / cluster.members
            require(
                score < scenario.rules.threshold, f"{place} opened a twin of {format_cluster_id(cluster.cluster_id)}"
            )


def check_state(scenario: Scenario, world: World) -> None:
    """What a reader may rely on at any moment."""
    ids: dict[tuple[int, int], int | None] = {}
    decisions = [read_decision(value) for value in world.kafka.outputs]
    for published in decisions:
        if published.outcome != "replayed":
            known = ids.setdefault(published.place, published.cluster)
            require(known == published.cluster, f"{published.place} was published with two ids")
    for partition, committed in enumerate(world.kafka.committed):
        for offset in range(committed):
            require((partition, offset) in ids, f"offset {offset} of {partition} is committed and was not published")
    if world.faults.resets == scenario.faults.resets:
        require(len(decisions) == len({p.place for p in decisions}), "a question was published twice")


def check_end(scenario: Scenario, world: World) -> None:
    """What must have come about when nothing is left to do."""
    require(world.kafka.committed == scenario.ends, "a question waits for ever")
    decided = {p.place: p.cluster for p in map(read_decision, world.kafka.outputs) if p.outcome != "replayed"}
    places = {(at, offset) for at, end in enumerate(scenario.ends) for offset in range(end)}
    require(decided.keys() == places, "a question was never decided")
    _check_sizes(world.store.view, decided)
    _check_namings(world.store.view)
    if world.faults.losses == scenario.faults.losses:
        for state in world.store.view.clusters(NAMESPACE):
            # After a loss a centroid may have learned a question twice: a stated limit.
            require(
                state.members == state.size, f"{format_cluster_id(state.cluster_id)} has not learned from all of its"
            )
    if scenario.topic_is_compared:
        _check_topic(world)


def _check_sizes(store: MemoryStore, decided: dict[tuple[int, int], int | None]) -> None:
    sizes = {state.cluster_id: 0 for state in store.clusters(NAMESPACE)}
    for place, cluster_id in decided.items():
        seen: set[int] = set()
        state = store.cluster(NAMESPACE, cluster_id or 0)
        while state is not None and state.merged_into is not None and state.cluster_id not in seen:
            seen.add(state.cluster_id)
            state = store.cluster(NAMESPACE, state.merged_into)
        require(state is not None and state.cluster_id in sizes, f"the id of {place} leads to no live cluster")
        assert state is not None
        sizes[state.cluster_id] += 1
    for state in store.clusters(NAMESPACE):
        counted, size = state.size, sizes[state.cluster_id]
        require(counted == size, f"{format_cluster_id(state.cluster_id)} counts {counted} questions and has {size}")


def naming_of(cluster_id: int) -> tuple[str, str]:
    """The label and the route that the operator gives a cluster: both name it."""
    return f"label of {cluster_id}", f"route of {cluster_id}"


def _check_namings(store: MemoryStore) -> None:
    """What the operator named keeps its label and route, both or none, whatever it was merged with."""
    whole = store.namespace_state(NAMESPACE)
    assert whole is not None
    for number in range(1, whole.next_cluster):
        known = store.cluster(NAMESPACE, number)
        if known is None or known.label is known.route is None:
            continue
        named = [n for n in range(1, whole.next_cluster) if (known.label, known.route) == naming_of(n)]
        require(bool(named), f"{format_cluster_id(number)} has the label of one cluster and the route of another")
        state = store.cluster(NAMESPACE, named[0])
        while state is not None and state.merged_into is not None:
            state = store.cluster(NAMESPACE, state.merged_into)
        naming = (state.label, state.route) if state else None
        require(naming == naming_of(named[0]), f"the naming of {format_cluster_id(named[0])} was dropped or mixed")


def _check_topic(world: World) -> None:
    """The compacted topic agrees with the store."""
    store = world.store.view
    last = {entry.key: entry.value for entry in world.kafka.cluster_records()}
    whole = store.namespace_state(NAMESPACE)
    assert whole is not None
    key, value = encode_namespace_state(whole)
    require(_content(last.pop(key, None)) == _content(value), "the cluster topic has another namespace than the store")
    for number in range(1, whole.next_cluster):
        state = store.cluster(NAMESPACE, number)
        if state is not None:
            cluster_key, cluster_value = encode_cluster_state(state)
            published = _content(last.pop(cluster_key, None))
            require(
                published == _content(cluster_value),
                f"the cluster topic has another {format_cluster_id(number)} than the store",
            )
    require(not last, "the cluster topic knows a cluster that the store does not")


def _content(value: bytes | None) -> dict[str, object] | None:
    """A record without what says only when it was written."""
    if value is None:
        return None
    return {name: part for name, part in orjson.loads(value).items() if name not in ("event", "seq", "in_flight")}
