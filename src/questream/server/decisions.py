"""Decisions as they come: one follower of the output topic, and whoever looks at a namespace subscribes."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from questream.broker.connect import open_reader
from questream.broker.port import Message
from questream.broker.reading import RecordLookup, partitions_of
from questream.errors import BadRecord, QuestreamError
from questream.records import open_decoder
from questream.server.problems import Refused
from questream.settings import Settings

logger = logging.getLogger(__name__)

MOST_SUBSCRIBERS = 64
_MOST_WAITING = 200
_MOST_LOOKUPS = 100

Decision = dict[str, Any]
TextOf = Callable[[Decision], str | None]


@dataclass(eq=False)
class Subscription:
    """What somebody looks at: decisions of one namespace, and how many were left out since the last one."""

    namespace: str
    reads_texts: bool
    loop: asyncio.AbstractEventLoop
    waiting: asyncio.Queue[Decision] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))
    skipped: int = 0

    def hand(self, decision: Decision) -> None:
        """Put it into the queue, or count it where too many wait. Called by the loop."""
        try:
            self.waiting.put_nowait(decision)
        except asyncio.QueueFull:
            self.skipped += 1


class Decisions:
    """Hands decisions to subscribers. `take` is for the thread that follows the topic, all else for any."""

    def __init__(self, text_of: TextOf) -> None:
        """`text_of` may be slow; it is asked, in a thread of its own, only for those who read texts."""
        self._text_of = text_of
        self._guard = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._lookups: queue.Queue[Decision] = queue.Queue(_MOST_LOOKUPS)
        threading.Thread(target=self._look_up, name="texts", daemon=True).start()

    def require_room(self) -> None:
        """Raises Refused where as many look as may."""
        with self._guard:
            if len(self._subscriptions) >= MOST_SUBSCRIBERS:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many look at decisions already")

    @asynccontextmanager
    async def subscribe(self, namespace: str, reads_texts: bool) -> AsyncIterator[Subscription]:
        """What comes from now on."""
        subscription = Subscription(namespace, reads_texts, asyncio.get_running_loop())
        with self._guard:
            self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            with self._guard:
                self._subscriptions.discard(subscription)

    def take(self, message: Message) -> None:
        """A record of the output topic."""
        with self._guard:
            watched = {one.namespace for one in self._subscriptions}
            wanted = {one.namespace for one in self._subscriptions if one.reads_texts}
        if not watched:
            return
        try:
            decision = orjson.loads(message.value or b"")
        except orjson.JSONDecodeError:
            return
        if not isinstance(decision, dict) or decision.get("namespace") not in watched:
            return
        if decision["namespace"] not in wanted:
            self._hand(decision, None)
            return
        try:
            self._lookups.put_nowait(decision)
        except queue.Full:
            self._hand(decision, None)

    def _look_up(self) -> None:
        while True:
            decision = self._lookups.get()
            text = None
            try:
                text = self._text_of(decision)
            except Exception as error:
                # Its text is not shown: it may quote the record.
                logger.warning("a question was not read again", extra={"error": type(error).__name__})
            self._hand(decision, text)

    def _hand(self, decision: Decision, text: str | None) -> None:
        with self._guard:
            subscriptions = [one for one in self._subscriptions if one.namespace == decision["namespace"]]
        for one in subscriptions:
            told = {**decision, "text": text} if one.reads_texts else decision
            one.loop.call_soon_threadsafe(one.hand, told)


class Texts:
    """Reads the questions of decisions again from the input topic; for one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = open_decoder(settings)
        self._reader: Any = None
        self._lookup: RecordLookup | None = None
        self._partitions: set[int] = set()

    def __call__(self, decision: Decision) -> str | None:
        """The text as it was embedded, None where it is not there any more or cannot be read."""
        topic, source = self._settings.kafka.input_topic, decision.get("source")
        try:
            lookup = self._opened()
            # Only what this stream reads: the output topic may hold decisions of another input.
            if not isinstance(source, dict) or source.get("topic") != topic:
                return None
            if source.get("partition") not in self._partitions:
                return None
            record = lookup.find(topic, int(source["partition"]), int(source.get("offset", -1)))
            return None if record is None else self._decoder.decode(record).text
        except BadRecord:
            return None
        except QuestreamError:
            self._close()
            return None

    def _opened(self) -> RecordLookup:
        if self._lookup is None:
            self._reader = open_reader(self._settings, isolation="read_uncommitted")
            consumer = self._reader.__enter__()
            self._partitions = {one.partition for one in partitions_of(consumer, self._settings.kafka.input_topic)}
            self._lookup = RecordLookup(consumer)
        return self._lookup

    def _close(self) -> None:
        reader, self._reader, self._lookup = self._reader, None, None
        if reader is not None:
            reader.__exit__(None, None, None)
