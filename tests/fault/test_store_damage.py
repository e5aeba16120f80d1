"""A part of a namespace is gone from a running Redis, of another type, cut short, or older: no id is given twice."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
import redis

from questream.settings.tree import DEFAULT_PREFIX
from questream.store.protocol import Identity
from questream.store.redis.keys import Keys
from questream.store.redis.store import RedisStore
from tests.fault.test_crash import text
from tests.kit.servers import RedisServer
from tests.kit.stream import (
    Message,
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

OPTIONS = {"batch_questions": 32, "kafka.transaction_timeout_seconds": 5, "kafka.session_timeout_seconds": 6}
SUBJECTS = 12
KEYS = Keys(DEFAULT_PREFIX)
META, IDLE = KEYS.of("default", "meta"), KEYS.of("default", "idle")

Damage = Callable[[redis.Redis, Stream], object]


def _of_another_type(name: str) -> Damage:
    def damage(client: redis.Redis, stream: Stream) -> None:
        del stream
        client.delete(name)
        client.set(name, "x")

    return damage


def _without_ledgers(client: redis.Redis, stream: Stream) -> None:
    del stream
    client.delete(*client.keys(KEYS.named("default", "ledger:*")))


def _cut_short(client: redis.Redis, stream: Stream) -> None:
    del stream
    for cluster_id in range(1, SUBJECTS + 1):
        name = KEYS.cluster("default", cluster_id)
        client.hset(name, "sum", (client.hget(name, "sum") or b"")[:-4])


DAMAGES: dict[str, Damage] = {
    "a cluster gone": lambda client, _: client.delete(KEYS.cluster("default", 1)),
    "a cluster of another type": _of_another_type(KEYS.cluster("default", 1)),
    "a cluster without its centroid": lambda client, _: client.hdel(KEYS.cluster("default", 1), "members", "sum"),
    "centroids cut short": _cut_short,
    "the index gone": lambda client, _: client.delete(IDLE),
    "an index without a cluster": lambda client, _: client.zrem(IDLE, 1),
    "the index of another type": _of_another_type(IDLE),
    "meta gone": lambda client, _: client.delete(META),
    "meta half there": lambda client, _: client.hdel(META, "next", "mean_questions"),
    "meta of another type": _of_another_type(META),
    "the next number too low": lambda client, _: client.hset(META, "next", 1),
    "the log gone": lambda client, _: client.delete(KEYS.of("default", "log")),
    "the log of another type": _of_another_type(KEYS.of("default", "log")),
    "the outbox of another type": _of_another_type(KEYS.of("default", "outbox")),
    "ledgers gone": _without_ledgers,
}


def _send_and_read(stream: Stream, first: int, count: int, word: str) -> dict[str, str]:
    """The cluster by question id of `count` questions, the subjects of which are told apart by `word`."""
    stream.send(question(i, text(i).replace("topic", word)) for i in range(first, first + count))
    with stream.decisions() as reader:
        found = reader.values(first + count)
    assert len({d["question_id"] for d in found}) == len(found)
    return {d["question_id"]: d["cluster_id"] for d in found if int(d["question_id"][1:]) >= first}


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_noticed_and_put_back(
    damage: Damage,
    restarts: bool,
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
) -> None:
    stream = make_stream(1, **OPTIONS)
    worker = start_worker(stream)
    before = _send_and_read(stream, 0, 60, "topic")
    wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    if restarts:
        worker.kill()
        forget(stream, worker)
    damage(stream.redis(), stream)
    if restarts:
        worker = start_worker(stream)
    # New subjects first: an id that was given would be given again.
    fresh = _send_and_read(stream, 60, 24, "matter")
    again = _send_and_read(stream, 84, 60, "topic")
    assert not set(fresh.values()) & set(before.values())
    assert all(again[f"q{i}"] == before[f"q{i % SUBJECTS}"] for i in range(84, 144))
    assert sum(live_sizes(stream.store()).values()) == 144
    assert worker.running


def _with_an_unreadable_entry(client: redis.Redis, stream: Stream) -> None:
    del stream
    for name in client.keys(KEYS.named("default", "ledger:*")):
        client.lset(name, 0, "x")


@pytest.mark.parametrize("damage", [_without_ledgers, _with_an_unreadable_entry], ids=["gone", "unreadable"])
@pytest.mark.parametrize("deed", ["STOP", "KILL"], ids=["frozen", "killed"])
def test_what_was_recorded_in_a_lost_ledger_alone_is_counted_once(
    damage: Damage, deed: str, make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(2, **OPTIONS)
    stream.send(question(i, text(i)) for i in range(300))
    worker = start_worker(stream, fault=f"commit:after:3:{deed}")
    wait_until(lambda: worker.is_frozen() if deed == "STOP" else not worker.running, "the fault has come")
    in_flight = sum(live_sizes(stream.store()).values()) - sum(stream.committed().values())
    assert in_flight > 0, "the fault came when all was published"
    damage(stream.redis(), stream)
    if deed == "STOP":
        worker.signal(signal.SIGCONT)
    else:
        start_worker(stream)
    with stream.decisions() as reader:
        assert_one_decision_each(reader.values(300), (f"q{i}" for i in range(300)))
    wait_until(lambda: sum(live_sizes(stream.store()).values()) == 300, "each is counted once")


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_a_dump_put_back_in_place_is_noticed(
    restarts: bool, make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(1, **OPTIONS)
    worker = start_worker(stream)
    before = _send_and_read(stream, 0, 60, "topic")
    client = stream.redis()
    # A lease may end between the two calls.
    dumped = {name: dump for name in client.keys("questream:*") if (dump := client.dump(name))}
    before |= _send_and_read(stream, 60, 24, "matter")
    wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    if restarts:
        worker.kill()
        forget(stream, worker)
    client.delete(*client.keys("questream:*"))
    for name, dump in dumped.items():
        client.restore(name, 0, dump, replace=True)
    if restarts:
        worker = start_worker(stream)
    fresh = _send_and_read(stream, 84, 24, "issue")
    assert not set(fresh.values()) & set(before.values())
    assert worker.running


def test_another_history_of_the_same_process_is_another_memory(redis_factory: Callable[..., RedisServer]) -> None:
    # A replica that was promoted again keeps its process and may have lost what another master had.
    client = redis.Redis.from_url(redis_factory().url)
    store = RedisStore(client)
    store.open("default", Identity("model", "r1", 4, "centred", "average", 0.55))
    store.recover("default", store.begin_recovery("default"), None, {})
    assert store.store_epoch("default") is not None
    client.replicaof("127.0.0.1", 1)
    client.replicaof("NO", "ONE")
    assert store.store_epoch("default") is None


def test_a_namespace_that_cannot_be_put_back_stops_no_other(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(**{"input.namespace_header": "tenant"})
    tenant = [("tenant", b"hurt")]
    stream.send([question(0, "how to pay"), question(1, "how to fly", headers=tenant)])
    with stream.decisions() as reader, stream.dead_letters() as letters:
        first = start_worker(stream)
        reader.until(2)
        first.kill()
        forget(stream, first)
        # Its only cluster is a record that is no state by now, and gone from Redis.
        send(stream.bootstrap_servers, stream.topics.cluster_topic, [Message(b"{}", b"hurt/c1")])
        stream.redis().flushdb()
        stream.send([question(2, "how to fly", headers=tenant), question(3, "how to pay")])
        second = start_worker(stream)
        assert [decision["question_id"] for decision in reader.values(3)][2:] == ["q3"]
        assert dict(letters.until(1)[0].headers)["questream-reason"] == b"namespace_damaged"
        # It goes on, whatever comes of that one, and however often.
        stream.send([question(4 + i, "how to fly", headers=tenant) for i in range(5)])
        stream.send([question(9, "how to pay")])
        reader.until(4)
        letters.until(6)
    assert second.running
    assert metric_values(second.port)["questream_kafka_sessions_total"] == 1
