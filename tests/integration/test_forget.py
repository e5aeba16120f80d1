"""A cluster's texts are erased for ever, on Kafka and Redis: no key of Redis and no newest state has any of them."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from questream.errors import ExitCode
from questream.records import decode_cluster_state
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, question, running_worker
from tests.kit.vectors import hash_encoder

SETTINGS = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
CARD = "where is my card card card"
LOST = "where is my lost card card"
PIN = "how do i change the pin"


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url, SETTINGS)


def has_text(raw: bytes, text: str) -> bool:
    """True if bytes hold a text, as it is or in base64."""
    return text.encode() in raw or base64.b64encode(text.encode()) in raw


def told_by_redis(stream: Stream, text: str) -> list[bytes]:
    """The keys whose dump holds a text. Redis packs what it dumps: each value is read by its type."""
    with stream.redis() as client:
        read = {
            b"hash": client.hgetall,
            b"stream": client.xrange,
            b"zset": lambda key: client.zrange(key, 0, -1),
            b"list": lambda key: client.lrange(key, 0, -1),
            b"set": client.smembers,
            b"string": client.get,
        }
        return [key for key in client.scan_iter() if has_text(flat(read[client.type(key)](key)), text)]


def flat(value: object) -> bytes:
    """All bytes within a reply, one after the other."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return flat(list(value.items()))
    return b"\0".join(map(flat, value)) if isinstance(value, (list, tuple, set)) else b""


def newest(states: Reader) -> dict[bytes, bytes]:
    """What compaction leaves of the cluster topic."""
    return {record.key: record.value for record in states.rest() if record.value is not None}


def test_no_text_is_left_of_a_cluster_in_redis_or_in_its_newest_state(stream: Stream) -> None:
    at = [f"--{name}={value}" for name, value in stream.overrides().items()]
    with (
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as reader,
        stream.cluster_states() as states,
    ):
        stream.send([question("a", CARD), question("lost", LOST), question("pin", PIN)])
        by_id = {value["question_id"]: value["cluster_id"] for value in reader.values(3)}
        whole, other = by_id["qa"], by_id["qpin"]
        assert by_id["qlost"] == whole != other
        assert questream("clusters", "represent", whole, "qlost", *at).code == 0
        assert questream("clusters", "represent", other, "--text", "how is a pin changed", *at).code == 0
        merged = questream("clusters", "merge", whole, other, "--yes", "--json", *at)
        survivor = merged.json["cluster_id"]
        asked = questream("clusters", "forget", whole, *at)
        assert (asked.code, "say --yes" in asked.err) == (ExitCode.FAILED, True), asked.err
        command = ("clusters", "forget", whole, "--yes", "--id", "erase", "--reason", "a customer asked", "--json", *at)
        done = questream(*command).json
        assert (done["kind"], len(done["absorbed"])) == ("forget", 1)
        assert questream(*command).json["operation"] == done["operation"]
        texts = (CARD, LOST, PIN, "how is a pin changed")
        assert [key for text in texts for key in told_by_redis(stream, text)] == []
        shown = questream("clusters", "show", survivor, "--json", *at).json
        assert (shown["representative"], shown["size"]) == (None, 3)
        # A Redis that forgets all from here on is put back from what stands beside the operation.
        with Reader(stream.bootstrap_servers, stream.topics.operation_topic) as operations:
            operations.until(done["operation"])
        assert [key for key, value in newest(states).items() for text in texts if has_text(value, text)] == []

        with stream.redis() as client:
            client.flushall()
        stream.send([question("b", CARD)])
        assert reader.values(4)[3]["cluster_id"] == survivor
        assert [key for text in texts for key in told_by_redis(stream, text)] == []
        refused = questream("undo", str(done["operation"]), *at)
        assert (refused.code, "nothing brings back" in refused.err) == (ExitCode.FAILED, True), refused.err
        for state in [decode_cluster_state(*one) for one in newest(states).items() if b"/c" in one[0]]:
            assert (state.representative, state.own_representative) == (None, None)
