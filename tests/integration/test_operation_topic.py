"""What people decide is published once, in its order, by workers that come and go, and outlives Redis."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from questream.domain import Operation, OperationKind
from questream.errors import RecoveryNeeded
from questream.operations import By, Decisions, KnownQuestion
from questream.records import encode_operation
from questream.recovery.operation_topic import CorrectionTopic, OperationTopic, PublishedOperations
from questream.recovery.operation_topic import _keep as keep
from questream.store.protocol import OPERATIONS_KEPT
from questream.store.redis.store import RedisStore
from questream.stream import operations as relay
from questream.stream.retry import Retry
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import WAIT_SECONDS, Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder, hash_vector

SETTINGS = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
CARD = "where is my card card card"
PIN = "how do i change the pin"


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url, SETTINGS)


def decide(store: RedisStore, *ids: str) -> None:
    """One operation for each id on cluster 1: pinned and not, by turns."""
    for id_ in ids:
        decisions = Decisions(store, "default", By("ann", "reviewed", id_))
        state = store.cluster("default", 1)
        assert state is not None
        decisions.commit(decisions.mark("unpin", 1) if state.ruling.pinned else decisions.mark("pin", 1))


def open_clusters(stream: Stream) -> None:
    stream.send([question("card", CARD), question("pin", PIN)])
    with stream.decisions() as reader:
        reader.values(2)


def test_operations_are_published_once_in_their_order_and_outlive_redis(stream: Stream) -> None:
    encoder, store = hash_encoder(), stream.store()
    operations = Reader(stream.bootstrap_servers, stream.topics.operation_topic)
    with running_worker(stream.settings(), encoder), running_worker(stream.settings(), encoder), operations as reader:
        open_clusters(stream)
        decide(store, "one", "two", "three")
        undone = Decisions(store, "default", By("bob")).undo(3)
        Decisions(store, "default", By("bob")).commit(undone)
        records = reader.until(4)
        assert {record.key for record in records} == {b"default"}
        values = [json.loads(record.value) for record in records]
        for value in values:
            schema_of("operation").validate(value)
        assert [(value["operation"], value["kind"], value["undoes"]) for value in values] == [
            (1, "pin", None),
            (2, "unpin", None),
            (3, "pin", None),
            (4, "undo", 3),
        ]
        assert [values[0][when]["c1"]["pinned"] for when in ("before", "after")] == [False, True]
        known = store.operations("default", 10)
        wait_until(lambda: not waits(store), "the operations are confirmed")

        with stream.redis() as client:
            client.flushall()
        stream.send([question("again", CARD)])
        with stream.decisions() as decided:
            decided.values(3)
        assert store.operations("default", 10) == known
        # Numbers go on, and a repeated id answers what it did.
        decide(store, "five")
        assert store.operations("default", 1)[0].number == 5
        assert Decisions(store, "default", By("ann", "", "one")).commit(
            Decisions(store, "default", By("ann", "", "one")).mark("pin", 1)
        ) == replace(known[-1])
        reader.until(5)
        wait_until(lambda: not waits(store), "the operations are confirmed")
        assert [value["operation"] for value in reader.values()] == [1, 2, 3, 4, 5]


def waits(store: RedisStore) -> bool:
    waiting = store.waiting(["default"], 0.0, 1)["default"]
    return not isinstance(waiting, Exception) and waiting.operations


def test_who_takes_over_publishes_what_is_not_published_and_nothing_twice(stream: Stream) -> None:
    encoder, store = hash_encoder(), stream.store()
    with Reader(stream.bootstrap_servers, stream.topics.operation_topic) as reader:
        with running_worker(stream.settings(), encoder):
            open_clusters(stream)
            decide(store, "one", "two")
            reader.until(2)
            wait_until(lambda: not waits(store), "the operations are confirmed")
        # As a worker leaves it that dies after its transaction committed, before it said so.
        with stream.redis() as client:
            client.hset(client_meta(stream), mapping={"operations_published": 1, "operation_claim": "dead 1"})
        decide(store, "three")
        with running_worker(stream.settings(), encoder):
            wait_until(lambda: not waits(store), "the operations are confirmed")
            assert [value["operation"] for value in reader.values(3)] == [1, 2, 3]


def client_meta(stream: Stream) -> str:
    with stream.redis() as client:
        (key,) = client.scan_iter(match="*{default}:meta")
    return bytes(key).decode()


def test_a_missing_topic_stops_no_decision_and_gets_what_waited(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "_LOOK_AGAIN_SECONDS", 0.1)
    name = f"{stream.topics.operation_topic}-later"
    settings, store = stream.settings(kafka__operation_topic=name), stream.store()
    assert OperationTopic(settings).published() == {}
    with caplog.at_level(logging.ERROR), running_worker(settings, hash_encoder()):
        open_clusters(stream)
        decide(store, "one", "two")
        wait_until(
            lambda: "does not exist" in caplog.text or any("operation" in r.message for r in caplog.records),
            "the worker says that operations wait",
        )
        stream.send([question("again", CARD)])
        with stream.decisions() as decided:
            decided.values(3)
        assert waits(store)
        admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
        try:
            admin.create_topics([NewTopic(name, 1, -1)], wait_for_metadata=True)
        finally:
            admin.close()
        with Reader(stream.bootstrap_servers, name) as reader:
            assert [value["operation"] for value in reader.values(2)] == [1, 2]
        wait_until(lambda: not waits(store), "the operations are confirmed")


def test_operations_that_move_questions_wait_for_their_topic_and_those_before_do_not(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "_LOOK_AGAIN_SECONDS", 0.1)
    name = f"{stream.topics.correction_topic}-later"
    settings, store = stream.settings(kafka__correction_topic=name), stream.store()
    operations = Reader(stream.bootstrap_servers, stream.topics.operation_topic)
    with caplog.at_level(logging.ERROR), running_worker(settings, hash_encoder()), operations as reader:
        open_clusters(stream)
        decide(store, "one")
        decisions = Decisions(store, "default", By("ann"))
        moved = KnownQuestion(1, hash_vector(CARD), (stream.topics.input_topic, 0, 0), None, "qcard", b"qcard")
        decisions.commit(decisions.move([moved], 2))
        decide(store, "three")
        wait_until(lambda: store.published_operations("default") == 1, "the first operation is published")
        wait_until(
            lambda: any(name in str(getattr(record, "reason", "")) for record in caplog.records),
            "the worker says which topic is missing",
        )
        assert [value["operation"] for value in reader.values()] == [1]
        admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
        try:
            admin.create_topics([NewTopic(name, 1, -1)], wait_for_metadata=True)
        finally:
            admin.close()
        assert [value["operation"] for value in reader.values(3)] == [1, 2, 3]
        with Reader(stream.bootstrap_servers, name) as corrections:
            assert [(value["operation"], value["to"]) for value in corrections.values(1)] == [(2, "c2")]


def relay_of(stream: Stream, kind: type[OperationTopic] = OperationTopic) -> relay.OperationRelay:
    """What a worker publishes operations by."""
    settings = stream.settings()
    topic = kind(settings)
    return relay.OperationRelay(
        stream.store(), Retry(threading.Event()), topic, CorrectionTopic(settings), settings.kafka.cluster_topic
    )


def test_a_claim_that_another_worker_took_over_is_no_claim(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_CLAIM_SECONDS", 0.0)
    with running_worker(stream.settings(), hash_encoder()):
        open_clusters(stream)
    decide(stream.store(), "one", "two")
    first, second = relay_of(stream), relay_of(stream)
    claimed = first.claim("default", 10)
    assert claimed is not None
    first.require(claimed)
    monkeypatch.setattr(relay, "_CLAIM_SECONDS", 30.0)
    later = second.claim("default", 10)
    assert later is not None
    assert [len(one.records) for one in (claimed, later)] == [2, 2]
    with pytest.raises(RecoveryNeeded, match="another worker"):
        first.require(claimed)
    second.require(later)


class FarTopic(OperationTopic):
    """The topic as a worker far from its broker reads it."""

    def published(self, standstill_seconds: float | None = None) -> dict[str, PublishedOperations]:
        found = super().published(standstill_seconds)
        time.sleep(0.5)
        return found


def test_workers_that_compare_at_once_let_each_other_go_first(stream: Stream) -> None:
    with running_worker(stream.settings(), hash_encoder()):
        open_clusters(stream)
    decide(stream.store(), "one", "two")
    claims: list[relay.Claimed] = []

    def work(delay_seconds: float) -> None:
        time.sleep(delay_seconds)
        one = relay_of(stream, FarTopic)
        ends = time.monotonic() + WAIT_SECONDS
        while not claims and time.monotonic() < ends:
            claimed = one.claim("default", 10)
            claims.extend([] if claimed is None else [claimed])
            time.sleep(0.05)

    workers = [threading.Thread(target=work, args=[delay]) for delay in (0.0, 0.3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [len(one.records) for one in claims[:1]] == [2]


def test_who_was_interrupted_while_it_compared_leaves_the_claim_to_the_other(stream: Stream) -> None:
    store = stream.store()

    class Interrupted(OperationTopic):
        """The topic of a worker that another claims the operations from while it reads."""

        def published(self, standstill_seconds: float | None = None) -> dict[str, PublishedOperations]:
            found = super().published(standstill_seconds)
            assert store.claim_operations("default", "another", 30.0) is not None
            return found

    with running_worker(stream.settings(), hash_encoder()):
        open_clusters(stream)
    decide(store, "one")
    assert relay_of(stream, Interrupted).claim("default", 10) is None
    assert store.restore_operations("default", "another", [], 0) == 0
    claim = store.claim_operations("default", "another", 30.0)
    assert claim is not None
    assert claim.compared


def test_nothing_is_claimed_where_the_topic_has_all_or_the_store_keeps_none(stream: Stream) -> None:
    store = stream.store()
    with running_worker(stream.settings(), hash_encoder()):
        open_clusters(stream)
        decide(store, "one", "two")
        wait_until(lambda: not waits(store), "the operations are confirmed")
    with stream.redis() as client:
        # As a store is that was put back to the moment before it was told that they are published.
        client.hset(client_meta(stream), mapping={"operations_published": 0})
        client.hdel(client_meta(stream), "operation_epoch")
    assert relay_of(stream).claim("default", 10) is None
    assert not waits(store)
    decide(store, "three")
    with stream.redis() as client:
        client.hdel(client_meta(stream).replace("meta", "operations"), "3")
    assert relay_of(stream).claim("default", 10) is None
    assert not waits(store)


def test_operations_that_are_put_back_are_told(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    store = stream.store()
    with running_worker(stream.settings(), hash_encoder()):
        open_clusters(stream)
        decide(store, "one", "two")
        wait_until(lambda: not waits(store), "the operations are confirmed")
    decide(store, "three")
    with stream.redis() as client:
        client.hdel(client_meta(stream).replace("meta", "operations"), "1")
        client.hdel(client_meta(stream), "operation_epoch")
    with caplog.at_level(logging.WARNING):
        assert relay_of(stream).claim("default", 10) is not None
    assert "operations are restored" in caplog.text
    assert [one.number for one in store.operations("default", 10)] == [3, 2, 1]


def test_a_claim_is_of_few_clusters_and_names_the_namespace_where_rules_change(stream: Stream) -> None:
    store = stream.store()
    with running_worker(stream.settings(), hash_encoder()):
        open_clusters(stream)
    decisions = [Decisions(store, "default", By("ann")) for _ in range(3)]
    decisions[0].commit(decisions[0].mark("pin", 1))
    decisions[1].commit(decisions[1].separate(1, 2))
    decisions[2].commit(decisions[2].rules({"threshold": 0.8}))
    publisher = relay_of(stream)
    for number, cluster_ids in ((1, [1]), (3, [1, 2, 0])):
        claimed = publisher.claim("default", 2)
        assert claimed is not None
        assert (claimed.newest, claimed.cluster_ids) == (number, cluster_ids)
        publisher.confirm(claimed)


def test_who_reads_the_topic_waits_for_the_end_of_an_open_transaction(stream: Stream) -> None:
    topic, found = OperationTopic(stream.settings()), list[dict[str, PublishedOperations]]()
    key, value = encode_operation("shop", stream.topics.cluster_topic, Operation("one", 1, "pin", "ann", "", 5, {}, {}))
    with closing(
        KafkaProducer(bootstrap_servers=stream.bootstrap_servers, transactional_id=stream.group_id)
    ) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(stream.topics.operation_topic, value, key)
        producer.flush()
        reading = threading.Thread(target=lambda: found.append(topic.published()))
        reading.start()
        reading.join(1.0)
        assert reading.is_alive()
        producer.commit_transaction()
    reading.join(WAIT_SECONDS)
    assert [(namespace, list(published.by_number)) for namespace, published in found[0].items()] == [("shop", [1])]


def test_operations_of_clusters_that_were_deleted_are_not_held() -> None:
    held = PublishedOperations()
    kinds: list[OperationKind] = ["pin", "delete", "pin"]
    for number, kind in enumerate(kinds, 1):
        keep(held, Operation(str(number), number, kind, "ann", "", 5, {}, {}))
    assert ([one.number for one in held.ordered()], held.newest) == ([2, 3], 3)


def test_of_what_was_published_no_more_is_held_than_a_store_keeps_twice() -> None:
    held = PublishedOperations()
    for number in range(1, 3 * OPERATIONS_KEPT):
        keep(held, Operation(str(number), number, "pin", "ann", "", 5, {}, {}))
        assert len(held.by_number) <= 2 * OPERATIONS_KEPT
    assert [one.number for one in held.ordered()] == list(range(2 * OPERATIONS_KEPT, 3 * OPERATIONS_KEPT))
