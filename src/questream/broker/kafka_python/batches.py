"""Records out of the batches of a fetch: what kafka-python 3.0.12 cannot read too, and within what memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.record.util import decode_varint

from questream.broker.kafka_python.unpacking import Packed, TooMuchUnpacked, UnpackingBudget
from questream.domain import Unread

# An empty header takes two bytes in a batch, and 64 once it is read, and again with each step that passes headers on.
_MOST_HEADERS = 10_000
_FEW_BYTES = 2 * _MOST_HEADERS
# The largest byte that ends a number in Kafka's format.
_GOES_ON = 0x7F


class HeaderName(str):
    """A header's name that is not UTF-8: its undecodable bytes are surrogates, and `encode` gives them back."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:  # noqa: ARG002
        """The bytes that were read, whatever `errors` says: kafka-python's producer asks for strict UTF-8."""
        return super().encode(encoding, "surrogateescape")


class HandedOn:
    """The bytes that one poll has returned."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.byte_count = 0

    @property
    def is_full(self) -> bool:
        """True if the poll should end."""
        return self.byte_count >= self._most_bytes

    def fills_up(self, byte_count: int) -> bool:
        """Count so many bytes more; whether the poll should end with them."""
        self.byte_count += byte_count
        return self.byte_count >= self._most_bytes


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """The records of one fetch from one partition, within the consumer's budgets."""

    def __init__(self, budget: UnpackingBudget, handed_on: HandedOn, *args: Any, **options: Any) -> None:
        self._budget = budget
        self._handed_on = handed_on
        self._batches: _Batches | None = None
        super().__init__(*args, **options)

    def take(self, n: int | None = None) -> list[Any]:
        """The next records, up to `n` and to what the poll may still hand on; at least one if there is any."""
        self._maybe_raise_next_inline_exception()
        records: list[Any] = []
        try:
            if self._batches is not None:
                self._batches.touch()
            for record in islice(self.record_iterator, n):
                records.append(record)
                # Null counts -1.
                size = record.serialized_key_size + record.serialized_value_size + record.serialized_header_size
                if self._handed_on.fills_up(size):
                    break
        except Exception as error:
            if not records:
                raise
            self._next_inline_exception = error
        return records

    def drain(self) -> None:
        """There is no more, or nobody wants it."""
        if self._batches is not None:
            self._batches.release()
            # They know their reader: as a cycle the bytes of the fetch would wait for the collector of cycles.
            self._batches = None
        super().drain()

    def _unpack_records(self, tp: TopicPartition, records: Any, *deserializers: Any) -> Iterator[Any]:
        self._batches = _Batches(records, self._budget, lambda: self.next_fetch_offset)
        try:
            yield from super()._unpack_records(tp, self._batches, *deserializers)
        except (MemoryError, kafka_errors.UnsupportedCodecError):
            raise
        except Exception as error:
            # Each codec has an exception of its own, and the texts of some quote what they could not read.
            at = f"{type(error).__name__} in partition {tp.partition} at offset {self.next_fetch_offset}"
            raise kafka_errors.CorruptRecordError(at) from None


class _Batches:
    """kafka-python's batches of a fetch, with ours in place of its own; the one before is let go."""

    def __init__(self, records: Any, budget: UnpackingBudget, next_offset: Callable[[], int]) -> None:
        self._records = records
        self._budget = budget
        self._next_offset = next_offset
        self._current: Any = None

    def next_batch(self) -> Any:
        self.release()
        batch = self._records.next_batch()
        kind = _KINDS.get(type(batch))
        self._current = None if kind is None else kind(batch, self._budget, self._next_offset)
        return self._current if self._current is not None else batch

    def touch(self) -> None:
        """The current batch is being read."""
        self._budget.touch(self._current)

    def release(self) -> None:
        """Let go what the current batch has unpacked."""
        self._budget.release(self._current)


