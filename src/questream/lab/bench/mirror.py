"""The time in which a worker loads the clusters of a namespace while others change them, and the changes it misses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized

import numpy as np

from questream.clustering.mirror import Mirror
from questream.domain import Matrix
from questream.errors import QuestreamError
from questream.lab.bench.child import SPAWN, Child, ignore_interrupts, log_errors
from questream.lab.bench.clusters import fill_namespace
from questream.lab.bench.machine import load_average
from questream.lab.bench.servers import own_namespace
from questream.lab.bench.worker_process import wait_until
from questream.settings import Settings
from questream.store.protocol import ClusterUpdate, Committed, Identity, Proposal, Tail
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore, open_store

_CHANGES_AT_ONCE = 256
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_MODEL, _REVISION, _THRESHOLD = "made-up", "1", 0.725


@dataclass(frozen=True, slots=True)
class MirrorFigures:
    """`clusters` loaded while another process changed some of them `changes_meanwhile` times.

    `log_turnovers` is how often these changes replaced all that the log holds. `reloads` counts how often it was
    trimmed before a part was read, so that loading began anew. `differing_clusters` are those that the mirror has
    otherwise than the store once it has followed the log to its end. `load_cpu_seconds` is processor time of the
    loading process.
    """

    clusters: int
    dimension: int
    log_entries: int
    wanted_changes_per_second: float
    changes_per_second: float
    changes_meanwhile: int
    log_turnovers: float
    load_seconds: float
    load_cpu_seconds: float
    reloads: int
    differing_clusters: int
    load_average: float | None


class _CountingStore(RedisStore):
    """The store, which counts how often it was asked for changes that the log had lost."""

    reloads = 0

    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        found = super().tail(namespace, store_epoch, seq)
        self.reloads += found.changes is None
        return found


def measure_mirror(
    settings: Settings, clusters: int, dimension: int, changes_per_second: float, announce: Callable[[str], None]
) -> MirrorFigures:
    """Load the mirror of a namespace of its own while another process changes clusters at that rate at the most.

    Raises QuestreamError where that process does not begin, and what the store raises: Contended where the log moves
    faster than the clusters load.
    """
    log_entries = settings.clusters.log_entries
    store = _CountingStore(connect_redis(settings.redis), log_entries=log_entries, prefix=settings.redis.prefix)
    identity = Identity(_MODEL, _REVISION, dimension, "centred", "adaptive", _THRESHOLD)
    with own_namespace(settings) as namespace:
        announce(f"mirror: {clusters:,} clusters of {dimension} dimensions are created")
        centres = np.random.default_rng(1).standard_normal((clusters, dimension), np.float32)
        fill_namespace(store, namespace, identity, centres)
        with _changing(settings, namespace, clusters, changes_per_second) as changes:
            announce(f"mirror: it is loaded while {changes_per_second:,.0f} clusters a second change")
            before, started, processor = changes.value, time.perf_counter(), time.process_time()
            mirror = store.load(namespace)
            seconds, processor = time.perf_counter() - started, time.process_time() - processor
            meanwhile, reloads = changes.value - before, store.reloads
        differing = _differing_clusters(store, namespace, mirror)
    return MirrorFigures(
        clusters=clusters,
        dimension=dimension,
        log_entries=log_entries,
        wanted_changes_per_second=changes_per_second,
        changes_per_second=meanwhile / seconds,
        changes_meanwhile=meanwhile,
        log_turnovers=meanwhile / log_entries,
        load_seconds=seconds,
        load_cpu_seconds=processor,
        reloads=reloads,
        differing_clusters=differing,
        load_average=load_average(),
    )


def _differing_clusters(store: RedisStore, namespace: str, mirror: Mirror) -> int:
    """The number of clusters in which a mirror differs from the store, in which nothing moves now."""
    missed = store.tail(namespace, mirror.store_epoch, mirror.seq)
    if missed.changes is not None:
        mirror.apply(missed.changes)
    fresh = store.load(namespace)
    common = mirror.row_of.keys() & fresh.row_of.keys()
    differing = sum(
        mirror.member_count(cluster_id) != fresh.member_count(cluster_id)
        or not np.array_equal(mirror.vector_sum(cluster_id), fresh.vector_sum(cluster_id))
        for cluster_id in common
    )
    return differing + len(mirror.row_of.keys() ^ fresh.row_of.keys())


@contextmanager
def _changing(
    settings: Settings, namespace: str, clusters: int, changes_per_second: float
) -> Iterator[Synchronized[int]]:
    """A process that changes clusters; yields the count of its changes once it has begun."""
    count = SPAWN.Value("q", 0)
    child = Child("bench-changes", _change, settings, namespace, clusters, changes_per_second, count)

    def has_begun() -> bool:
        if not child.process.is_alive():
            raise QuestreamError(f"the process that changes clusters ended with code {child.process.exitcode}")
        return bool(count.value)

    try:
        wait_until(has_begun, "the process that changes clusters has begun", _START_SECONDS)
        yield count
    finally:
        child.close(_STOP_SECONDS)


def _change(
    settings: Settings,
    namespace: str,
    clusters: int,
    changes_per_second: float,
    count: Synchronized[int],
    tie: Connection,
) -> None:
    """The child: it moves clusters that it draws, until the other end of `tie` closes."""
    ignore_interrupts()
    log_errors(settings)
    store = open_store(settings.redis, settings.clusters.log_entries)
    mirror = store.load(namespace)
    members, seq, random = np.ones(clusters, np.int64), mirror.seq, np.random.default_rng(2)
    at_once = min(clusters, _CHANGES_AT_ONCE)
    due = time.monotonic()
    while not tie.poll(max(0.0, due - time.monotonic())):
        drawn = random.choice(clusters, at_once, replace=False, shuffle=False)
        sums: Matrix = random.standard_normal((at_once, mirror.dimension), np.float32)
        updates = [
            ClusterUpdate(int(at) + 1, 1, int(members[at]), int(members[at]) + 1, vector_sum, int(time.time() * 1000))
            for at, vector_sum in zip(drawn, sums, strict=True)
        ]
        now_ms = int(time.time() * 1000)
        moved = Proposal(mirror.store_epoch, seq, [], updates, None, _MODEL, _THRESHOLD, now_ms)
        reply = store.commit({namespace: moved})[namespace]
        if not isinstance(reply, Committed):
            raise QuestreamError(f"namespace {namespace!r} is in use elsewhere")
        seq = reply.seq
        members[drawn] += 1
        count.value += at_once
        due = max(due + at_once / changes_per_second, time.monotonic() - 1.0)
