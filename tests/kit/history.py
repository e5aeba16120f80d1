"""What workers committed, done again the plain way: one question at a time, in float64, from DESIGN's formulas.

A cluster is the list of its members' vectors. With the stream's mean m (of its first questions, shrunk as if 5 of mean
zero had come before), S the sum and n the number of a cluster's members:

    t = (S/n - m) / sqrt(1 - 2 (S/n).m + m.m)      the cluster's row
    score(q, cluster) = (q - m)/|q - m| . t + (1 - c) / 2    score(a, b) = ta . tb + (2 - ca - cb) / 4

where c is t . t, or the threshold's square if that is more. A merge makes no cluster whose t . t is less than the
threshold and than that of the larger of the two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from questream.store.redis.store import RedisStore
from tests.kit.stream import Stream

Floats = NDArray[np.float64]
MEAN_PRIOR = 5
# Workers score in float32.
TOLERANCE = 1e-4


def read_records(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The commits and merges that workers recorded, in the order of the store's log."""
    lines = [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]
    # Commits that moved nothing, all their clusters being frozen, have the seq that they found.
    return sorted(lines, key=lambda line: (line["seq"], not line["moved"]))


@dataclass
class History:
    """Replays records; fails where a worker opened a cluster beside one that was near enough.

    `vector_at(partition, offset)` gives the vector of a question.
    """

    vector_at: Callable[[int, int], Floats]
    threshold: float
    centred: bool
    centroid_members: int = 256
    mean_questions: int = 1000
    members: dict[int, list[Floats]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    alias: dict[int, int] = field(default_factory=dict)
    mean_sum: Floats = field(default_factory=lambda: np.zeros(64))
    mean_count: int = 0
    created: int = 0

    def replay(self, records: Iterable[dict[str, Any]], after: Callable[[int], None] | None = None) -> None:
        """Do it all again; `after(seq)` is called after each record."""
        for record in records:
            for partition, offset, cluster_id, created in record.get("arrivals", ()):
                self._arrive(self.vector_at(partition, offset), cluster_id, bool(created))
            for survivor, loser in record.get("merges", ()):
                self._merge(survivor, loser)
            if after is not None:
                after(record["seq"])

    def _arrive(self, question: Floats, cluster_id: int, created: bool) -> None:
        if created:
            scores = {other: self._score(question, other) for other in self.members}
            near = {other: score for other, score in scores.items() if score >= self.threshold + TOLERANCE}
            assert not near, f"c{cluster_id} was opened beside {near}"
            assert all(cluster_id > other for other in self.sizes), f"c{cluster_id} is not the newest"
            self.members[cluster_id], self.sizes[cluster_id] = [], 0
            self.created += 1
        elif len(self.members[cluster_id]) < self.centroid_members:
            # A frozen centroid may have been merged since the worker looked.
            score = self._score(question, cluster_id)
            assert score >= self.threshold - TOLERANCE, f"a question joined c{cluster_id} from too far"
        self.sizes[cluster_id] += 1
        if len(self.members[cluster_id]) < self.centroid_members:
            self.members[cluster_id].append(question)
        if self.mean_count < self.mean_questions:
            self.mean_sum = self.mean_sum + question
            self.mean_count += 1

    def _merge(self, survivor: int, loser: int) -> None:
        a, b = self._row(survivor), self._row(loser)
        assert float(a @ b) + (self._leeway(a) + self._leeway(b)) / 2 >= self.threshold - TOLERANCE
        sizes = len(self.members[survivor]), len(self.members[loser])
        own = [float(row @ row) for row, size in zip((a, b), sizes, strict=True) if size == max(sizes)]
        self.members[survivor] += self.members.pop(loser)
        both = self._row(survivor)
        assert float(both @ both) >= min(self.threshold, *own) - TOLERANCE, f"c{survivor} became a heap"
        self.sizes[survivor] += self.sizes.pop(loser)
        self.alias[loser] = survivor

    def _score(self, question: Floats, cluster_id: int) -> float:
        centred = question - self._mean()
        row = self._row(cluster_id)
        return float(centred @ row / np.linalg.norm(centred)) + self._leeway(row)

    def _leeway(self, row: Floats) -> float:
        threshold, cohesion = max(self.threshold, 0.0), float(row @ row)
        mean = self._stream_mean()
        length = float(np.linalg.norm(mean))
        least = min(threshold, length) * math.sqrt(cohesion)
        if not self.centred:
            asked = min(1.5 * threshold, 0.5, length)
            least = float(row @ mean) + asked * math.sqrt(1 - length**2) * float(np.linalg.norm(row - mean))
        return min((1 - max(cohesion, threshold**2)) / 2, threshold - least)

    def _row(self, cluster_id: int) -> Floats:
        mean = self._mean()
        centroid = np.mean(self.members[cluster_id], axis=0)
        row: Floats = (centroid - mean) / np.sqrt(1 - 2 * centroid @ mean + mean @ mean)
        return row

    def _mean(self) -> Floats:
        """What is subtracted."""
        return self._stream_mean() if self.centred else np.zeros_like(self.mean_sum)

    def _stream_mean(self) -> Floats:
        return self.mean_sum / (self.mean_count + MEAN_PRIOR)


def assert_log_matches(history: History, records: Iterable[dict[str, Any]], stream: Stream) -> None:
    """Replay the records; after each, the clusters that Redis' log names at its seq are as the replay has them."""
    entries: dict[int, list[dict[bytes, bytes]]] = {}
    # redis-py's annotations allow for answers that only other calls give.
    client: Any = stream.redis()
    for entry_id, fields in client.xrange("questream:{default}:log"):
        entries.setdefault(int(entry_id.split(b"-")[0]), []).append(fields)

    def compare(seq: int) -> None:
        # Merges of one call can move a cluster several times: the last entry of each counts.
        last = {fields.get(b"moved") or fields.get(b"removed"): fields for fields in entries.pop(seq, ())}
        for cluster, fields in last.items():
            if cluster is None:
                assert history.mean_count == int(fields[b"mean"])
                np.testing.assert_allclose(history.mean_sum, _vector(fields[b"sum"]), atol=TOLERANCE)
            elif b"removed" in fields:
                assert int(cluster) not in history.members
            else:
                members = history.members[int(cluster)]
                assert len(members) == int(fields[b"members"])
                np.testing.assert_allclose(np.sum(members, axis=0), _vector(fields[b"sum"]), atol=TOLERANCE)

    history.replay(records, compare)
    assert not entries, "the log has more than the workers did"


def assert_store_matches(history: History, store: RedisStore) -> None:
    """The live clusters of the store are those of the replay, member for member."""
    states = {state.cluster_id: state for state in store.clusters("default")}
    assert states.keys() == history.members.keys()
    for cluster_id, state in states.items():
        assert (state.size, state.members) == (history.sizes[cluster_id], len(history.members[cluster_id]))
        assert state.vector_sum is not None
        np.testing.assert_allclose(state.vector_sum, np.sum(history.members[cluster_id], axis=0), atol=TOLERANCE)
    for loser, survivor in history.alias.items():
        merged = store.cluster("default", loser)
        assert merged is not None
        assert merged.merged_into == survivor


def _vector(raw: bytes) -> NDArray[np.float32]:
    return np.frombuffer(raw, np.dtype("<f4"))
