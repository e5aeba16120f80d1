"""Workers that open clusters in the same namespaces at once: how many commits are refused, and what a question costs.

Each worker is a process with a clusterer of its own on the same Redis, and all questions are new subjects. In the place
of Kafka and a model each waits: a micro-batch is ready so long after the one before was taken. Workers that wait leave
the processor to each other, so that few cores show what many would give, as long as `busy_cores` is below what there
is. On fewer, the processor time of a question still shows what a core for each worker, and one for Redis, would give.

All numbers of workers decide as many micro-batches: a question is scored with every cluster that is there, so that more
workers, which open more clusters in the same time, would have dearer questions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import namespace_config
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Matrix, Source
from questream.lab.bench.child import SPAWN, Child, log_errors
from questream.lab.bench.clusters import BATCH_QUESTIONS, fill_namespace
from questream.lab.bench.machine import load_average
from questream.lab.bench.questions import table_encoder
from questream.lab.bench.servers import own_namespace
from questream.settings import Settings
from questream.store.redis.client import connect_redis
from questream.store.redis.store import open_store

_TOPIC = "bench"
_WARM_UP_BATCHES = 3
_READY_SECONDS = 120.0
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """Numbers of workers, which decide `batches` together beside `clusters` clusters of `dimension` in each namespace.

    Workers take the `namespaces` in turn, so that as many as there are namespaces meet in none.
    A micro-batch is ready `ready_ms` after the one before was taken; with 0 none is waited for.
    """

    workers: Sequence[int]
    dimension: int
    clusters: int
    ready_ms: float
    batches: int
    namespaces: int = 1


@dataclass(frozen=True, slots=True)
class ScaleFigures:
    """`workers` that commit micro-batches of 256 new subjects to `namespaces`, each ready `ready_ms` after the last.

    Microseconds of processor time and bytes are per question that was decided; `busy_cores` is what workers and Redis
    used together. `core_each_per_second` is the rate at which either each worker or Redis, which has one thread, would
    use a core of its own to the full: what waiting for turns costs beyond that is not in it. Both gains compare with
    the first number of workers. Of one worker, the `least` and the `most` batches.
    """

    workers: int
    namespaces: int
    ready_ms: float
    batches: int
    seconds: float
    questions_per_second: float
    gain: float
    core_each_per_second: float
    core_each_gain: float
    refusals_per_batch: float
    worker_microseconds: float
    redis_microseconds: float
    bytes_to_redis: float
    bytes_from_redis: float
    busy_cores: float
    least: int
    most: int
    clusters: int
    load_average: float | None


@dataclass(frozen=True, slots=True)
class _Share:
    """The share of one worker while it was measured."""

    batches: int
    refusals: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Redis:
    """The use of Redis so far: seconds of processor time, bytes in and out."""

    cpu_seconds: float
    bytes_in: int
    bytes_out: int


def measure_scale(settings: Settings, plan: ScalePlan, announce: Callable[[str], None]) -> list[ScaleFigures]:
    """Measure one number of workers after the other, each in a namespace of its own, which is deleted.

    Raises QuestreamError if a worker ends.
    """
    found: list[ScaleFigures] = []
    for workers in plan.workers:
        announce(f"scale: {workers} workers, {plan.batches} micro-batches")
        found.append(_measure(settings, plan, workers, found[0] if found else None))
    return found


def _measure(settings: Settings, plan: ScalePlan, count: int, first: ScaleFigures | None) -> ScaleFigures:
    config = namespace_config(settings, table_encoder((), np.empty((0, plan.dimension), np.float32)))
    store = open_store(settings.redis, settings.clusters.log_entries)
    with contextlib.ExitStack() as opened:
        client = opened.enter_context(contextlib.closing(connect_redis(settings.redis)))
        namespaces = [opened.enter_context(own_namespace(settings)) for _ in range(plan.namespaces)]
        known = _subjects(np.random.default_rng(0), plan.clusters, plan.dimension)
        for namespace in namespaces:
            fill_namespace(store, namespace, config.identity, known)
        left = SPAWN.Value("i", plan.batches)
        workers = [
            Child(f"bench-scale-{at}", _work, settings, namespaces[at % plan.namespaces], plan, at, left)
            for at in range(count)
        ]
        try:
            for worker in workers:
                worker.receive()
            before, started = _used(client), time.perf_counter()
            for worker in workers:
                worker.tie.send(None)
            shares: list[_Share] = [worker.receive() for worker in workers]
            took, after = time.perf_counter() - started, _used(client)
        finally:
            for worker in workers:
                worker.close(_READY_SECONDS)
        live = sum(store.load(namespace).count for namespace in namespaces)
    return _figures(plan, shares, took, before, after, live, first)


def _figures(
    plan: ScalePlan,
    shares: Sequence[_Share],
    took: float,
    before: _Redis,
    after: _Redis,
    live: int,
    first: ScaleFigures | None,
) -> ScaleFigures:
    batches = sum(share.batches for share in shares)
    questions = batches * BATCH_QUESTIONS
    redis_seconds, worker_seconds = after.cpu_seconds - before.cpu_seconds, sum(share.cpu_seconds for share in shares)
    rate = questions / took
    core_each = questions / max(worker_seconds / len(shares), redis_seconds)
    return ScaleFigures(
        workers=len(shares),
        namespaces=plan.namespaces,
        ready_ms=plan.ready_ms,
        batches=batches,
        seconds=took,
        questions_per_second=rate,
        gain=rate / (first.questions_per_second if first else rate),
        core_each_per_second=core_each,
        core_each_gain=core_each / (first.core_each_per_second if first else core_each),
        refusals_per_batch=sum(share.refusals for share in shares) / batches,
        worker_microseconds=worker_seconds / questions * _MILLION,
        redis_microseconds=redis_seconds / questions * _MILLION,
        bytes_to_redis=(after.bytes_in - before.bytes_in) / questions,
        bytes_from_redis=(after.bytes_out - before.bytes_out) / questions,
        busy_cores=(worker_seconds + redis_seconds) / took,
        least=min(share.batches for share in shares),
        most=max(share.batches for share in shares),
        clusters=live,
        load_average=load_average(),
    )


def _work(settings: Settings, namespace: str, plan: ScalePlan, number: int, left: Any, tie: Connection) -> None:
    """The child: warms up, reports that, and on the parent's word decides batch after batch of those that are left."""
    log_errors(settings)
    config = namespace_config(settings, table_encoder((), np.empty((0, plan.dimension), np.float32)))
    store = open_store(settings.redis, settings.clusters.log_entries)
    clusterer = Clusterer(store, Namespaces(store, config))
    rng = np.random.default_rng(number + 1)
    with threadpool_limits(1, user_api="blas"):
        for batch in range(_WARM_UP_BATCHES):
            _decide(clusterer, namespace, number, batch, _subjects(rng, BATCH_QUESTIONS, plan.dimension))
        tie.send(None)
        tie.recv()
        batches = refusals = 0
        cpu = 0.0
        due = time.perf_counter()
        while _take_one(left):
            vectors = _subjects(rng, BATCH_QUESTIONS, plan.dimension)
            time.sleep(max(0.0, due - time.perf_counter()))
            taken, processor = time.perf_counter(), time.process_time()
            refusals += _decide(clusterer, namespace, number, _WARM_UP_BATCHES + batches, vectors)
            cpu += time.process_time() - processor
            batches += 1
            due = taken + plan.ready_ms / 1000
    tie.send(_Share(batches, refusals, cpu))


