"""Workers that see the same new questions at the same moment end in one cluster: invariant 2, by brute force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.kit.history import Floats, History, assert_log_matches, assert_store_matches, read_records
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    members,
    metric_values,
    question,
    wait_until,
)
from tests.kit.vectors import hash_vector

THRESHOLD = 0.6
ROUNDS, TOPICS, COPIES = 3, 20, 3


def waves_of_a_round(number: int, workers: int, random: Random) -> Iterator[list[tuple[int, str]]]:
    """Questions that workers race for, each with its partition: first the same new ones for all.

    Then half of the workers get questions that join those clusters and move them, while the other half gets questions
    that stand outside until the clusters have moved. A cosine is what words make it: "a b" and "b c" .5, each of them
    and "a b c" .8.
    """
    topics = list(range(number * TOPICS, (number + 1) * TOPICS))
    new = [(worker, f"a{i} b{i}") for i in topics for worker in range(workers)] * COPIES
    random.shuffle(new)
    yield new
    random.shuffle(topics)
    yield [
        (worker, f"b{i} c{i}" if worker % 2 else f"a{i} b{i} c{i}")
        for i in topics
        for worker in range(workers)
        for _ in range(COPIES)
    ]


@pytest.mark.parametrize("similarity", ["centred", "cosine"])
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_that_see_the_same_new_questions_at_once_open_no_twins(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    tmp_path: Path,
    workers: int,
    similarity: str,
) -> None:
    options = {"batch_questions": 8, "clusters.similarity": similarity, "clusters.threshold": THRESHOLD}
    # Low enough for centroids and mean to freeze on the way.
    options |= {"clusters.centroid_members": 16, "clusters.mean_questions": 150, "clusters.log_entries": 10**6}
    stream = make_stream(workers, **options)
    files = [tmp_path / f"{i}.jsonl" for i in range(workers)]
    processes = [start_worker(stream, record=file) for file in files]
    wait_until(lambda: list(members(stream).values()) == [1] * workers, "each worker has a partition")
    random = Random(workers)
    texts: dict[tuple[int, int], str] = {}
    with stream.decisions() as reader:
        for wave in (wave for number in range(ROUNDS) for wave in waves_of_a_round(number, workers, random)):
            first = len(texts)
            messages = [question(first + i, text, partition=at) for i, (at, text) in enumerate(wave)]
            texts |= zip(stream.send(messages), (text for _, text in wave), strict=True)
            reader.until(len(texts))
        decisions = reader.values()

    def vector_at(partition: int, offset: int) -> Floats:
        return hash_vector(texts[partition, offset]).astype(np.float64)

    history = History(vector_at, THRESHOLD, similarity == "centred", centroid_members=16, mean_questions=150)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(len(texts))))
    assert_log_matches(history, read_records(files), stream)
    assert_store_matches(history, stream.store())
    assert history.created >= ROUNDS * TOPICS
    assert {d["cluster_id"] for d in decisions if d["outcome"] == "created"} == {
        f"c{number}" for number in history.members.keys() | history.alias.keys()
    }
    retries = sum(metric_values(process.port)["questream_stale_retries_total"] for process in processes)
    assert retries > 0, "the workers never met"
