"""What a former release stored and published, kept as it wrote it: today's code reads it, with unknown fields too.

`formats/716ef79.json` is what a worker of that commit left of eight questions on Kafka 4.1.1 and Redis 7.0.15, with a
merge and two labels, the last of them unpublished: `input`, `clusters` and `decisions` are the records of these topics,
`redis` is each key by its type. Bytes are in base64; INPUT stands for the name of the input topic.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from questream.broker.decided import DecidedTopics
from questream.errors import RecoveryNeeded
from questream.store.redis.store import RedisStore
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Stream, question, running_worker, send, wait_until
from tests.kit.vectors import hash_encoder

WRITTEN = json.loads((Path(__file__).parent / "formats" / "716ef79.json").read_text())
# The first offset that the ledger still has.
RECORDED = 6
ADDED = {
    *("schema_version", "unknown_share", "prepared_by", "ruled", "checked_by", "reason", "path", "features", "kept"),
    *("confidence", "suggested_route"),
}


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream whose topics hold what was written, and whose group stands before the recorded decisions."""
    made = Stream(kafka.bootstrap_servers, topics(), redis_url, {"clusters.threshold": 0.55})
    made.send(
        Message(b64decode(record["value"]), b64decode(record["key"]), timestamp_ms=record["timestamp"])
        for record in WRITTEN["input"]
    )
    return made


