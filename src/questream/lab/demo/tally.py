"""What the demo has read from the output and cluster topics so far, counted."""

from __future__ import annotations

import heapq
import threading
from array import array
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from questream.lab.demo.snapshot import ClusterView, Figures
from questream.lab.evaluation.agreement import Agreement, agreement

Place = tuple[int, int]
"""Partition and offset of a record of the input topic."""

_RATE_SECONDS = 2.0


@dataclass(slots=True)
class _Cluster:
    size: int
    representative: str
    merged_into: str | None


class Tally:
    """Counts decisions and cluster states; safe to use from several threads.

    Every place of the input topic counts once: the embedded broker shows the records of aborted transactions too.
    It keeps 8 bytes and the place of each question, and one entry for each cluster.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cluster_of: dict[Place, str] = {}
        self._dead_letters: set[Place] = set()
        self._answers: dict[Place, dict[str, Any]] = {}
        self._clusters: dict[str, _Cluster] = {}
        self._outcomes: Counter[str] = Counter()
        self._latencies_ms = array("d")
        self._recent: deque[tuple[float, int]] = deque()
        self._states = 0
        self._first_at = 0.0
        self._last_at = 0.0

    def add_decision(self, decision: dict[str, Any], read_at: float, now: float) -> bool:
        """Count a decision read at `read_at`, seconds since the epoch; `now` is the same moment of a steady clock.

        Returns whether the question had none before.
        """
        source = decision["source"]
        place = source["partition"], source["offset"]
        with self._lock:
            if place in self._cluster_of:
                return False
            self._cluster_of[place] = decision["cluster_id"]
            self._answers[place] = decision
            # Only the last few are asked for, by the prompt.
            if len(self._answers) > 1000:
                del self._answers[next(iter(self._answers))]
            self._outcomes[decision["outcome"]] += 1
            self._latencies_ms.append(read_at * 1000 - source["timestamp"])
            self._count_at(now)
        return True

    def add_dead_letter(self, place: Place, now: float) -> bool:
        """Count a question that could not be processed; returns whether it had not been counted before."""
        with self._lock:
            if place in self._dead_letters:
                return False
            self._dead_letters.add(place)
            self._count_at(now)
        return True

    def add_cluster_state(self, cluster_id: str, state: dict[str, Any] | None) -> None:
        """Take over a state of the cluster topic; None is the tombstone of a retired cluster."""
        with self._lock:
            self._states += 1
            if state is None:
                self._clusters.pop(cluster_id, None)
                return
            self._clusters[cluster_id] = _Cluster(state["size"], state["representative"] or "", state["merged_into"])

    def figures(self, now: float, biggest: int) -> Figures:
        """The stream so far, with its `biggest` clusters; the rate is that of the last two seconds before `now`."""
        with self._lock:
            while self._recent and self._recent[0][0] < now - _RATE_SECONDS:
                self._recent.popleft()
            since = max(self._first_at, now - _RATE_SECONDS)
            rate = sum(count for _, count in self._recent) / max(now - since, 0.1)
            return self._figures(rate, biggest)

    def final_figures(self, started_at: float, biggest: int) -> Figures:
        """The whole stream, from the steady clock's `started_at`, when its first question was sent, to its last."""
        with self._lock:
            return self._figures(self._processed() / max(self._last_at - started_at, 1e-9), biggest)

    @property
    def processed(self) -> int:
        """Questions with a decision or a dead letter."""
        with self._lock:
            return self._processed()

    @property
    def states(self) -> int:
        """Cluster states read."""
        return self._states

    @property
    def first_at(self) -> float:
        """When the first question was counted, on the steady clock; 0 before."""
        return self._first_at

    @property
    def last_at(self) -> float:
        """When the last question was counted, on the steady clock."""
        return self._last_at

    def decision_at(self, place: Place) -> dict[str, Any] | None:
        """The decision about the question at `place`, if it is among the last thousand."""
        with self._lock:
            return self._answers.get(place)

    def is_dead_letter(self, place: Place) -> bool:
        """Whether the question at `place` could not be processed."""
        with self._lock:
            return place in self._dead_letters

    def representative(self, cluster_id: str) -> str:
        """The question that stands for a cluster, or nothing if its state has not been read."""
        with self._lock:
            cluster = self._clusters.get(self._surviving(cluster_id))
            return "" if cluster is None else cluster.representative

    def agreement(self, gold: Mapping[Place, str]) -> Agreement | None:
        """Agreement of the clusters, merges followed, with the gold groups; None where there are none."""
        with self._lock:
            places = [place for place in self._cluster_of if place in gold]
            clusters = [self._surviving(self._cluster_of[place]) for place in places]
        return agreement(clusters, [gold[place] for place in places]) if places else None

    def _figures(self, rate: float, biggest: int) -> Figures:
        live = [(cluster.size, name, cluster) for name, cluster in self._clusters.items() if not cluster.merged_into]
        top = heapq.nlargest(biggest, live, key=lambda entry: entry[0])
        p50, p99 = np.percentile(self._latencies_ms, (50, 99)) if self._latencies_ms else (None, None)
        return Figures(
            decided=len(self._cluster_of),
            dead_lettered=len(self._dead_letters),
            joined=self._outcomes["joined"],
            created=self._outcomes["created"],
            merged=sum(1 for cluster in self._clusters.values() if cluster.merged_into),
            clusters=len(live),
            questions_per_second=rate,
            p50_ms=p50,
            p99_ms=p99,
            biggest=tuple(ClusterView(name, size, cluster.representative) for size, name, cluster in top),
        )

    def _processed(self) -> int:
        return len(self._cluster_of) + len(self._dead_letters)

    def _count_at(self, now: float) -> None:
        self._first_at = self._first_at or now
        self._last_at = now
        self._recent.append((now, 1))

    def _surviving(self, cluster_id: str) -> str:
        while (cluster := self._clusters.get(cluster_id)) is not None and cluster.merged_into:
            cluster_id = cluster.merged_into
        return cluster_id
