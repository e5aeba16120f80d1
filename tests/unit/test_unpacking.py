"""Compressed batches within a budget: each codec, several partitions at once, formats of before Kafka 0.11."""

from __future__ import annotations

import struct
import zlib

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition, codec
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from questream.broker.kafka_python.batches import HandedOn, PartitionRecords
from questream.broker.kafka_python.unpacking import TooMuchUnpacked, UnpackingBudget
from questream.domain import Unread
from tests.kit.stream import RawName

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ENCODERS = {
    "gzip": codec.gzip_encode,
    "snappy": codec.snappy_encode,
    "raw snappy": lambda data: codec.snappy_encode(data, xerial_compatible=False),
    "lz4": codec.lz4_encode,
    "lz4 that tells its length": lambda data: lz4.frame.compress(data, store_size=True),
    "zstd": codec.zstd_encode,
}
KIB, MIB = 1024, 1024 * 1024


class Whole:
    """A batch that is alone in its budget."""

    def discard(self) -> None:
        raise AssertionError("nobody else needs the room")


BATCH = Whole()


def number_of(encoder: str) -> int:
    return next(number for name, number in CODECS.items() if name in encoder)


@pytest.mark.parametrize("encoder", ENCODERS)
@given(data=st.one_of(st.binary(max_size=2000), st.builds(lambda n: b"why? " * n, st.integers(0, 500_000))))
def test_each_codec_gives_what_was_packed(encoder: str, data: bytes) -> None:
    budget = UnpackingBudget(max(1, len(data)))
    assert budget.unpacked(BATCH, number_of(encoder), ENCODERS[encoder](data)) == data
    assert budget.held_bytes == len(data)
    budget.release(BATCH)
    assert budget.held_bytes == 0


@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_byte_more_than_the_budget_is_refused(encoder: str) -> None:
    packed = ENCODERS[encoder](b"x" * (3 * MIB))
    assert len(UnpackingBudget(3 * MIB).unpacked(BATCH, number_of(encoder), packed)) == 3 * MIB
    budget = UnpackingBudget(3 * MIB - 1)
    with pytest.raises(TooMuchUnpacked):
        budget.unpacked(BATCH, number_of(encoder), packed)
    assert budget.held_bytes == 0


def test_several_gzip_members_are_one_batch() -> None:
    packed = codec.gzip_encode(b"a" * 10) + codec.gzip_encode(b"b" * 10) + b"\x00" * 4
    assert UnpackingBudget(20).unpacked(BATCH, 1, packed) == b"a" * 10 + b"b" * 10


@pytest.mark.parametrize("encoder", ["gzip", "snappy", "lz4"])
def test_what_ends_too_early_is_told(encoder: str) -> None:
    packed = ENCODERS[encoder](bytes(range(256)) * 1000)
    with pytest.raises((EOFError, OSError, zlib.error)):
        UnpackingBudget(MIB).unpacked(BATCH, number_of(encoder), packed[:-9])


def test_a_length_that_snappy_only_claims_is_not_allocated() -> None:
    with pytest.raises(TooMuchUnpacked):
        UnpackingBudget(MIB).unpacked(BATCH, 2, b"\xff\xff\xff\xff\x0f" + b"x" * 10)


def batch(codec_number: int, values: list[bytes], base_offset: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec_number, False, -1, -1, -1, 1 << 30)
    for at, value in enumerate(values):
        builder.append(at, 1000 + at, b"k%d" % at, value, [])
    data = bytearray(builder.build())
    # As the broker stores it: producers count from 0.
    struct.pack_into(">q", data, 0, base_offset)
    return bytes(data)


def read_from(
    data: bytes, budget: UnpackingBudget, fetch_offset: int = 0, partition: int = 0, most_bytes: int = 1 << 40
) -> tuple[PartitionRecords, HandedOn]:
    handed_on = HandedOn(most_bytes)
    part = TopicPartition("questions", partition)
    return PartitionRecords(budget, handed_on, fetch_offset, part, MemoryRecords(data)), handed_on


@pytest.mark.parametrize("name", CODECS)
def test_a_batch_beyond_the_budget_gives_its_places_and_the_next_is_read(name: str) -> None:
    data = b"".join(
        [
            batch(CODECS[name], [b"good"], 0),
            batch(CODECS[name], [b"x" * MIB] * 3, 1),
            batch(CODECS[name], [b"good", b"too"], 4),
        ]
    )
    records, _ = read_from(data, UnpackingBudget(2 * MIB))
    read = records.take(100)
    assert [record.offset for record in read] == [0, 1, 2, 3, 4, 5]
    assert [isinstance(record.value, Unread) for record in read] == [False, True, True, True, False, False]
    assert [record.value for record in read if not isinstance(record.value, Unread)] == [b"good", b"good", b"too"]
    assert records.next_fetch_offset == 6


