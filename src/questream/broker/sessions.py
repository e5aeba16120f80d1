"""Sessions with Kafka: one after the other, until the process is stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from questream.errors import QuestreamError, Superseded, recourse_of

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0


def run_sessions(
    session: Callable[[], None], stopping: threading.Event, on_lost: Callable[[QuestreamError], None]
) -> None:
    """Run sessions until `stopping`; raises what cannot be mended by a new one, such as a missing topic or right.

    `on_lost` gets the error of each other session that failed, and may raise what mends it.
    """
    pause = _FIRST_PAUSE_SECONDS
    while not stopping.is_set():
        started = time.monotonic()
        try:
            session()
        except Superseded:
            logger.info("another process has the turn now; waiting for it")
        except QuestreamError as error:
            if not recourse_of(error).may_pass:
                raise
            on_lost(error)
            logger.warning("session with Kafka lost; starting a new one", extra={"reason": str(error)})
        if time.monotonic() - started > _LONGEST_PAUSE_SECONDS:
            pause = _FIRST_PAUSE_SECONDS
        stopping.wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
