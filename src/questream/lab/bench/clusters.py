"""Assignment and commit against many clusters, and what a worker's copy of them takes in time and memory."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import namespace_config
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Matrix, Source
from questream.errors import QuestreamError
from questream.lab.bench.machine import load_average, usable_cores
from questream.lab.bench.questions import SyntheticQuestions, in_letters, table_encoder
from questream.lab.bench.servers import own_namespace, own_stream
from questream.lab.bench.traffic import Reader, send_all
from questream.lab.bench.worker_process import worker_processes
from questream.operations import By, Decisions
from questream.operations.binding import KnownQuestion
from questream.settings import Settings
from questream.store.protocol import ClusterUpdate, Committed, Identity, MeanUpdate, Proposal, Store
from questream.store.redis.store import open_store

BATCH_QUESTIONS = 256

_TOPIC = "bench"
_CREATED_AT_ONCE = 500
_WARM_UP_RUNS = 2
# Each run opens a few clusters: where these would be many beside those that are there, each run gets its own namespace.
_REUSED_ABOVE = 5_000
# One topic in ten has no cluster yet, so that the questions also open some.
_NEW_TOPIC_EVERY = 10
_MEAN_QUESTIONS = 1000
_FIRST_TOPICS = 3000
_MEMORY_QUESTIONS = 2048
# Of a coordinate of a question that was turned away: it is about .84 from its cluster at 384 dimensions.
_SPREAD = 0.033
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class AssignmentFigures:
    """One micro-batch of `questions` against `clusters`, in milliseconds, over `runs` batches.

    Assignment is all that the worker does but wait for Redis: scoring, decisions, new centroids, looking for merges.
    The commit is the script's round trip, and that of the merges where there are some. `blas_threads` is how many
    threads the matrix products had: 1 beside a model on the CPU, all cores beside one on a GPU. `assign_cpu_median` is
    processor time, which other programs do not stretch.
    """

    dimension: int
    clusters: int
    questions: int
    runs: int
    blas_threads: int
    assign_median: float
    assign_p95: float
    assign_cpu_median: float
    commit_median: float
    commit_p95: float
    opened_per_run: float
    load_average: float | None


@dataclass(frozen=True, slots=True)
class MirrorLoad:
    """Seconds to read all clusters of a namespace from Redis, as a worker does when it starts."""

    dimension: int
    clusters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ExemplarFigures:
    """The cost of `exemplars` rejected questions for a batch: ms of processor time, medians of `runs`."""

    dimension: int
    clusters: int
    exemplars: int
    questions: int
    runs: int
    without_cpu_median: float
    cpu_median: float


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """A whole worker without a model, after it has answered some questions: MiB in RAM then, and at the most.

    None where the system does not report it.
    """

    dimension: int
    clusters: int
    resident_mib: float | None
    peak_mib: float | None


def measure_assignment(
    settings: Settings, dimension: int, clusters: int, runs: int
) -> tuple[list[AssignmentFigures], MirrorLoad]:
    """Decide micro-batches of 256 made-up questions against `clusters` clusters in a namespace of its own.

    With one BLAS thread and with as many as there are cores, in turns. Raises what the store raises.
    """
    threads = sorted({1, usable_cores()})
    turns = [count for _ in range(_WARM_UP_RUNS + runs) for count in threads]
    recipe = _recipe(dimension, clusters, len(turns) * BATCH_QUESTIONS)
    centres, batches = _centres(recipe, clusters), np.split(recipe.vectors(), len(turns))
    reused = clusters > _REUSED_ABOVE
    timings: dict[int, list[_Timing]] = {count: [] for count in threads}
    load_seconds = 0.0
    for group in [range(len(turns))] if reused else [[turn] for turn in range(len(turns))]:
        with _prepared(settings, centres) as prepared:
            load_seconds = prepared.load_seconds
            for turn in group:
                with threadpool_limits(turns[turn], user_api="blas"):
                    timings[turns[turn]].append(prepared.decide(batches[turn]))
    figures = [_summary(dimension, clusters, count, timings[count][_WARM_UP_RUNS:]) for count in threads]
    return figures, MirrorLoad(dimension, clusters, load_seconds)


def measure_exemplars(settings: Settings, dimension: int, clusters: int, exemplars: int, runs: int) -> ExemplarFigures:
    """Decide the same micro-batches with and without questions that people rejected, in turns, with one BLAS thread.

    They are drawn over `clusters` clusters, each near its own. Raises what the store raises.
    """
    recipe = _recipe(dimension, clusters, (_WARM_UP_RUNS + runs) * BATCH_QUESTIONS)
    centres, batches = _centres(recipe, clusters), np.split(recipe.vectors(), _WARM_UP_RUNS + runs)
    seconds: tuple[list[float], list[float]] = [], []
    with (
        _prepared(settings, centres) as without,
        _prepared(settings, centres, exemplars) as with_them,
        threadpool_limits(1, user_api="blas"),
    ):
        for turn, batch in enumerate(batches):
            # The first of the two warms the caches.
            for which in (turn % 2, 1 - turn % 2):
                seconds[which].append((without, with_them)[which].decide(batch).cpu)
    plain, bound = (1000 * float(np.median(values[_WARM_UP_RUNS:])) for values in seconds)
    return ExemplarFigures(dimension, clusters, exemplars, BATCH_QUESTIONS, runs, plain, bound)


def measure_memory(settings: Settings, dimension: int, clusters: int) -> MemoryFigures:
    """Start a worker on a namespace of `clusters` clusters, have it answer 2,048 questions, and look at its memory."""
    source = SyntheticQuestions(_MEMORY_QUESTIONS, dimension)
    encoder = source.open()
    identity = namespace_config(settings, encoder).identity
    with own_stream(settings, 1) as own:
        namespace = own.clusters.namespace
        fill_namespace(open_store(own.redis), namespace, identity, _centres(_recipe(dimension, clusters, 0), clusters))
        with worker_processes(own, [source]) as workers, Reader(own) as reader:
            texts = source.texts()
            send_all(own, [(f"q{number}", text) for number, text in enumerate(texts)])
            reader.wait_for(len(texts), workers[0].check)
            counts = workers[0].counts()
    resident, peak = (None if size is None else size / _MIB for size in (counts.resident_bytes, counts.peak_bytes))
    return MemoryFigures(dimension, clusters, resident, peak)


def bytes_per_cluster(figures: Sequence[MemoryFigures]) -> float | None:
    """The resident memory of each further cluster, between the fewest and the most; None if not known."""
    fewest, most = min(figures, key=lambda f: f.clusters), max(figures, key=lambda f: f.clusters)
    if fewest.resident_mib is None or most.resident_mib is None or fewest.clusters == most.clusters:
        return None
    return (most.resident_mib - fewest.resident_mib) * _MIB / (most.clusters - fewest.clusters)


def fill_namespace(store: Store, namespace: str, identity: Identity, centres: Matrix) -> None:
    """Open a namespace and create a cluster of one question at each of the unit `centres` (n, d).

    With it the stream's mean has learned all that it learns, as in a namespace of that size.
    """
    store.open(namespace, identity)
    store.recover(namespace, store.begin_recovery(namespace), None, {})
    fresh = store.load(namespace)
    now, seq = int(time.time() * 1000), fresh.seq
    for first in range(0, len(centres), _CREATED_AT_ONCE):
        cluster_updates = [
            ClusterUpdate(number, 1, 0, 1, centre, now, f"How do I get matter{in_letters(number)} settled?")
            for number, centre in enumerate(centres[first : first + _CREATED_AT_ONCE], start=first + 1)
        ]
        mean = None if first else MeanUpdate(0, _MEAN_QUESTIONS, centres.mean(axis=0) * np.float32(_MEAN_QUESTIONS))
        proposal = Proposal(fresh.store_epoch, seq, [], cluster_updates, mean, identity.model, identity.threshold, now)
        reply = store.commit({namespace: proposal})[namespace]
        if not isinstance(reply, Committed):
            raise QuestreamError(f"namespace {namespace!r} is in use elsewhere")
        seq = reply.seq


@dataclass(frozen=True, slots=True)
class _Timing:
    """One batch: seconds without the store, of processor time, and with the store; and the clusters it opened."""

    assign: float
    cpu: float
    commit: float
    opened: int


class _Prepared:
    """A namespace with its clusters in it, and a clusterer that has loaded them."""

    def __init__(self, clusterer: Clusterer, namespace: str) -> None:
        started = time.perf_counter()
        self._store_epoch = clusterer.mirrors.follow(namespace).store_epoch
        self.load_seconds = time.perf_counter() - started
        self._clusterer = clusterer
        self._namespace = namespace
        self._offset = 0

    def decide(self, vectors: Matrix) -> _Timing:
        """Decide and commit a batch (n, d) as the next offsets of one partition."""
        now = int(time.time() * 1000)
        offsets = range(self._offset, self._offset + len(vectors))
        self._offset = offsets.stop
        arrivals = [
            Arrival(Source(_TOPIC, 0, offset, now), f"How do I get case{in_letters(offset)} settled?")
            for offset in offsets
        ]
        started, cpu_started = time.perf_counter(), time.process_time()
        batch = NamespaceBatch(self._namespace, self._store_epoch, arrivals, vectors)
        self._clusterer.decide([batch], {(_TOPIC, 0): offsets.start})
        decided = batch.decided()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        opened = sum(decision.outcome == "created" for decision in decided.decisions)
        return _Timing(seconds - decided.commit_seconds, cpu, decided.commit_seconds, opened)


@contextmanager
def _prepared(settings: Settings, centres: Matrix, exemplars: int = 0) -> Iterator[_Prepared]:
    config = namespace_config(settings, table_encoder((), centres[:0]))
    store = open_store(settings.redis, settings.clusters.log_entries)
    with own_namespace(settings) as namespace:
        fill_namespace(store, namespace, config.identity, centres)
        _turn_away(store, namespace, centres, exemplars)
        yield _Prepared(Clusterer(store, Namespaces(store, config)), namespace)


def _turn_away(store: Store, namespace: str, centres: Matrix, count: int) -> None:
    """Turn away a question near each of so many of the clusters at `centres` (n, d), drawn with repetition."""
    random = np.random.default_rng(1)
    for number in range(count):
        at = int(random.integers(len(centres)))
        vector = centres[at] + random.standard_normal(centres.shape[1], np.float32) * np.float32(_SPREAD)
        question = KnownQuestion(at + 1, vector / np.linalg.norm(vector), (_TOPIC, 1, number))
        decisions = Decisions(store, namespace, By("bench", "", uuid.uuid4().hex))
        decisions.commit(decisions.reject([question]))


def made_up_clusters(dimension: int, clusters: int, questions: int) -> tuple[Matrix, Matrix]:
    """Unit centres (clusters, dimension), and unit vectors (questions, dimension) of which some are near to none."""
    recipe = _recipe(dimension, clusters, questions)
    return _centres(recipe, clusters), recipe.vectors()


def _recipe(dimension: int, clusters: int, questions: int) -> SyntheticQuestions:
    """Questions around as many topics as there are clusters, and some more."""
    topics = max(_FIRST_TOPICS, clusters * _NEW_TOPIC_EVERY // (_NEW_TOPIC_EVERY - 1) + 1)
    return SyntheticQuestions(questions, dimension, topics)


def _centres(recipe: SyntheticQuestions, clusters: int) -> Matrix:
    """The middles of `clusters` of the recipe's topics: the most popular ones, but for one in ten."""
    topics = np.arange(recipe.topics)
    chosen: Matrix = recipe.centres()[topics[topics % _NEW_TOPIC_EVERY != _NEW_TOPIC_EVERY - 1][:clusters]]
    return chosen


def _summary(dimension: int, clusters: int, blas_threads: int, timings: Sequence[_Timing]) -> AssignmentFigures:
    assign, cpu, commit = ([1000 * getattr(timing, name) for timing in timings] for name in ("assign", "cpu", "commit"))
    return AssignmentFigures(
        dimension=dimension,
        clusters=clusters,
        questions=BATCH_QUESTIONS,
        runs=len(timings),
        blas_threads=blas_threads,
        assign_median=float(np.median(assign)),
        assign_p95=float(np.quantile(assign, 0.95)),
        assign_cpu_median=float(np.median(cpu)),
        commit_median=float(np.median(commit)),
        commit_p95=float(np.quantile(commit, 0.95)),
        opened_per_run=sum(timing.opened for timing in timings) / len(timings),
        load_average=load_average(),
    )
