"""stdout and stderr as commands need them, whatever the shell made of them: closed, full, broken or not UTF-8."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_STREAMS = {0: ("stdin", "r"), 1: ("stdout", "w"), 2: ("stderr", "w")}
_ESCAPE = "questream-escape"


def open_streams() -> None:
    """Make the process's own streams safe to write to; streams that somebody has put in their place stay.

    A descriptor that is closed leads nowhere: a file that is opened later must not get its number, or the logs go
    into it. What cannot be written to stderr is dropped. A character that a stream's encoding lacks is written as
    JSON escapes it.
    """
    codecs.register_error(_ESCAPE, _escape)
    for descriptor, (name, mode) in _STREAMS.items():
        if getattr(sys, name) is None:
            _open_nowhere(descriptor)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _wrapped(_Watched(sys.stdout.fileno(), "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _wrapped(_Lossy(sys.stderr.fileno(), "w", closefd=False), sys.stderr)


def close_streams() -> OSError | None:
    """Flush stdout's buffers; returns stdout's first error, once."""
    # The error is remembered; ValueError: closed before, so written out.
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Watched) or raw.reported:
        return None
    raw.reported = raw.failure is not None
    return raw.failure


def writable(text: str) -> str:
    """The text with the characters that stdout's encoding lacks already escaped: as wide as it will be written."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, _ESCAPE).decode(encoding)


def is_utf8(stream: TextIO) -> bool:
    """True if a stream of text takes every character unchanged."""
    # A stream in memory names no encoding.
    return codecs.lookup(stream.encoding or "utf-8").name == "utf-8"


def as_utf8(stream: Any) -> Any:
    """A stream of data for a program: the terminal's encoding is no matter of a file's."""
    if isinstance(stream, io.TextIOWrapper) and not is_utf8(stream):
        stream.reconfigure(encoding="utf-8", errors=_ESCAPE)
    return stream


class _Lossy(io.FileIO):
    """A descriptor that drops what it cannot write: nobody reads it, or its disk is full."""

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        # None also where a reader is slow and the descriptor does not block.
        return memoryview(data).nbytes if written is None else written


class _Watched(io.FileIO):
    """A descriptor that raises its first error and keeps it; later writes are dropped."""

    failure: OSError | None = None
    reported = False

    def write(self, data: Any, /) -> int:
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
                raise
        return memoryview(data).nbytes


def _wrapped(raw: io.FileIO, stream: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        _ESCAPE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)), error.end
