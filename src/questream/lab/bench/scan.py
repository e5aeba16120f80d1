"""The cost of deciding a micro-batch beside one product of its questions with all clusters, and beside other indexes.

All in processor time of one thread, without a store. Other libraries are measured where they are installed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from questream.clustering.assignment import BatchAssigner
from questream.clustering.may_merge import MayMerge
from questream.clustering.merging import propose_merges
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import Rules
from questream.deciding.config import rules_of
from questream.domain import Matrix
from questream.lab.bench.clusters import made_up_clusters
from questream.lab.bench.questions import table_encoder
from questream.settings import Settings

INDEXES = ("faiss flat", "faiss HNSW", "usearch HNSW")

_WARM_UP_RUNS = 1
_MOVED_AT_ONCE = 4096
_MERGES = 64
# So near that they merge, and not the same.
_NEAR = np.float32(0.2)
# The settings of the libraries' own examples for a recall near 1.
_HNSW_LINKS = 32
_HNSW_SEARCH = 64

Search = Callable[[Matrix], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """One way to find what questions are near to: milliseconds of processor time for a batch, medians of `runs`.

    `gemms` is in units of one float32 product of the batch with all clusters. `recall` is the share of questions that
    got the cluster with the largest product, None for what answers another question.
    """

    dimension: int
    clusters: int
    questions: int
    way: str
    runs: int
    milliseconds: float
    gemms: float
    recall: float | None


def missing_indexes() -> list[str]:
    """The indexes whose library is not installed here."""
    return [name for name in INDEXES if find_spec(name.split()[0]) is None]


def measure_scan(settings: Settings, dimension: int, clusters: int, questions: int, runs: int) -> Iterator[ScanFigures]:
    """Each way with the same `runs` batches of made-up questions, as it is done; a product of matrices is the first."""
    centres, asked = made_up_clusters(dimension, clusters, (_WARM_UP_RUNS + runs) * questions)
    batches = np.split(asked, _WARM_UP_RUNS + runs)
    rules = rules_of(settings, table_encoder((), centres[:0]))
    room = np.empty((questions, clusters), np.float32)
    with threadpool_limits(1):
        gemm = _median([_cpu_seconds(partial(np.matmul, batch, centres.T, out=room)) for batch in batches])

        def figures(way: str, seconds: float, recall: float | None = None) -> ScanFigures:
            return ScanFigures(dimension, clusters, questions, way, runs, 1000 * seconds, seconds / gemm, recall)

        yield figures("one product", gemm)
        worker = _Worker(centres, rules)
        decided = [(_cpu_seconds(partial(worker.decide, batch)), _cpu_seconds(worker.check_all)) for batch in batches]
        yield figures("decide, check for merges", _median([seconds for seconds, _ in decided]))
        yield figures("check with all clusters", _median([seconds for _, seconds in decided]))
        come_together = worker.come_together(_MERGES)
        together = partial(propose_merges, worker.mirror, list(come_together.with_cluster), rules, (), come_together)
        yield figures(f"{len(together())} merges", _median([_cpu_seconds(together) for _ in batches]))
        del worker, together
        nearest = [np.matmul(batch, centres.T, out=room).argmax(axis=1) for batch in batches]
        for name in INDEXES:
            if name not in missing_indexes():
                search = _INDEXES[name](centres)
                seconds = _median([_cpu_seconds(partial(search, batch)) for batch in batches])
                pairs = zip(batches, nearest, strict=True)
                yield figures(name, seconds, float(np.mean([search(batch) == rows for batch, rows in pairs])))
                del search


class _Worker:
    """A worker without its store, on clusters (n, d) that it has loaded."""

    def __init__(self, centres: Matrix, rules: Rules) -> None:
        self._rules = rules
        self._moved: list[int] = []
        self.mirror = Mirror(centres.shape[1])
        self.mirror.reserve(len(centres))
        self.mirror.apply([MeanMoved(rules.mean_questions, centres.mean(axis=0) * np.float32(rules.mean_questions))])
        for first in range(0, len(centres), _MOVED_AT_ONCE):
            rows = enumerate(centres[first : first + _MOVED_AT_ONCE], start=first + 1)
            self.mirror.apply([ClusterMoved(cluster_id, 1, centre) for cluster_id, centre in rows])

    def decide(self, batch: Matrix) -> None:
        """Assign a batch (n, d), let its clusters learn, and look for those that may merge now; none does."""
        assigner = BatchAssigner(batch, self.mirror, self._rules)
        plan = assigner.plan()
        members = {touched.cluster_id: touched.members for touched in plan.touched.values()}
        self.mirror.apply([ClusterMoved(i, members[i], vector) for i, vector in assigner.vector_sums(plan).items()])
        self._moved = plan.moved
        propose_merges(self.mirror, self._moved, self._rules, may_merge=plan.may_merge)

    def come_together(self, count: int) -> MayMerge:
        """Move `count` clusters, or as many as there are pairs, each beside another; what is near to which is known."""
        ids = self.mirror.ids[: 2 * min(count, self.mirror.count // 2)].reshape(-1, 2).copy()
        sums = [self.mirror.vector_sum(one) + _NEAR * self.mirror.vector_sum(other) for one, other in ids.tolist()]
        moved = zip(ids[:, 1].tolist(), sums, strict=True)
        self.mirror.apply([ClusterMoved(i, 1, vector / np.linalg.norm(vector)) for i, vector in moved])
        return MayMerge({int(moved): ids[at, :1] for at, moved in enumerate(ids[:, 1])}, ())

    def check_all(self) -> None:
        """Look for merges of what the last batch moved by scoring that with all clusters."""
        propose_merges(self.mirror, self._moved, self._rules)


def _faiss(description: str, centres: Matrix) -> Search:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(centres.shape[1], description, faiss.METRIC_INNER_PRODUCT)
    index.add(centres)
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = _HNSW_SEARCH
    return lambda batch: index.search(batch, 1)[1][:, 0]


def _usearch(centres: Matrix) -> Search:
    from usearch.index import Index

    index = Index(
        ndim=centres.shape[1], metric="ip", dtype="f32", connectivity=_HNSW_LINKS, expansion_search=_HNSW_SEARCH
    )
    index.add(np.arange(len(centres)), centres, threads=1)
    return lambda batch: index.search(batch, 1, threads=1).keys[:, 0].astype(np.int64)


_INDEXES: dict[str, Callable[[Matrix], Search]] = {
    "faiss flat": partial(_faiss, "Flat"),
    "faiss HNSW": partial(_faiss, f"HNSW{_HNSW_LINKS},Flat"),
    "usearch HNSW": _usearch,
}


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _median(seconds: Sequence[float]) -> float:
    return statistics.median(seconds[_WARM_UP_RUNS:])
