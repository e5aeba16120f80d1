"""The time that an HTTP server asks a client to wait."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

_MOST_SECONDS = 3600.0


def seconds_to_wait(retry_after: str) -> float:
    """Seconds from now on, an hour at most, of a number of them or a date (RFC 9110, 10.2.3); 0 of what is neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), _MOST_SECONDS)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    # A date of HTTP is one of UTC, whether it says so or not.
    seconds = until.replace(tzinfo=until.tzinfo or UTC).timestamp() - time.time()
    return min(max(0.0, seconds), _MOST_SECONDS)