class _Batch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python ships no types
    _buffer: Any
    _pos: int
    _decompressed: bool

    def __init__(self, batch: DefaultRecordBatch, budget: UnpackingBudget, next_offset: Callable[[], int]) -> None:
        # The same content; made anew it would be copied once more.
        for name in DefaultRecordBatch.__slots__:
            setattr(self, name, getattr(batch, name))
        self._budget = budget
        self._next_offset = next_offset
        self._packed: Packed | None = None

    def __iter__(self) -> Any:
        try:
            self._maybe_uncompress()
        except TooMuchUnpacked:
            return _unread(self, self._next_offset())
        return self

    def _maybe_uncompress(self) -> None:
        if not self._decompressed and self.compression_type != self.CODEC_NONE:
            self._assert_has_codec(self.compression_type)
            self._packed = memoryview(self._buffer)[self._pos :]
            self._buffer = self._unpacked(self._packed)
            self._pos = 0
        self._decompressed = True

    def _unpacked(self, packed: Packed) -> bytearray:
        return self._budget.unpacked(self, self.compression_type, packed)

    def __next__(self) -> Any:
        if self._buffer is None:
            self._buffer = self._unpacked(self._packed or b"")
        return super().__next__()

    def discard(self) -> None:
        """While others are read, their batches need the room: this one is unpacked again when its turn comes."""
        self._buffer = None

    def _read_msg(self) -> Any:
        # Only a length of three bytes and more is worth a look.
        if self._buffer[self._pos] > _GOES_ON and self._buffer[self._pos + 1] > _GOES_ON:
            length, content = decode_varint(self._buffer, self._pos)
            if length > _FEW_BYTES and self._header_count(content) > _MOST_HEADERS:
                return self._unread(content, content + length)
        try:
            record = super()._read_msg()
        except UnicodeDecodeError:
            record = self._read_lenient()
        # A producer may send a sum that has no 64 bits; it wraps, as it does in Kafka's own clients.
        if not -(2**63) <= record._timestamp < 2**63:
            record._timestamp = (record._timestamp + 2**63) % 2**64 - 2**63
        return record

    def _header_count(self, at: int) -> int:
        """The number of headers of the record whose content begins here."""
        for _ in range(3):  # attributes, and what is added to the batch's timestamp and offset
            _, at = decode_varint(self._buffer, at)
        for _ in range(2):  # key and value
            byte_count, at = decode_varint(self._buffer, at)
            at += max(0, byte_count)
        count: int = decode_varint(self._buffer, at)[0]
        return count

    def _unread(self, content: int, end: int) -> DefaultRecord:
        """The record whose content begins and ends here, with its place alone."""
        _, at = decode_varint(self._buffer, content)
        _, at = decode_varint(self._buffer, at)
        offset_delta, _ = decode_varint(self._buffer, at)
        self._pos = end
        return _unread_at(self, self.base_offset + offset_delta, self.max_timestamp)

    def _read_lenient(self) -> Any:
        whole, start = self._buffer, self._pos
        length, content = decode_varint(whole, start)
        self._buffer, self._pos = _LenientBuffer(whole[start : content + length]), 0
        try:
            record = super()._read_msg()
        finally:
            self._buffer, self._pos = whole, start + self._pos
        return record


class _LegacyBatch(LegacyRecordBatch):  # type: ignore[misc]  # kafka-python ships no types
    """A batch in a format of before Kafka 0.11, as topics that old may still hold it."""

    def __init__(self, batch: LegacyRecordBatch, budget: UnpackingBudget, next_offset: Callable[[], int]) -> None:
        for name in LegacyRecordBatch.__slots__:
            setattr(self, name, getattr(batch, name))
        self._budget = budget
        self._next_offset = next_offset

    def __iter__(self) -> Any:
        try:
            yield from super().__iter__()
        except TooMuchUnpacked:
            yield from _unread(self, self._next_offset())

    def discard(self) -> None:
        """Keep the batches of this format that are being read."""

    def _decompress(self, key_offset: int) -> Any:
        _, value = self._read_key_value(key_offset)
        if value is None:
            raise kafka_errors.CorruptRecordError("a compressed batch has no content")
        if self._magic == 0 and self.compression_type == self.CODEC_LZ4:
            # Its frames have a wrong check sum, and what reads them all the same knows no bound.
            raise TooMuchUnpacked
        self._assert_has_codec(self.compression_type)
        return self._budget.unpacked(self, self.compression_type, value)


_KINDS = {DefaultRecordBatch: _Batch, LegacyRecordBatch: _LegacyBatch}


def _unread(batch: Any, next_offset: int) -> Iterator[DefaultRecord]:
    """The records of a batch that is too large to unpack, from `next_offset` on: all that is known are their places."""
    if batch.magic >= 2:
        first, last, timestamp = batch.base_offset, batch.last_offset, batch.max_timestamp
    else:
        # Such a batch has the offset of its last record, and not the number of its records.
        first, last, timestamp = next_offset, batch.base_offset, batch._timestamp or 0
    for offset in range(max(first, next_offset), last + 1):
        yield _unread_at(batch, offset, timestamp)


def _unread_at(batch: Any, offset: int, timestamp: int) -> DefaultRecord:
    return DefaultRecord(0, offset, timestamp, batch.timestamp_type, None, Unread(), [])


class _LenientBuffer(bytearray):
    """A buffer whose slices decode to a HeaderName where they are not UTF-8."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientSlice(found) if isinstance(at, slice) else found


class _LenientSlice(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return HeaderName(super().decode(encoding, "surrogateescape"))
