"""Partitions with a long queue beside one that hardly has anything."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.kit.stream import Message, Stream, WorkerProcess

BATCH_QUESTIONS = 32
TEXT_SECONDS = 0.004
HOT = 20_000
HOT_PARTITIONS = 3
# What may be published before a record that has just been sent: three batches that wait, and one each that is embedded,
# handed over, decided, handed over and published; then a turn of each other partition; then what is published while
# the record is on its way.
BATCHES_AHEAD = 24


def message(name: str, text: str, partition: int) -> Message:
    """All with one key: the decisions stand in one partition, in the order in which they were published."""
    return Message(json.dumps({"id": name, "text": text}).encode(), b"one", partition=partition)


def test_a_trickle_is_decided_soon_beside_partitions_with_a_hot_cluster_and_a_long_queue(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(HOT_PARTITIONS + 1, batch_questions=BATCH_QUESTIONS)
    stream.send(message(f"hot{i}", f"the one question {i % 100}", i % HOT_PARTITIONS) for i in range(HOT))
    start_worker(stream, text_seconds=TEXT_SECONDS)
    sent_after: dict[str, int] = {}
    with stream.decisions() as reader:
        reader.until(2 * BATCH_QUESTIONS)
        for number in range(4):
            sent_after[f"rare{number}"] = len(reader.rest())
            stream.send([message(f"rare{number}", f"something else {number}", HOT_PARTITIONS)])
            reader.until(len(reader.records) + 2 * BATCH_QUESTIONS)
        reader.until(len(reader.records) + BATCHES_AHEAD * BATCH_QUESTIONS)
        names = [json.loads(record.value)["question_id"] for record in reader.records]
    found = {name: at for at, name in enumerate(names)}
    ahead = {name: (found.get(name, HOT) - after) / BATCH_QUESTIONS for name, after in sent_after.items()}
    assert max(ahead.values()) < BATCHES_AHEAD, f"batches that came first: {ahead}"
    assert len(set(names)) == len(names)
