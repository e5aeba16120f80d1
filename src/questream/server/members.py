"""Questions that clusters keep references to, for those who may read texts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from questream.clustering.kept_members import KeptMember
from questream.errors import QuestreamError
from questream.tools.members import Member

logger = logging.getLogger(__name__)

# A page waits no longer for Kafka, and shows the questions' places alone.
_LONGEST_WAIT_SECONDS = 2.0
_MOST_WAITING = 16

Read = Callable[[int, str, Sequence[KeptMember]], list[Member]]


class MemberTexts:
    """Reads members beside the requests, one request's after the other. For any thread."""

    def __init__(self, read: Read) -> None:
        """`read` gives the members of a cluster's number in a namespace, and may be slow."""
        self._read = read
        self._room = threading.Semaphore(_MOST_WAITING)
        self._reader = ThreadPoolExecutor(1, "members")

    def read(self, cluster_id: int, namespace: str, kept: Sequence[KeptMember]) -> list[Member] | None:
        """The members with their questions; None where Kafka does not give them in time."""
        if not self._room.acquire(blocking=False):
            return None
        future = self._reader.submit(self._read, cluster_id, namespace, kept)
        future.add_done_callback(lambda _: self._room.release())
        try:
            return future.result(_LONGEST_WAIT_SECONDS)
        except TimeoutError:
            return None
        except QuestreamError as error:
            logger.warning("questions were not read again", extra={"error": type(error).__name__})
            return None
