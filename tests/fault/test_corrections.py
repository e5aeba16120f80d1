"""A question that people move has one correction, over workers that die while they publish and a loss of Redis."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from questream.operations import By, Decisions
from questream.tools.questions import known_questions
from tests.kit.schemas import schema_of
from tests.kit.stream import Reader, Stream, WorkerProcess, question, wait_until
from tests.kit.vectors import hash_encoder

OPTIONS = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False} | {
    "kafka.transaction_timeout_seconds": 3,
    "kafka.session_timeout_seconds": 2,
}
CARD = "where is my card card card"
LOST = "where is my lost card card"
PIN = "how do i change the pin"


def corrections_of(stream: Stream) -> Reader:
    return Reader(stream.bootstrap_servers, stream.topics.correction_topic)


def waits(stream: Stream) -> bool:
    waiting = stream.store().waiting(["default"], 0.0, 1)["default"]
    return not isinstance(waiting, Exception) and waiting.operations


def decide(stream: Stream, question_id: str, **to: Any) -> None:
    found = known_questions(stream.settings(), "default", hash_encoder(), [question_id])
    decisions = Decisions(stream.store(), "default", By("ann"))
    decisions.commit(decisions.move(found, to["target"]) if to else decisions.reject(found))


@pytest.mark.parametrize("fault", ["claim-operations:after:3:KILL", "confirm-operations:before:1:KILL"])
def test_a_worker_that_dies_while_it_publishes_leaves_one_correction(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], fault: str
) -> None:
    stream = make_stream(2, **OPTIONS)
    first = start_worker(stream, fault=fault)
    stream.send([question(one, CARD) for one in "abc"])
    with stream.decisions() as reader:
        reader.values(3)
        stream.send([question("lost", LOST), question("pin", PIN)])
        by_id = {value["question_id"]: value for value in reader.values(5)}
    target = by_id["qpin"]["cluster_id"]
    decide(stream, "qlost", target=int(target[1:]))
    assert first.wait() == -signal.SIGKILL
    with stream.redis() as client:
        # Its claim would end by itself after half a minute.
        (meta,) = client.scan_iter(match="*{default}:meta")
        client.hset(meta, "operation_claim", "dead 1")
    start_worker(stream)
    wait_until(lambda: not waits(stream), "the operation is confirmed")
    with corrections_of(stream) as corrections:
        (record,) = corrections.until(1)
        value = json.loads(record.value)
        schema_of("correction").validate(value)
        assert record.key == b"qlost"
        told = {name: value[name] for name in ("question_id", "from", "to", "operation", "kind", "namespace")}
        assert told == {
            "question_id": "qlost",
            "from": by_id["qlost"]["cluster_id"],
            "to": target,
            "operation": 1,
            "kind": "move",
            "namespace": "default",
        }
        source = by_id["qlost"]["source"]
        assert value["source"] == {name: source[name] for name in ("topic", "partition", "offset")}

        with stream.redis() as client:
            client.flushall()
        stream.send([question("again", CARD)])
        with stream.decisions() as reader:
            reader.values(6)
        # What was published before the loss is known again, and goes on from there.
        decide(stream, "qlost")
        wait_until(lambda: not waits(stream), "the operation is confirmed")
        assert [(one["operation"], one["from"], one["to"]) for one in corrections.values(2)] == [
            (1, by_id["qlost"]["cluster_id"], target),
            (2, target, None),
        ]