def _take_one(left: Any) -> bool:
    """Take one of the batches that are left to all workers, if there is one."""
    with left.get_lock():
        left.value -= 1
        return bool(left.value >= 0)


def _decide(clusterer: Clusterer, namespace: str, number: int, batch: int, vectors: Matrix) -> int:
    """Decide a batch as the next offsets of the worker's own partition; returns how often it was refused."""
    now, start = int(time.time() * 1000), batch * BATCH_QUESTIONS
    arrivals = [
        Arrival(Source(_TOPIC, number, offset, now), "How do I get this matter settled, please?")
        for offset in range(start, start + BATCH_QUESTIONS)
    ]
    store_epoch = clusterer.mirrors.follow(namespace).store_epoch
    decided = NamespaceBatch(namespace, store_epoch, arrivals, vectors)
    clusterer.decide([decided], {(_TOPIC, number): start})
    return decided.decided().stale_retries


def _subjects(rng: np.random.Generator, count: int, dimension: int) -> Matrix:
    """Unit vectors (count, dimension) that are all far from each other."""
    drawn = rng.standard_normal((count, dimension), np.float32)
    unit: Matrix = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _used(client: Any) -> _Redis:
    cpu, stats = client.info("cpu"), client.info("stats")
    return _Redis(
        cpu["used_cpu_user"] + cpu["used_cpu_sys"], stats["total_net_input_bytes"], stats["total_net_output_bytes"]
    )
