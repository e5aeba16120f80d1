"""Suggestions as events, beside the process that tells events: merges that people's decisions stand in the way of.

Nothing of it is stored. A pair has one id, whoever finds it and when: the topic of events says whether it was told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from questream.domain import format_cluster_id
from questream.errors import QuestreamError
from questream.events.detector import DetectedEvent
from questream.operations.suggesting import Suggestion
from questream.records.events import event_document
from questream.settings import Settings
from questream.store.redis.store import RedisStore, open_store
from questream.tools.suggestions import suggestions
from questream.watch.naming import Take
from questream.watch.telling import MOST_TOLD

logger = logging.getLogger(__name__)

_PASS_SECONDS = 60.0
# To read and compare clusters takes so small a part of a processor at most.
_PASS_SHARE = 1 / 50
# Of one namespace; the next ones are told once these are answered.
_MOST_SUGGESTIONS = 100
_STOP_SECONDS = 5.0


@contextmanager
def suggesting(settings: Settings) -> Iterator[Take]:
    """Suggestions are looked for meanwhile, unless the settings switch that off; gives what takes their events."""
    if not settings.events.suggestions:
        yield list
        return
    suggester = Suggester(settings, open_store(settings.redis))
    suggester.start()
    try:
        yield suggester.take
    finally:
        suggester.stop()


class Suggester:
    """Looks for suggestions until stopped, in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        store: RedisStore,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._store = store
        self._now_ms = now_ms
        self._known: OrderedDict[str, None] = OrderedDict()
        self._found: deque[dict[str, Any]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="suggester", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End after the namespace in hand, or without it where that takes long: nothing is lost."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)

    def take(self) -> list[dict[str, Any]]:
        """The events of suggestions that were found since they were taken last, as CloudEvents. For any thread."""
        taken = []
        while self._found:
            taken.append(self._found.popleft())
        return taken

    def look(self) -> None:
        """Look once at all namespaces of the stream. Raises what the store raises."""
        own = self._settings.kafka.cluster_topic
        for namespace in self._store.namespaces():
            if self._stopping.is_set():
                return
            if self._store.topics(namespace).cluster_topic in ("", own):
                for one in suggestions(self._store, namespace, self._settings, _MOST_SUGGESTIONS):
                    self._note(self._event(namespace, one))

    def _run(self) -> None:
        wait_seconds, is_told = _PASS_SECONDS, False
        while not self._stopping.wait(wait_seconds):
            started = time.thread_time()
            try:
                self.look()
                is_told = False
            except QuestreamError as error:
                level = logging.DEBUG if is_told else logging.WARNING
                logger.log(level, "suggestions could not be looked for", extra={"reason": str(error)})
                is_told = True
            except Exception as error:
                # Its message may hold a question.
                logger.error("suggestions could not be looked for", extra={"error": type(error).__name__})
            wait_seconds = max(_PASS_SECONDS, (time.thread_time() - started) / _PASS_SHARE)

    def _note(self, document: dict[str, Any]) -> None:
        if document["id"] not in self._known:
            self._known[document["id"]] = None
            self._found.append(document)
        if len(self._known) > MOST_TOLD:
            self._known.popitem(last=False)

    def _event(self, namespace: str, one: Suggestion) -> dict[str, Any]:
        """It is of the older of the two; the id has no time, since it is the same event whenever it is found."""
        older, newer = (format_cluster_id(state.cluster_id) for state in one.clusters)
        now = self._now_ms()
        document = event_document(
            namespace, DetectedEvent("suggested", older, now, now, one.size, 0.0), self._settings.kafka.cluster_topic
        )
        data = {**document["data"], "with": newer, "forbidden_by": list(one.forbidden_by)}
        return {**document, "id": f"{namespace}/{older}/suggested/{newer}", "data": data}
