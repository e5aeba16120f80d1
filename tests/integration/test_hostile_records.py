"""Whatever a producer can put into the input topic: the stream goes on, and nothing of the record is changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import kafka.codec
import pytest
from kafka import KafkaProducer

from questream.errors import KafkaRefused
from questream.stream.worker import Worker
from tests.kit.servers import KafkaServer, Topics, create_topics
from tests.kit.stream import Message, RawName, Stream, WorkerProcess, question, running_worker
from tests.kit.vectors import hash_encoder

MIB = 1024 * 1024


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url)


def passed_headers(record: Any) -> list[tuple[bytes, bytes | None]]:
    """What the record carries besides the headers of a dead letter, names as bytes."""
    headers = [(name.encode(), value) for name, value in record.headers]
    return [(name, value) for name, value in headers if not name.startswith(b"questream-")]


def test_header_names_that_are_not_utf8_pass_byte_for_byte(kafka: KafkaServer, stream: Stream) -> None:
    raw = b"caf\xe9-\xff\xfe"
    headers: list[tuple[str, bytes | None]] = [
        (RawName(raw), b"1"),
        ("naïve", b"\xff"),
        (RawName(b"\xed\xa0\x80"), b""),
    ]
    sent = [(name.encode(), value) for name, value in headers]
    stream.send([question(1, "before"), question(2, "the one", headers=headers), Message(b"{", b"bad", headers)])
    stream.send([question(3, "after")])
    with (
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as decisions,
        stream.dead_letters() as dead,
    ):
        decided = {record.key: record for record in decisions.until(3)}
        (letter,) = dead.until(1)
    assert passed_headers(decided[b"q2"]) == passed_headers(letter) == sent
    # Read without our consumer: the length of the name (zigzag), the name, the length of the value, the value.
    for topic in (stream.topics.output_topic, stream.topics.dead_letter_topic):
        segment = kafka.folder / "data" / f"{topic}-0" / f"{0:020d}.log"
        assert bytes([2 * len(raw)]) + raw + b"\x021" in segment.read_bytes()


def test_a_null_header_value_stays_null(stream: Stream) -> None:
    headers: list[tuple[str, bytes | None]] = [("null", None), ("empty", b""), ("null", None)]
    stream.send([question(1, "where is my card?", headers=headers), Message(None, None, headers)])
    with (
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as decisions,
        stream.dead_letters() as dead,
    ):
        (decision,) = decisions.until(1)
        (letter,) = dead.until(1)
    assert list(decision.headers) == headers
    assert [header for header in letter.headers if not header[0].startswith("questream-")] == headers
    assert (letter.key, letter.value) == (None, None)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read_and_published(stream: Stream, codec: str) -> None:
    producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, compression_type=codec, linger_ms=50)
    messages = [question(number, f"question {number % 3} " + "again and " * 20) for number in range(50)]
    sent = [producer.send(stream.topics.input_topic, message.value, message.key) for message in messages]
    assert {future.get(30).topic for future in sent} == {stream.topics.input_topic}
    producer.close(30)
    stream.options["kafka.compression"] = codec
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        assert len(decisions.until(50)) == 50


def test_a_compression_without_its_package_ends_the_worker(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, compression_type="zstd")
    producer.send(stream.topics.input_topic, b"again " * 500).get(30)
    producer.close(30)
    monkeypatch.setattr(kafka.codec, "zstd", None)
    with pytest.raises(KafkaRefused, match="zstandard"):
        Worker(stream.settings(), hash_encoder()).run()


def test_timestamps_of_any_size_are_published(kafka: KafkaServer, stream: Stream) -> None:
    times = [0, 1, 2**31, 1_700_000_000_000]
    stream.send(question(n, "where is my card?", timestamp_ms=ms) for n, ms in enumerate(times))
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        assert sorted(d["source"]["timestamp"] for d in decisions.values(len(times))) == sorted(times)


def test_huge_dead_letters_pass_in_bounded_memory(kafka: KafkaServer, redis_url: str, tmp_path: Any) -> None:
    topics = create_topics(kafka.bootstrap_servers, configs={"max.message.bytes": str(2 * MIB)})
    stream = Stream(kafka.bootstrap_servers, topics, redis_url)
    huge = random.Random(1).randbytes(MIB)
    stream.send([question(1, "first")])
    with WorkerProcess(tmp_path, stream.overrides(batch_bytes=MIB)) as worker:
        with stream.decisions() as decisions:
            decisions.until(1)
        before = worker.peak_resident_bytes
        for _ in range(5):
            stream.send(Message(b"\xff" + huge, b"%d" % number) for number in range(20))
        with stream.dead_letters() as dead:
            while len(dead.records) < 100:
                for record in dead.poll():
                    assert record.value == b"\xff" + huge
                    # What is seen need not stay.
                    dead.records[-1] = None
        grown_mib = (worker.peak_resident_bytes - before) / MIB
    # 100 MiB went through. Two batches wait; one each is fetched, embedded, decided, published, and copied to be sent.
    assert grown_mib < 60, f"{grown_mib:.0f} MiB"
