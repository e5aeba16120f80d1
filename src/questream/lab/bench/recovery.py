"""The time and memory in which an emptied Redis gets its clusters back from the cluster topic."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from questream.broker.connect import open_producer
from questream.broker.port import Outgoing
from questream.broker.publisher import Sent
from questream.domain import ClusterState, NamespaceState
from questream.lab.bench.machine import forget_peak, load_average, peak_resident_bytes, resident_bytes
from questream.lab.bench.servers import own_stream
from questream.records import encode_cluster_state, encode_namespace_state
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import Homes, location_of
from questream.recovery.lease import RecoveryLease
from questream.recovery.recover import StoreRecovery
from questream.settings import Settings
from questream.store.protocol import Identity
from questream.store.redis.store import open_store

_PARTITIONS = 4
_ACKNOWLEDGED_AT_ONCE = 10_000
_LINGER_SECONDS = 0.02
_MIB = 1024**2
_MODEL, _REVISION, _THRESHOLD = "made-up", "1", 0.725


@dataclass(frozen=True, slots=True)
class RecoveryFigures:
    """`clusters` of a namespace restored by one worker, then read as every worker reads them when it starts.

    Memory is that of this process, which does what the worker does: None where the system does not report it.
    """

    clusters: int
    dimension: int
    recovery_seconds: float
    recovery_cpu_seconds: float
    clusters_per_second: float
    resident_mib_before: float | None
    resident_mib_peak: float | None
    load_seconds: float
    load_average: float | None


def measure_recovery(
    settings: Settings, clusters: int, dimension: int, announce: Callable[[str], None]
) -> RecoveryFigures:
    """Publish the states of `clusters`, recover a namespace that Redis knows nothing of, and load its mirror."""
    with own_stream(settings, _PARTITIONS) as own:
        namespace = own.clusters.namespace
        announce(f"recovery: {clusters:,} states of {dimension} dimensions are published")
        _publish(own, clusters, dimension)
        store = open_store(own.redis, own.clusters.log_entries)
        store.open(namespace, Identity(_MODEL, _REVISION, dimension, "centred", "adaptive", _THRESHOLD))
        topic = ClusterTopic(own, store.stream)
        recovery = StoreRecovery(store, topic, Homes(store, location_of(own.redis)), RecoveryLease(store, _wait))
        announce(f"recovery: {clusters:,} clusters are restored")
        forget_peak()
        before, started, processor = resident_bytes(os.getpid()), time.perf_counter(), time.process_time()
        recovery.recover(namespace)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        # Linux counts the two apart, each some pages off.
        peak = max(filter(None, (before, peak_resident_bytes(os.getpid()))), default=None)
        topic.close()
        announce("recovery: the mirror is loaded")
        started = time.perf_counter()
        loaded = store.load(namespace).count
        load_seconds = time.perf_counter() - started
    assert loaded == clusters  # noqa: S101 - else the figures are of something else
    return RecoveryFigures(
        clusters=clusters,
        dimension=dimension,
        recovery_seconds=seconds,
        recovery_cpu_seconds=processor,
        clusters_per_second=clusters / seconds,
        resident_mib_before=None if before is None else before / _MIB,
        resident_mib_peak=None if peak is None else peak / _MIB,
        load_seconds=load_seconds,
        load_average=load_average(),
    )


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _publish(settings: Settings, clusters: int, dimension: int) -> None:
    states = (Outgoing(settings.kafka.cluster_topic, *state) for state in _states(settings, clusters, dimension))
    with open_producer(settings, linger=_LINGER_SECONDS) as producer:
        while batch := list(islice(states, _ACKNOWLEDGED_AT_ONCE)):
            sent = Sent()
            sent.send(producer, batch)
            producer.flush()
            sent.require_all()


def _states(settings: Settings, clusters: int, dimension: int) -> Iterator[tuple[bytes, bytes | None]]:
    namespace = settings.clusters.namespace
    random = np.random.default_rng(1)
    for number in range(1, clusters + 1):
        yield encode_cluster_state(
            ClusterState(
                cluster_id=number,
                namespace=namespace,
                event="updated",
                size=5,
                members=3,
                vector_sum=random.standard_normal(dimension).astype(np.float32),
                merged_into=None,
                representative=f"question {number}",
                created_at=1000,
                last_seen_at=2000 + number,
                model=_MODEL,
                revision=4,
            )
        )
    yield encode_namespace_state(
        NamespaceState(
            namespace=namespace,
            model=_MODEL,
            model_revision=_REVISION,
            similarity="centred",
            linkage="adaptive",
            threshold=_THRESHOLD,
            next_cluster=clusters + 1,
            mean_questions=10,
            mean_sum=np.zeros(dimension, np.float32),
            seq=clusters,
            generation=0,
        )
    )
