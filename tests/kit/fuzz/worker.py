"""Hostile records through a running worker on real servers: each comes out once, and untouched."""

from __future__ import annotations

import hashlib
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from kafka import KafkaProducer

from questream.broker.kafka_python.patches import NULL
from questream.broker.kafka_python.producer import KeySerializer
from tests.kit.fuzz.decoder import Found
from tests.kit.fuzz.records import Header, Hostile, hostile_record
from tests.kit.stream import MAX_REQUEST_BYTES, Stream, WorkerProcess, metric_values, wait_until

# One producer each: a batch is compressed as a whole.
COMPRESSIONS = (None, None, "gzip", "snappy", "lz4", "zstd")
# Topics that take any timestamp and any size that is sent here.
TOPIC_CONFIGS = {
    "max.message.bytes": "30000000",
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "message.timestamp.before.max.ms": str(2**63 - 1),
}
OPTIONS = {
    "input.namespace_header": "ns",
    "input.namespace_field": "ns",
    # What is passed over leaves nothing to compare.
    "input.tombstones": "dead-letter",
    "input.deletes": "dead-letter",
}
SENT_AT_ONCE = 2000
ADDED = tuple(f"questream-{name}" for name in ("stage", "error", "reason", "topic", "partition", "offset", "attempts"))

Place = tuple[int, int]


class Sent(NamedTuple):
    """A record's number, and digests of what must come out: of a decision key and headers, of a dead letter all."""

    number: int
    as_decision: bytes
    as_dead_letter: bytes


def fuzz_worker(stream: Stream, folder: Path, seed: int, first: int, records: int, seconds: float) -> Counter[str]:
    """Send the records of a seed, have a worker answer them within `seconds`, and compare what comes out.

    Returns how many were decided and how many dead-lettered, by reason. `stream` is on a broker with
    TOPIC_CONFIGS. Raises Found where a record is lost, doubled or changed, or the worker did not live through it.
    """
    with WorkerProcess(folder, stream.overrides() | OPTIONS) as worker:
        sent = _send(stream, seed, first, records)
        try:
            return _compare(stream, worker, sent, seconds)
        except AssertionError as error:
            again = f"python -m tests.kit.fuzz worker --seed {seed} --first {first} --records {records}"
            raise Found(f"{error}; again with: {again}\n{worker.end_of_log()}") from error


def _send(stream: Stream, seed: int, first: int, records: int) -> dict[Place, Sent]:
    """The records sent, by their positions."""
    producers = [
        KafkaProducer(
            bootstrap_servers=stream.bootstrap_servers,
            compression_type=compression,
            linger_ms=20,
            max_request_size=MAX_REQUEST_BYTES,
            key_serializer=KeySerializer(),
        )
        for compression in COMPRESSIONS
    ]
    sent: dict[Place, Sent] = {}
    try:
        for start in range(first, first + records, SENT_AT_ONCE):
            numbers = range(start, min(start + SENT_AT_ONCE, first + records))
            hostile = [hostile_record(seed, number) for number in numbers]
            pairs = zip(numbers, hostile, strict=True)
            futures = [_produce(producers[number % len(producers)], stream, record) for number, record in pairs]
            for producer in producers:
                producer.flush(timeout=120)
            for number, record, future in zip(numbers, hostile, futures, strict=True):
                written = future.get(timeout=120)
                sent[written.partition, written.offset] = _expected(number, record)
    finally:
        for producer in producers:
            producer.close(timeout=5)
    return sent


def _produce(producer: KafkaProducer, stream: Stream, record: Hostile) -> Any:
    return producer.send(
        stream.topics.input_topic,
        value=record.value,
        key=NULL if record.key is None and record.value is None else record.key,
        headers=[(name, NULL if value is None else value) for name, value in record.headers],
        timestamp_ms=record.timestamp_ms,
    )


def _compare(stream: Stream, worker: WorkerProcess, sent: dict[Place, Sent], seconds: float) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    seen: set[Place] = set()
    deadline = time.monotonic() + seconds
    with stream.decisions() as decisions, stream.dead_letters() as dead:
        while len(seen) < len(sent):
            assert worker.running, f"the worker ended after {len(seen)} records"
            assert time.monotonic() < deadline, f"{len(seen)} of {len(sent)} records within {seconds:.0f} s"
            for read, reader in ((_read_decision, decisions), (_read_dead_letter, dead)):
                for record in reader.poll():
                    place, outcome, digest = read(record)
                    expected = sent[place]
                    assert place not in seen, f"record {expected.number} came out twice"
                    whole = expected.as_decision if outcome == "decided" else expected.as_dead_letter
                    assert digest == whole, f"record {expected.number} is not what was sent ({outcome})"
                    seen.add(place)
                    outcomes[outcome] += 1
                reader.records.clear()
    wait_until(lambda: sum(stream.committed().values()) >= len(sent), "all offsets are committed")
    assert metric_values(worker.port)["questream_kafka_sessions_total"] == 1, "the worker lost its session"
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, "the worker did not end in good order"
    return outcomes


def _read_decision(record: Any) -> tuple[Place, str, bytes]:
    source = orjson.loads(record.value)["source"]
    return (source["partition"], source["offset"]), "decided", _digest(record.key, None, _named(record.headers))


def _read_dead_letter(record: Any) -> tuple[Place, str, bytes]:
    own, added = record.headers[: -len(ADDED)], dict(record.headers[-len(ADDED) :])
    assert tuple(added) == ADDED
    place = int(added["questream-partition"]), int(added["questream-offset"])
    return place, added["questream-reason"].decode(), _digest(record.key, record.value, _named(own))


def _named(headers: Iterable[Header]) -> list[tuple[bytes, bytes | None]]:
    return [(name.encode(), value) for name, value in headers]


def _expected(number: int, record: Hostile) -> Sent:
    headers = _named(record.headers)
    passed = [(name, value) for name, value in headers if not name.lower().startswith((b"ce_", b"content-type"))]
    own = [(name, value) for name, value in headers if name.decode(errors="replace") not in ADDED]
    return Sent(number, _digest(record.key, None, passed), _digest(record.key, record.value, own))


def _digest(key: bytes | None, value: bytes | None, headers: list[tuple[bytes, bytes | None]]) -> bytes:
    return hashlib.blake2b(repr((key, value, headers)).encode(), digest_size=16).digest()
