"""Suggestions as events, in a thread of the process that publishes events: clusters to merge, to name or to split.

Nothing of it is stored. A suggestion has one id, whichever process finds it and when: by it the topic of events
shows whether it was published.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from questream.domain import format_cluster_id
from questream.errors import QuestreamError
from questream.events.detector import DetectedEvent
from questream.metrics import EventMetrics
from questream.records.events import event_document
from questream.settings import Settings
from questream.store.redis.store import RedisStore, open_store
from questream.tools.suggestions import mixed_clusters, suggestions, unnamed
from questream.watch.detection import MOST_EVENTS
from questream.watch.naming import Take

logger = logging.getLogger(__name__)

_PASS_SECONDS = 60.0
# The model is loaded for it, and gone again until then.
_SPLITS_SECONDS = 3600.0
# To read and compare clusters takes so small a part of a processor at most.
_PASS_SHARE = 1 / 50
# Of one namespace and kind; the next ones are published once these are answered.
_MOST_SUGGESTIONS = 100
_STOP_SECONDS = 5.0
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@contextmanager
def suggesting(settings: Settings, metrics: EventMetrics) -> Iterator[Take]:
    """Suggestions are looked for meanwhile, unless the settings switch that off; gives what takes their events."""
    if not settings.events.suggestions:
        yield list
        return
    suggester = Suggester(settings, open_store(settings.redis), metrics)
    suggester.start()
    try:
        yield suggester.take
    finally:
        suggester.stop()
        metrics.suggestions.clear()


class Suggester:
    """Looks for suggestions until stopped, in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        store: RedisStore,
        metrics: EventMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._splits_at = clock()
        # Namespaces, each with the kind of suggestion; '' for all.
        self._failing: set[tuple[str, str]] = set()
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
        """Look once at all namespaces of the stream. Raises what the store raises if it cannot list them."""
        failing = set[tuple[str, str]]()
        kinds = self._kinds()
        counts = Counter(dict.fromkeys(kinds, 0))
        for namespace in self._store.namespaces():
            try:
                looked_for = kinds if self._belongs_to_stream(namespace) else {}
            except QuestreamError as error:
                looked_for = {}
                failing.add((namespace, ""))
                self._log_failure(error, namespace)
            for kind, find in looked_for.items():
                if self._stopping.is_set():
                    return
                try:
                    for document in find(namespace):
                        self._note(document)
                        counts[kind] += 1
                except QuestreamError as error:
                    failing.add((namespace, kind))
                    self._log_failure(error, namespace, kind)
        self._failing = failing
        # Counts of a process that has stopped would be shown beside those of the next.
        if not self._stopping.is_set():
            unknown = {kind for _, kind in failing}
            self._count(counts, unknown=set(kinds) if "" in unknown else unknown)

    def _count(self, counts: Mapping[str, int], unknown: Set[str]) -> None:
        """Report the number of open suggestions, except for a namespace that could not be read: unknown is not 0."""
        for kind, count in counts.items():
            if kind in unknown:
                self._metrics.suggestions.remove(kind)
            else:
                self._metrics.suggestions.labels(kind).set(count)

    def _belongs_to_stream(self, namespace: str) -> bool:
        return self._store.topics(namespace).cluster_topic in ("", self._settings.kafka.cluster_topic)

    def _kinds(self) -> Mapping[str, Callable[[str], Iterator[dict[str, Any]]]]:
        """The kinds of suggestions of this round; the most expensive comes last."""
        cheap = {"merge": self._merges, "name": self._names}
        if not self._settings.events.split_suggestions or self._clock() < self._splits_at:
            return cheap
        self._splits_at = self._clock() + _SPLITS_SECONDS
        return {**cheap, "split": self._splits}

    def _merges(self, namespace: str) -> Iterator[dict[str, Any]]:
        for one in suggestions(self._store, namespace, self._settings, _MOST_SUGGESTIONS):
            older, newer = (format_cluster_id(state.cluster_id) for state in one.clusters)
            more = {"with": newer, "forbidden_by": list(one.forbidden_by)}
            yield self._event(namespace, "merge", older, one.size, newer, more)

    def _names(self, namespace: str) -> Iterator[dict[str, Any]]:
        for state in unnamed(self._store, namespace, _MOST_SUGGESTIONS):
            yield self._event(namespace, "name", format_cluster_id(state.cluster_id), state.size, "name")

    def _splits(self, namespace: str) -> Iterator[dict[str, Any]]:
        for one in mixed_clusters(self._store, namespace, self._settings, _MOST_SUGGESTIONS):
            yield self._event(namespace, "split", format_cluster_id(one.state.cluster_id), one.state.size, "split")

    def _run(self) -> None:
        wait_seconds = _PASS_SECONDS
        while not self._stopping.wait(wait_seconds):
            started = time.thread_time()
            try:
                self.look()
            except QuestreamError as error:
                self._metrics.suggestions.clear()
                self._log_failure(error)
                self._failing.add(("", ""))
            except Exception as error:
                self._metrics.suggestions.clear()
                # Its message may hold a question.
                logger.error("suggestions could not be looked for", extra={"error": type(error).__name__})
            wait_seconds = max(_PASS_SECONDS, (time.thread_time() - started) / _PASS_SHARE)

    def _log_failure(self, error: QuestreamError, namespace: str = "", kind: str = "") -> None:
        """Log why a kind is not looked for in a namespace, or none of it, or none at all: once, until it was again."""
        level = logging.DEBUG if (namespace, kind) in self._failing else logging.WARNING
        extra = {"reason": str(error), "namespace": namespace, "suggestion": kind}
        named = {name: value for name, value in extra.items() if value}
        logger.log(level, "suggestions could not be looked for", extra=named)

    def _note(self, document: dict[str, Any]) -> None:
        if document["id"] not in self._known:
            self._known[document["id"]] = None
            self._found.append(document)
        if len(self._known) > MOST_EVENTS:
            self._known.popitem(last=False)

    def _event(
        self, namespace: str, suggestion: str, cluster: str, size: int, ending: str, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """It is of the older of two; the id has no time, since it is the same event whenever it is found."""
        now = time.time_ns() // 1_000_000
        document = event_document(
            namespace, DetectedEvent("suggested", cluster, now, now, size, 0.0), self._settings.kafka.cluster_topic
        )
        data = {**document["data"], "suggestion": suggestion, **more}
        return {**document, "id": f"{namespace}/{cluster}/suggested/{ending}", "data": data}
