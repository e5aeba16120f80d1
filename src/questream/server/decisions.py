"""Decisions as they come: one follower of the output topic, and a subscription for each view of a namespace."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from questream.broker.port import Message
from questream.errors import QuestreamError
from questream.preparing import KnownSentences
from questream.records import open_decoder, read_decision
from questream.server.problems import Refused
from questream.settings import Settings
from questream.tools.following import TextOf, open_texts

logger = logging.getLogger(__name__)

MOST_SUBSCRIBERS = 64
_MOST_WAITING = 200
_MOST_LOOKUPS = 100

Decision = dict[str, Any]


@dataclass(eq=False)
class Subscription:
    """A subscription to decisions of one namespace, with the number left out since the last one."""

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
                raise Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"too many look at decisions already, {MOST_SUBSCRIBERS} may",
                    "close a page that is not needed, or ask again",
                )

    @asynccontextmanager
    async def subscribe(self, namespace: str, reads_texts: bool) -> AsyncIterator[Subscription]:
        """The decisions from now on."""
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
        decision = read_decision(message.value)
        if decision is None or decision.get("namespace") not in watched:
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
            document = {**decision, "text": text} if one.reads_texts else decision
            one.loop.call_soon_threadsafe(one.hand, document)


class Texts:
    """Reads the questions of decisions again; what it reads with is opened anew after Kafka failed. For one thread.

    `sentences_of` has what is known of the mails of a namespace.
    """

    def __init__(self, settings: Settings, sentences_of: Callable[[str], KnownSentences]) -> None:
        self._settings = settings
        self._decoder = open_decoder(settings, sentences_of)
        self._opened = ExitStack()
        self._text_of: TextOf | None = None

    def __call__(self, decision: Decision) -> str | None:
        """The text as it was embedded, None where it is not there any more or cannot be read."""
        try:
            if self._text_of is None:
                self._text_of = open_texts(self._settings, self._decoder, self._opened)
            return self._text_of(decision)
        except QuestreamError:
            self._text_of = None
            self._opened.close()
            return None
