"""Rules of a namespace change under load: on Kafka and Redis, with two workers, also after a loss of Redis."""

from __future__ import annotations

from collections.abc import Callable

from questream.operations import By, Decisions
from questream.records.times import parse_time
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder, question_of

BEFORE, AFTER = 0.9, 0.5


def test_all_workers_decide_by_new_rules_from_one_point_on(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    options = {"clusters.threshold": BEFORE, "clusters.similarity": "cosine", "batch_questions": 8}
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, options)
    with (
        running_worker(stream.settings(), hash_encoder()),
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as reader,
    ):
        stream.send([question(number, question_of(number % 50, number % 9)) for number in range(3000)])
        reader.values(100)
        decisions = Decisions(stream.store(), "default", By("ann", "too fine"))
        operation = decisions.commit(decisions.rules({"threshold": AFTER}))
        stream.send([question(number, question_of(number % 50, number % 9)) for number in range(3000, 3300)])
        values = reader.values(3300)
        by_new = [value for value in values if value["threshold"] == AFTER]
        by_old = [value for value in values if value["threshold"] == BEFORE]
        assert len(by_new) + len(by_old) == len(values)
        assert {value["source"]["partition"] for value in by_new} == {0, 1}
        assert max(parse_time(value["decided_at"]) for value in by_old) <= operation.time_ms
        assert min(parse_time(value["decided_at"]) for value in by_new) >= operation.time_ms

        store = stream.store()
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        with stream.redis() as client:
            client.flushall()
        stream.send([question(number, question_of(number % 50, number % 9)) for number in range(3300, 3340)])
        assert {value["threshold"] for value in reader.values(3340)[3300:]} == {AFTER}
        restored = stream.store().rules("default")
        assert (restored.values(), restored.operation) == ({"threshold": AFTER}, operation.number)

        decisions = Decisions(stream.store(), "default", By("ann"))
        decisions.commit(decisions.rules({"threshold": None}))
        stream.send([question(number, question_of(number % 50, number % 9)) for number in range(3340, 3380)])
        assert {value["threshold"] for value in reader.values(3380)[3340:]} == {BEFORE}
