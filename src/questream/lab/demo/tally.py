"""Counts of the records that the demo has read from the output and cluster topics so far."""

from __future__ import annotations

import heapq
import re
import threading
from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from questream.clustering.levels import Node
from questream.lab.demo.intents import Intents
from questream.lab.demo.snapshot import ClusterView, Figures, IntentView
from questream.lab.evaluation.agreement import Agreement, agreement

Place = tuple[int, int]
"""Partition and offset of a record of the input topic."""

_RATE_SECONDS = 2.0


# Of a shown intent, so many clusters are named.
_NAMED_CLUSTERS = 3
# Of each cluster, so many questions are kept: those that were most alike to it.
_KEPT_QUESTIONS = 12
_WORD = re.compile(r"\w+")


class Tally:
    """Counts decisions and cluster states; safe to use from several threads.

    Every place of the input topic counts once: the embedded broker shows the records of aborted transactions too.
    It keeps 8 bytes and the place of each question, and one entry for each cluster, with a few of its questions. The
    typical one is that which was most alike to the cluster when it joined.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cluster_of: dict[Place, str] = {}
        self._dead_letters: set[Place] = set()
        self._answers: dict[Place, dict[str, Any]] = {}
        self._clusters: dict[str, dict[str, Any]] = {}
        self._kept: dict[str, list[tuple[float, str]]] = {}
        self._mean: dict[str, Any] | None = None
        self._intents = Intents()
        self._outcomes: Counter[str] = Counter()
        self._latencies_ms = array("d")
        self._recent: deque[tuple[float, int]] = deque()
        self._states = 0
        self._first_at = 0.0
        self._last_at = 0.0

    def add_decision(self, decision: dict[str, Any], read_at: float, now: float, text: str | None = None) -> bool:
        """Count a decision read at `read_at`, seconds since the epoch; `now` is the same moment of a steady clock.

        Its question may represent the cluster that it joined, if it has a `text`.
        Returns whether the question had none before.
        """
        source = decision["source"]
        place = source["partition"], source["offset"]
        with self._lock:
            if place in self._cluster_of:
                return False
            cluster = self._cluster_of[place] = decision["cluster_id"]
            self._answers[place] = decision
            # Only the last few are asked for, by the prompt.
            if len(self._answers) > 1000:
                del self._answers[next(iter(self._answers))]
            self._outcomes[decision["outcome"]] += 1
            self._latencies_ms.append(read_at * 1000 - source["timestamp"])
            self._count_at(now)
            if text is not None and decision["outcome"] == "joined":
                self._keep(cluster, [(decision["similarity"], text)])
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
                self._kept.pop(cluster_id, None)
                return
            self._clusters[cluster_id] = state
            if state["merged_into"]:
                self._keep(state["merged_into"], self._kept.pop(cluster_id, []))

    def add_namespace_state(self, state: dict[str, Any]) -> None:
        """Take over the state of the namespace, which has the stream's mean."""
        with self._lock:
            self._mean = state["mean"]

    def find_intents(self) -> None:
        """Group the present clusters; one thread at a time may ask for it, and for anything of intents."""
        with self._lock:
            live = {name: state for name, state in self._clusters.items() if not state["merged_into"]}
            mean = self._mean
        self._intents.find(live, mean)

    def figures(self, now: float, biggest: int) -> Figures:
        """The stream so far, with its `biggest` intents; the rate is that of the last two seconds before `now`."""
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
        """True if the question at `place` could not be processed."""
        with self._lock:
            return place in self._dead_letters

    def typical(self, cluster_id: str) -> str:
        """The representative of a cluster, or nothing if its state has not been read."""
        with self._lock:
            return self._typical_of(self._surviving(cluster_id))

    def nearest_in_words(self, cluster_id: str, text: str) -> str:
        """The question of a cluster that shares most words with this one, or nothing if its state has not been read."""
        words = _words(text)

        def shared(question: str) -> float:
            others = _words(question)
            return len(words & others) / max(len(words | others), 1)

        with self._lock:
            surviving = self._surviving(cluster_id)
            typical = self._typical_of(surviving)
            first = self._clusters[surviving]["representative"] if typical else ""
            kept = [question for _, question in self._kept.get(surviving, [])] if typical else []
            return max([typical, first, *kept], key=shared)

    def intent(self, cluster_id: str) -> IntentView | None:
        """The intent of a cluster; None where it is in none."""
        with self._lock:
            surviving = self._surviving(cluster_id)
            clusters = [name for name in self._intents.clusters_of(surviving) if name in self._clusters]
            return self._intent(clusters) if len(clusters) > 1 else None

    def agreement(self, gold: Mapping[Place, str]) -> dict[str, Agreement]:
        """Agreement of clusters, intents and topics, merges followed, with the gold groups; empty where none are."""
        with self._lock:
            places = [place for place in self._cluster_of if place in gold]
            paths = [self._intents.path(self._surviving(self._cluster_of[place])) for place in places]
        groups = [gold[place] for place in places]
        names = ("clusters", "intents", "topics") if places else ()
        return {name: agreement([path[level] for path in paths], groups) for level, name in enumerate(names)}

    def _figures(self, rate: float, biggest: int) -> Figures:
        live = [name for name, state in self._clusters.items() if not state["merged_into"]]
        paths = {name: self._intents.path(name) for name in live}
        members: dict[Node, list[str]] = {}
        for name, path in paths.items():
            members.setdefault(path[1], []).append(name)
        top = heapq.nlargest(biggest, map(self._intent, members.values()), key=lambda intent: intent.size)
        p50, p99 = np.percentile(self._latencies_ms, (50, 99)) if self._latencies_ms else (None, None)
        return Figures(
            decided=len(self._cluster_of),
            dead_lettered=len(self._dead_letters),
            joined=self._outcomes["joined"],
            created=self._outcomes["created"],
            merged=len(self._clusters) - len(live),
            clusters=len(live),
            questions_per_second=rate,
            p50_ms=p50,
            p99_ms=p99,
            intents=len(members),
            topics=len({path[2] for path in paths.values()}),
            biggest=tuple(top),
        )

    def _intent(self, clusters: Sequence[str]) -> IntentView:
        """The intent of which these are all clusters."""
        views = [ClusterView(name, self._clusters[name]["size"], self._typical_of(name)) for name in clusters]
        views.sort(key=lambda view: -view.size)
        intent = str(self._intents.path(clusters[0])[1])
        size = sum(view.size for view in views)
        return IntentView(intent, size, tuple(views[:_NAMED_CLUSTERS]), max(len(views) - _NAMED_CLUSTERS, 0))

    def _typical_of(self, cluster_id: str) -> str:
        state = self._clusters.get(cluster_id)
        first = "" if state is None else state["representative"] or ""
        return self._kept[cluster_id][0][1] if first and self._kept.get(cluster_id) else first

    def _keep(self, cluster_id: str, questions: list[tuple[float, str]]) -> None:
        kept = sorted({*self._kept.get(cluster_id, []), *questions}, reverse=True)
        self._kept[cluster_id] = kept[:_KEPT_QUESTIONS]

    def _processed(self) -> int:
        return len(self._cluster_of) + len(self._dead_letters)

    def _count_at(self, now: float) -> None:
        self._first_at = self._first_at or now
        self._last_at = now
        self._recent.append((now, 1))

    def _surviving(self, cluster_id: str) -> str:
        while (cluster := self._clusters.get(cluster_id)) is not None and cluster["merged_into"]:
            cluster_id = cluster["merged_into"]
        return cluster_id


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