@pytest.mark.parametrize("later", [False, True], ids=["as written", "with unknown fields"])
def test_what_a_former_release_wrote_is_read_and_gone_on_with(stream: Stream, later: bool) -> None:
    publish(stream, later)
    with stream.redis() as client:
        load(client, stream.topics.input_topic, later)
    commit(stream, RECORDED)
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        # Those that were published already come first.
        decided = len(WRITTEN["decisions"])
        again = reader.values(decided + 2)[decided:]
        assert [without_added(value) for value in again] == [
            value_of(r, stream) for r in WRITTEN["decisions"][RECORDED:]
        ]
        stream.send([question(8, "where is my card"), question(9, "lost my card yesterday")])
        eighth, ninth = reader.values(decided + 4)[decided + 2 :]
        assert [eighth[name] for name in ("cluster_id", "label", "cluster_size")] == ["c1", "cards", 5]
        assert (ninth["cluster_id"], ninth["cluster_size"]) == ("c1", 6)
        wait_until(lambda: stream.store().unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
    states = {state.cluster_id: state for state in stream.store().clusters("default")}
    assert {number: state.size for number, state in states.items()} == {1: 6, 3: 1, 4: 1, 5: 1, 6: 1}
    assert (states[3].label, states[3].route) == ("rates", "treasury")
    alias = stream.store().cluster("default", 2)
    assert alias is not None
    assert alias.merged_into == 1
    if later:
        with stream.redis() as client:
            assert client.hget("questream:{default}:meta", "later") == b"x"
            assert client.hget("questream:{default}:cluster:1", "later") == b"x"


@pytest.mark.parametrize("later", [False, True], ids=["as written", "with unknown fields"])
def test_what_a_former_release_published_is_enough_to_restore(stream: Stream, later: bool) -> None:
    publish(stream, later)
    commit(stream, len(WRITTEN["input"]))
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        decided = len(WRITTEN["decisions"])
        stream.send([question(8, "where is my card"), question(9, "what is the exchange rate")])
        eighth, ninth = reader.values(decided + 2)[decided:]
        assert (eighth["cluster_id"], eighth["cluster_size"]) == ("c1", 5)
        assert [ninth[name] for name in ("cluster_id", "label", "route")] == ["c3", "rates", "treasury"]


@pytest.mark.parametrize("later", [False, True], ids=["as written", "with unknown fields"])
def test_decisions_of_a_former_release_are_read(stream: Stream, later: bool) -> None:
    publish(stream, later)
    with DecidedTopics(stream.settings(), "default", 100) as topics:
        read = [(published.place, published.cluster_id) for published in topics.read_decisions()]
    assert read == [((0, offset), number) for offset, number in enumerate([1, 2, 3, 1, 4, 5, 1, 6])]


@pytest.mark.parametrize("later", [False, True], ids=["as written", "with unknown fields"])
def test_the_log_of_a_former_release_leads_to_the_same_mirror(redis_url: str, later: bool) -> None:
    client = redis.Redis.from_url(redis_url)
    load(client, "questions", later)
    store = RedisStore(client)
    with pytest.raises(RecoveryNeeded):
        store.ledger("default", "questions", 0)
    # As the process of Redis would have it that the former release ran with.
    info = client.info()
    process = f"{info['run_id']}.{info['master_replid']}"
    client.hset("questream:{default}:meta", "incarnation", f"{process}:7e5eb60fe913")
    mirror = store.load("default")
    assert sorted(mirror.row_of) == [1, 3, 4, 5, 6]
    tail = store.tail("default", mirror.store_epoch, 2)
    assert tail.changes
    before = {number: tuple(mirror.sums[row]) for number, row in mirror.row_of.items()}
    mirror.apply(tail.changes)
    assert {number: tuple(mirror.sums[row]) for number, row in mirror.row_of.items()} == before


def load(client: redis.Redis, topic: str, later: bool) -> None:
    """Put the keys into Redis, with fields that no release knows if `later`."""
    for written, by_kind in WRITTEN["redis"].items():
        key = written.replace("INPUT", topic)
        ((kind, value),) = by_kind.items()
        match kind:
            case "hash":
                client.hset(key, mapping=fields_of(value, later))
            case "zset":
                client.zadd(key, value)
            case "set":
                client.sadd(key, *value)
            case "list":
                client.rpush(key, *(grown_entry(b64decode(entry)) if later else b64decode(entry) for entry in value))
            case "stream":
                for entry_id, fields in value:
                    client.xadd(key, fields_of(fields, later), entry_id)


def fields_of(encoded: dict[str, str], later: bool) -> dict[Any, Any]:
    fields = {name: b64decode(value) for name, value in encoded.items()}
    return fields | ({"later": b"x"} if later else {})


def grown_entry(entry: bytes) -> bytes:
    """An entry of a ledger with a field more in the object, in each row and in each cluster."""
    first, last, text = entry.split(b" ", 2)
    body = json.loads(text)
    rows = [[*row, "later"] for row in body["rows"]]
    clusters = {number: [*fields, "later"] for number, fields in body["clusters"].items()}
    return b" ".join([first, last, json.dumps(body | {"rows": rows, "clusters": clusters, "later": {}}).encode()])


def grown(value: Any) -> Any:
    """JSON with a field more in every object."""
    if isinstance(value, dict):
        return {name: grown(part) for name, part in value.items()} | {"later": [{"x": 1}]}
    return [grown(part) for part in value] if isinstance(value, list) else value


def publish(stream: Stream, later: bool) -> None:
    """Put the records into the cluster topic and the output topic."""
    for name, topic in (("clusters", stream.topics.cluster_topic), ("decisions", stream.topics.output_topic)):
        messages = []
        for record in WRITTEN[name]:
            value = value_of(record, stream)
            messages.append(Message(json.dumps(grown(value) if later else value).encode(), record["key"].encode()))
        send(stream.bootstrap_servers, topic, messages)


def value_of(record: dict[str, Any], stream: Stream) -> Any:
    return json.loads(record["value"].replace("INPUT", stream.topics.input_topic))


def without_added(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name not in ADDED}


def commit(stream: Stream, offset: int) -> None:
    """Have the group stand there."""
    consumer = KafkaConsumer(
        bootstrap_servers=stream.bootstrap_servers, group_id=stream.group_id, enable_auto_commit=False
    )
    try:
        partition = TopicPartition(stream.topics.input_topic, 0)
        consumer.assign([partition])
        consumer.commit({partition: OffsetAndMetadata(offset, "", -1)})
    finally:
        consumer.close(autocommit=False)
