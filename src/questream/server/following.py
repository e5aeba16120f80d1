"""A topic followed in a thread, from where it ends, without a group; a broker that fails is tried again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from questream.broker.connect import open_reader
from questream.broker.port import Consumer, Message
from questream.broker.reading import start_at
from questream.errors import BadRecord, QuestreamError
from questream.records import decode_cluster_state, is_cluster_key
from questream.server.catalogues import Catalogues
from questream.settings import Settings

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_CLOSE_SECONDS = 3.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Follower:
    """Hands each record of a topic to `take`, in a thread of its own, until it is closed.

    `on_start` is called whenever it begins at the topic's end, before the first record: earlier records were missed.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        take: Callable[[Message], None],
        on_start: Callable[[], None],
        start: Callable[[Consumer, str], object] = lambda consumer, topic: start_at(consumer, topic, "end"),
    ) -> None:
        """`start` assigns the topic's partitions, at their ends unless it takes some of what they hold."""
        self._settings = settings
        self._start = start
        self._topic = topic
        self._take = take
        self._on_start = on_start
        self._closed = threading.Event()
        self._following = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"follow-{topic}", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    @property
    def is_following(self) -> bool:
        """True if records arrive as they are published."""
        return self._following.is_set()

    def wait_until_following(self, seconds: float) -> None:
        """Until records arrive, or for so long."""
        self._following.wait(seconds)

    def close(self) -> None:
        """End the thread; what it reads then is dropped."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        pause, logged = _FIRST_PAUSE_SECONDS, ""
        while not self._closed.is_set():
            try:
                self._follow()
            except QuestreamError as error:
                # A stream may have no topic of events: to say so once is enough.
                if logged != str(error) or self._following.is_set():
                    logger.warning("a topic is not followed", extra={"topic": self._topic, "reason": str(error)})
                logged = str(error)
            except Exception as error:
                # Its text is not shown: it may quote a record.
                logger.error("a topic is not followed", extra={"topic": self._topic, "error": type(error).__name__})
            pause = _FIRST_PAUSE_SECONDS if self._following.is_set() else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._following.clear()
            self._closed.wait(pause)

    def _follow(self) -> None:
        with open_reader(self._settings) as consumer:
            self._start(consumer, self._topic)
            self._on_start()
            self._following.set()
            while not self._closed.is_set():
                for messages in consumer.poll(_POLL_SECONDS).values():
                    for message in messages:
                        self._take(message)


def take_states(catalogues: Catalogues) -> Callable[[Message], None]:
    """Keeps catalogues up to date with the records of the cluster topic."""

    def take(message: Message) -> None:
        key = message.key or b""
        if not is_cluster_key(key) or not catalogues.watches(key.partition(b"/")[0].decode(errors="replace")):
            return
        try:
            catalogues.follow(decode_cluster_state(key, message.value))
        except BadRecord:
            logger.warning("a record of the cluster topic is not a state", extra={"offset": message.offset})

    return take
