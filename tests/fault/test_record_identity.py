"""A record gets no other one's decision: topics made anew, other groups and Kafka clusters, logs that lost records."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from questream.domain import InFlight
from questream.records import encode_cluster_state
from tests.kit.servers import KafkaServer, create_topics
from tests.kit.servers.topics import COMPACTED, make_topic_anew
from tests.kit.stream import (
    Message,
    Reader,
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    forget,
    live_sizes,
    metric_values,
    question,
    send,
    wait_until,
)

OLD, NEW = 40, 30


def old(number: int) -> Any:
    return question(f"old-{number}", f"how to old{number} card{number} bank{number}")


def new(number: int) -> Any:
    return question(f"new-{number}", f"why does new{number} train{number} bird{number}")


def begun_anew(worker: WorkerProcess, reason: str) -> float:
    return metric_values(worker.port).get(f'questream_ledgers_begun_anew_total{{reason="{reason}"}}', 0.0)


def assert_new_questions(decisions: Sequence[dict[str, Any]], count: int = NEW) -> None:
    """Each of the new questions opened a cluster that no old question is in."""
    of_new = [decision for decision in decisions if decision["question_id"].startswith("qnew")]
    of_old = {decision["cluster_id"] for decision in decisions if decision["question_id"].startswith("qold")}
    assert_one_decision_each(of_new, (f"qnew-{i}" for i in range(count)))
    assert {decision["outcome"] for decision in of_new} == {"created"}
    assert not of_old & {decision["cluster_id"] for decision in of_new}


def make_anew(stream: Stream) -> None:
    make_topic_anew(stream.bootstrap_servers, stream.topics.input_topic, 1)


def second_life(stream: Stream, reader: Reader, start_worker: Callable[..., WorkerProcess]) -> WorkerProcess:
    """A worker that was started on new questions, in a topic made anew after the old ones were decided."""
    stream.send(map(old, range(OLD)))
    first = start_worker(stream)
    reader.until(OLD)
    first.kill()
    forget(stream, first)
    make_anew(stream)
    stream.send(map(new, range(NEW)))
    return start_worker(stream)


def test_records_of_a_topic_made_anew_are_new_questions(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream()
    with stream.decisions() as reader:
        second = second_life(stream, reader, start_worker)
        assert_new_questions(reader.values(OLD + NEW))
    assert begun_anew(second, "other_stream") == 1
    assert sum(live_sizes(stream.store()).values()) == OLD + NEW


def test_a_topic_made_anew_under_a_running_worker_is_another(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream()
    stream.send(map(old, range(OLD)))
    with stream.decisions() as reader:
        start_worker(stream)
        reader.until(OLD)
        make_anew(stream)
        stream.send(map(new, range(NEW)))
        # Whoever notices first, the worker or its next life: what it reads is new.
        start_worker(stream)
        assert_new_questions(reader.values(OLD + NEW))


def test_what_was_in_flight_of_a_topic_made_anew_is_counted_once_after_redis_was_emptied(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream()
    with stream.decisions() as reader:
        second = second_life(stream, reader, start_worker)
        reader.until(OLD + NEW)
        second.kill()
        forget(stream, second)
        client = redis.Redis.from_url(stream.redis_url, decode_responses=True)
        names = [str(name) for name in client.hgetall("questream:streams")]
        renamed = next(name for name in names if name != stream.topics.input_topic)
        # Another worker has published a cluster with two questions that a batch which died had counted.
        state = stream.store().cluster("default", OLD + 1)
        assert state is not None
        in_flight = InFlight({(renamed, 0): (NEW, NEW + 1)})
        counted = replace(state, size=state.size + 2, revision=state.revision + 5, in_flight=in_flight)
        key, value = encode_cluster_state(counted)
        send(stream.bootstrap_servers, stream.topics.cluster_topic, [Message(value, key)])
        client.flushall()
        stream.send([new(NEW)])
        start_worker(stream)
        reader.until(OLD + NEW + 1)
    assert sum(live_sizes(stream.store()).values()) == OLD + NEW + 1


def test_a_crash_in_a_topic_made_anew_repeats_its_own_decisions(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream()
    stream.send(map(old, range(OLD)))
    with stream.decisions() as reader:
        first = start_worker(stream)
        reader.until(OLD)
        first.kill()
        forget(stream, first)
        make_anew(stream)
        stream.send(map(new, range(NEW)))
        second = start_worker(stream, fault="publish:before:1:KILL")
        assert second.wait() < 0
        forget(stream, second)
        start_worker(stream)
        assert_new_questions(reader.values(OLD + NEW))
    assert sum(live_sizes(stream.store()).values()) == OLD + NEW


def test_another_kafka_cluster_with_a_topic_of_that_name_is_another_stream(
    breakable_kafka: KafkaServer,
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
) -> None:
    here = make_stream()
    here.send(map(old, range(OLD)))
    with here.decisions() as reader:
        first = start_worker(here)
        decided = reader.values(OLD)
        first.kill()
    names = [NewTopic(name, 1, 1) for name in here.topics.settings().values() if name != here.topics.cluster_topic]
    admin = KafkaAdminClient(bootstrap_servers=breakable_kafka.bootstrap_servers)
    compacted = NewTopic(here.topics.cluster_topic, 1, 1, topic_configs=COMPACTED)
    admin.create_topics([*names, compacted], wait_for_metadata=True)
    admin.close()
    there = Stream(breakable_kafka.bootstrap_servers, here.topics, here.redis_url, group_id=here.group_id)
    there.send(map(new, range(NEW)))
    with there.decisions() as reader:
        start_worker(there)
        assert_new_questions(decided + reader.values(NEW))


def test_each_group_decides_all_records_for_itself(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream()
    other = Stream(stream.bootstrap_servers, stream.topics, stream.redis_url)
    stream.send(map(old, range(OLD)))
    with stream.decisions() as reader:
        start_worker(stream)
        assert_one_decision_each(reader.values(OLD), (f"qold-{i}" for i in range(OLD)))
        start_worker(other)
        again = reader.values(2 * OLD)[OLD:]
    # The questions are the same, so they join; they are decided, and not answered out of the other group's ledger.
    assert {decision["outcome"] for decision in again} == {"joined"}
    assert sum(live_sizes(stream.store()).values()) == 2 * OLD


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_group_that_was_set_past_an_open_transaction_is_read_on_from_there(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], client: str
) -> None:
    stream = make_stream(1, **{"kafka.client": client})
    stream.send(map(old, range(OLD)))
    producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, transactional_id=stream.group_id)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(stream.topics.input_topic, b"open")
    producer.flush()
    # As `kafka-consumer-groups --reset-offsets --to-latest` does.
    stream.set_to(OLD + 1)
    worker = start_worker(stream)
    wait_until(lambda: "partitions assigned" in worker.end_of_log(), "the worker knows where to begin")
    producer.commit_transaction()
    producer.close()
    stream.send(map(new, range(NEW)))
    with stream.decisions() as reader, stream.dead_letters() as dead:
        assert_one_decision_each(reader.values(NEW), (f"qnew-{i}" for i in range(NEW)))
        assert dead.rest() == []


def lose_log(kafka: KafkaServer, stream: Stream) -> None:
    """What a broker loses that comes back without its disk; the topic keeps its id, and the group its offsets."""
    kafka.stop()
    for segment in (kafka.folder / "data" / f"{stream.topics.input_topic}-0").iterdir():
        if segment.suffix in (".log", ".index", ".timeindex", ".snapshot") or segment.name.startswith("leader-epoch"):
            segment.unlink()
    kafka.start()


def test_records_that_stand_where_lost_ones_were_decided_are_new_questions(
    breakable_kafka: KafkaServer, redis_url: str, start_worker: Callable[..., WorkerProcess]
) -> None:
    kafka = breakable_kafka
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers), redis_url)
    stream.send(map(old, range(OLD)))
    # Decided and not published: it stands in the ledger above what is committed.
    assert start_worker(stream, fault="publish:before:1:KILL").wait() < 0
    lose_log(kafka, stream)
    stream.send(map(new, range(NEW)))
    with stream.decisions() as reader:
        worker = start_worker(stream)
        assert_new_questions(reader.values(NEW))
    assert begun_anew(worker, "other_records") == 1


def test_records_of_a_kafka_that_came_back_from_a_backup_are_new_questions(
    kafka_factory: Callable[..., KafkaServer], redis_url: str, start_worker: Callable[..., WorkerProcess]
) -> None:
    kafka = kafka_factory()
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers, partitions=2), redis_url)
    data, backup = kafka.folder / "data", kafka.folder / "backup"
    worker = start_worker(stream)
    with stream.decisions() as reader:
        # Batch by batch: the ledger keeps the last one, and of all that was before it only where it ended.
        for part in range(4):
            for partition in (0, 1):
                sent = [replace(old(i), partition=partition) for i in range(partition + 2 * part, OLD, 8)]
                stream.send(sent)
            reader.until((part + 1) * 2 * len(sent))
            if part == 0:
                kafka.stop()
                shutil.copytree(data, backup)
                kafka.start()
    worker.kill()
    kafka.stop()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    kafka.start()
    # One partition ends before the offset that the ledger knows, the other has another record there.
    stream.send(replace(new(i), partition=int(i > 1)) for i in range(NEW))
    with stream.decisions() as reader:
        worker = start_worker(stream)
        of_new = reader.values(2 * len(sent) + NEW)[2 * len(sent) :]
    assert_one_decision_each(of_new, (f"qnew-{i}" for i in range(NEW)))
    assert {decision["outcome"] for decision in of_new} <= {"created", "joined"}
    assert begun_anew(worker, "other_records") == 2


@pytest.mark.parametrize(
    ("sent", "delivery"), [(NEW, "exactly-once"), (2 * OLD, "exactly-once"), (2 * OLD, "at-least-once")]
)
def test_records_that_stand_where_published_ones_were_are_new_questions(
    sent: int,
    delivery: str,
    breakable_kafka: KafkaServer,
    redis_url: str,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    kafka = breakable_kafka
    topics = create_topics(kafka.bootstrap_servers)
    # Batches of a few: the ledger has forgotten most of them.
    stream = Stream(kafka.bootstrap_servers, topics, redis_url, {"delivery": delivery, "batch_questions": 4})
    stream.send(map(old, range(OLD)))
    with stream.decisions() as reader:
        first = start_worker(stream)
        decided = reader.values(OLD)
        wait_until(lambda: sum(stream.committed().values()) == OLD, "the offsets are committed")
        first.kill()
    lose_log(kafka, stream)
    stream.send(map(new, range(sent)))
    with stream.decisions() as reader:
        worker = start_worker(stream)
        assert_new_questions(decided + reader.values(OLD + sent)[OLD:], sent)
        # And again, from what the group has now.
        wait_until(lambda: sum(stream.committed().values()) == sent, "the offsets are committed")
        worker.kill()
        stream.send([new(sent)])
        start_worker(stream)
        assert_new_questions(decided + reader.values(OLD + sent + 1)[OLD:], sent + 1)
    assert sum(live_sizes(stream.store()).values()) == OLD + sent + 1
