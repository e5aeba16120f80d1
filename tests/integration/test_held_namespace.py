"""A namespace that somebody holds to move it to another model: its records wait, and those of the others do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.test_refused_namespaces import TENANT
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import (
    Message,
    Stream,
    assert_one_decision_each,
    probe,
    question,
    running_worker,
    wait_for_metrics,
    wait_until,
)
from tests.kit.vectors import hash_encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(2), redis_url, {"input.namespace_header": TENANT})


def asked(number: int, namespace: str, partition: int) -> Message:
    headers = [(TENANT, namespace.encode())]
    return question(number, f"subject{number} matter{number}", headers=headers, partition=partition)


def test_partitions_without_records_of_a_held_namespace_go_on(stream: Stream) -> None:
    store = stream.store()
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as reader:
        stream.send([asked(0, "acme", 0), asked(1, "bank", 1)])
        reader.until(2)
        token = store.hold("acme", store.store_epoch("acme") or "", 600)
        assert token is not None
        # Behind the record that waits is one of another namespace: no offset is committed past the first.
        stream.send([asked(2, "acme", 0), asked(3, "bank", 0), asked(4, "bank", 1), asked(5, "bank", 1)])
        decided = [d["question_id"] for d in reader.values(4)]
        assert sorted(decided) == ["q0", "q1", "q4", "q5"]
        before = stream.committed()[0]
        wait_for_metrics(worker.metrics_port, {"questream_held_partitions": 1})
        status, told = probe(worker.metrics_port, "readyz")
        assert status == 200
        assert "acme" in told
        stream.send([asked(6, "bank", 1)])
        assert [d["question_id"] for d in reader.values(5)][-1] == "q6"
        assert stream.committed()[0] == before
        store.recover("acme", token, None, {})
        decisions = reader.values(7)
        assert_one_decision_each(decisions, (f"q{i}" for i in range(7)))
        wait_until(lambda: probe(worker.metrics_port, "readyz") == (200, "ok"), "nothing waits")
        wait_for_metrics(worker.metrics_port, {"questream_held_partitions": 0})