def test_a_batch_beyond_the_budget_is_taken_up_in_its_middle() -> None:
    data = batch(1, [b"x" * MIB] * 5, 10)
    records, _ = read_from(data, UnpackingBudget(2 * MIB), fetch_offset=13)
    assert [record.offset for record in records.take(1)] == [13]
    assert [record.offset for record in records.take(9)] == [14]


def test_partitions_take_turns_within_one_budget() -> None:
    """Each batch fits, all together do not: what was unpacked is let go, and nothing is lost or given twice."""
    budget = UnpackingBudget(2 * MIB)
    values = [[bytes([65 + partition]) * (150 * KIB) + b"%d" % at for at in range(10)] for partition in range(4)]
    fetches = [read_from(batch(1, values[p], 0), budget, partition=p)[0] for p in range(4)]
    got: list[list[bytes]] = [[] for _ in fetches]
    most = 0
    for _ in range(5):
        for partition, records in enumerate(fetches):
            got[partition] += [record.value for record in records.take(2)]
            most = max(most, budget.held_bytes)
    assert got == values
    assert MIB < most <= 2 * MIB
    for records in fetches:
        assert records.take(1) == []
    assert budget.held_bytes == 0


def test_what_nobody_reads_any_more_is_let_go() -> None:
    budget = UnpackingBudget(2 * MIB)
    records, _ = read_from(batch(1, [b"x" * KIB] * 9, 0), budget)
    records.take(1)
    assert budget.held_bytes > 9 * KIB
    records.drain()
    assert budget.held_bytes == 0


def test_a_poll_ends_with_the_record_that_reaches_its_bytes() -> None:
    records, handed_on = read_from(batch(0, [b"x" * 400] * 10, 0), UnpackingBudget(MIB), most_bytes=1000)
    assert len(records.take(256)) == 3
    assert handed_on.is_full
    handed_on.byte_count = 0
    assert len(records.take(256)) == 3


def test_a_header_that_is_not_utf8_leaves_its_batch_readable() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 30)
    names = [b"good", b"bad\xff", b"good", b"\xfe"]
    for at, name in enumerate(names):
        builder.append(at, 1000, None, b"v%d" % at, [(RawName(name), b"h")])
    records, _ = read_from(bytes(builder.build()), UnpackingBudget(MIB))
    read = records.take(9)
    assert [record.value for record in read] == [b"v0", b"v1", b"v2", b"v3"]
    assert [record.headers[0][0].encode("utf-8", "surrogateescape") for record in read] == names


@pytest.mark.parametrize("codec_number", [0, *CODECS.values()])
def test_headers_by_the_ten_thousand_are_not_read(codec_number: int) -> None:
    builder = DefaultRecordBatchBuilder(2, codec_number, False, -1, -1, -1, 1 << 30)
    counts = [1, 10_000, 10_001, 2]
    for at, count in enumerate(counts):
        builder.append(at, 1000, b"k" * 300, b"v%d" % at, [("", b"")] * count)
    records, _ = read_from(bytes(builder.build()), UnpackingBudget(MIB))
    read = records.take(9)
    assert [len(record.headers) for record in read] == [1, 10_000, 0, 2]
    assert [record.offset for record in read] == [0, 1, 2, 3]
    assert [isinstance(record.value, Unread) for record in read] == [False, False, True, False]


def legacy(magic: int, codec_number: int, values: list[bytes]) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, codec_number, 1 << 30)
    for at, value in enumerate(values):
        builder.append(at, 1000, b"k", value)
    return bytes(builder.build())


@pytest.mark.parametrize(("magic", "name"), [(0, "gzip"), (0, "snappy"), (1, "gzip"), (1, "snappy"), (1, "lz4")])
def test_formats_of_old_keep_to_the_budget(magic: int, name: str) -> None:
    small = legacy(magic, CODECS[name], [b"a", b"b"])
    records, _ = read_from(small, UnpackingBudget(MIB))
    assert [(record.offset, record.value) for record in records.take(9)] == [(0, b"a"), (1, b"b")]
    data = bytearray(legacy(magic, CODECS[name], [b"x" * MIB] * 3))
    # The wrapper has the offset of its last record.
    struct.pack_into(">q", data, 0, 2)
    records, _ = read_from(bytes(data), UnpackingBudget(2 * MIB))
    read = records.take(9)
    assert [record.offset for record in read] == [0, 1, 2]
    assert all(isinstance(record.value, Unread) for record in read)
