"""Milliseconds since the epoch to RFC 3339 (`2026-11-24T02:18:00.123Z`) and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
EARLIEST_MS = -62_135_596_800_000
LATEST_MS = 253_402_300_799_999


def format_time(milliseconds: int) -> str:
    """UTC with milliseconds. What lies outside the years 1 to 9999 becomes their first or last millisecond.

    A record's timestamp is any 64-bit number that its producer sent, micro- or nanoseconds by mistake included.
    """
    if not EARLIEST_MS <= milliseconds <= LATEST_MS:
        milliseconds = EARLIEST_MS if milliseconds < EARLIEST_MS else LATEST_MS
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_format_second(seconds)}.{rest:03d}Z"


def to_the_minute(time: str) -> str:
    """A time of `format_time` as people read it."""
    return time[:16].replace("T", " ")


def parse_time(text: str) -> int:
    """Milliseconds since the epoch.

    Raises ValueError if `text` is not RFC 3339 with an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset from UTC, such as Z")
    return (moment - _EPOCH) // _MILLISECOND


# All decisions of a batch fall into a second or two.
@lru_cache(maxsize=1024)
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
