"""Decompression within a budget: a few bytes on the wire must not fill a worker's memory.

kafka-python unpacks a batch as a whole, however large that is. Here each codec gives its output in pieces, and a batch
that has more of them than the budget allows is given up at that point.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

import lz4.frame
import snappy
import zstandard
from kafka.record.default_records import DefaultRecordBatch

_PIECE_BYTES = 1_048_576
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_LENGTH_BYTES = 5

Packed = bytes | bytearray | memoryview


class TooMuchUnpacked(Exception):
    """A batch unpacks to more bytes than the budget has."""


class Holder(Protocol):
    """The holder of an unpacked batch."""

    def discard(self) -> None:
        """Keep no reference to it any more."""


class UnpackingBudget:
    """Holds what is unpacked, of all batches that a consumer reads at once, to `most_bytes`. For one thread.

    A batch that alone needs more is refused. Where several together do, those that were read least lately lose what
    they have unpacked and unpack it again when their turn comes: a partition that is paused half way through a batch
    must not keep the others from being read.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[Holder, bytearray] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """The bytes that are unpacked now."""
        return sum(map(len, self._held.values()))

    def unpacked(self, holder: Holder, codec: int, packed: Packed) -> bytearray:
        """The records of a batch, unpacked; `holder` is called when it has to let them go.

        `codec` is the number that Kafka's format has for it. Raises TooMuchUnpacked, and what a codec raises for broken
        data.
        """
        unpacked = self._held[holder] = bytearray()
        try:
            for piece in _CODECS[codec](packed, self._most_bytes):
                self._make_room(len(piece))
                unpacked += piece
        except BaseException:
            self.release(holder)
            raise
        return unpacked

    def touch(self, holder: Holder | None) -> None:
        """The holder is being read: others let go before it does."""
        if holder is not None and holder in self._held:
            self._held.move_to_end(holder)

    def release(self, holder: Holder | None) -> None:
        """The holder has been read, or is given up."""
        if holder is not None:
            self._held.pop(holder, None)

    def _make_room(self, byte_count: int) -> None:
        while self.held_bytes + byte_count > self._most_bytes:
            if len(self._held) == 1:
                raise TooMuchUnpacked
            # The last one is the one that needs the room.
            holder, _ = self._held.popitem(last=False)
            holder.discard()


def _gzip(packed: Packed, _: int) -> Iterator[bytes]:
    rest: Packed = packed
    while rest:
        decompressor = zlib.decompressobj(_GZIP_WINDOW_BITS)
        while not decompressor.eof:
            piece = decompressor.decompress(rest, _PIECE_BYTES)
            rest = decompressor.unconsumed_tail
            if not piece and not rest and not decompressor.eof:
                raise EOFError("the compressed data end too early")
            yield piece
        # One member may follow another; zero bytes pad.
        rest = decompressor.unused_data.lstrip(b"\x00")


def _lz4(packed: Packed, _: int) -> Iterator[bytes]:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    piece = decompressor.decompress(packed, _PIECE_BYTES)
    yield piece
    while not decompressor.eof:
        if not piece and decompressor.needs_input:
            raise EOFError("the compressed data end too early")
        piece = decompressor.decompress(b"", _PIECE_BYTES)
        yield piece


def _zstd(packed: Packed, _: int) -> Iterator[bytes]:
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        while piece := reader.read(_PIECE_BYTES):
            yield piece


def _snappy(packed: Packed, most_bytes: int) -> Iterator[bytes]:
    if bytes(packed[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        yield _snappy_block(packed, most_bytes)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(packed):
        (length,) = struct.unpack_from("!i", packed, at)
        at += 4
        if length < 0 or at + length > len(packed):
            raise EOFError("the compressed data end too early")
        piece = _snappy_block(packed[at : at + length], most_bytes)
        most_bytes -= len(piece)
        at += length
        yield piece


def _snappy_block(block: Packed, most_bytes: int) -> bytes:
    # A block begins with its unpacked length, seven bits to a byte, and all of that is allocated at once.
    length = 0
    for place, byte in enumerate(block[:_LENGTH_BYTES]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if length > most_bytes:
        raise TooMuchUnpacked
    unpacked: bytes = snappy.decompress(bytes(block))
    return unpacked


_CODECS: dict[int, Callable[[Packed, int], Iterator[bytes]]] = {
    DefaultRecordBatch.CODEC_GZIP: _gzip,
    DefaultRecordBatch.CODEC_SNAPPY: _snappy,
    DefaultRecordBatch.CODEC_LZ4: _lz4,
    DefaultRecordBatch.CODEC_ZSTD: _zstd,
}
