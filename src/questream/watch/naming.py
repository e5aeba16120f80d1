"""Names that a language model makes for clusters, in a thread of the process that publishes events.

A cluster is named once it is large enough, from the questions that it keeps, the most typical ones. It gets another
name when its centroid has moved, and that is an event. What an operator names is passed over.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from questream.clustering.kept_members import KeptMember
from questream.domain import ClusterState, format_cluster_id
from questream.errors import QuestreamError, SettingsError
from questream.events.detector import DetectedEvent
from questream.metrics import EventMetrics
from questream.naming.making import MOST_QUESTIONS, messages_for, name_in, place_of, similarity_to
from questream.records.events import event_document
from questream.settings import Settings
from questream.store.protocol import MadeName, Store
from questream.store.redis.store import open_store
from questream.tools.kept_questions import KeptQuestions, still_kept
from questream.tools.members import First, Member
from questream.watch.names_endpoint import Answer, NamesEndpoint

logger = logging.getLogger(__name__)

Read = Callable[[int, str, Sequence[KeptMember]], list[Member]]
Take = Callable[[], list[dict[str, Any]]]

_PASS_SECONDS = 10.0
# To read all clusters takes so small a part of the time at most; to wait for the model is not counted.
_PASS_SHARE = 1 / 20
_MOST_CANDIDATES = 1000
_MOST_NAMES = 20_000
_MOST_TRIED = 100_000
# A cluster that grew less cannot have moved far; after a refused answer it has to grow more.
_GROWN = 1.25
_GROWN_AFTER_REFUSAL = 2.0
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 1800.0
_HOUR_MS = 3_600_000
# So long after a name was made its event is published, should the process have ended before that.
_UNPUBLISHED_MS = 86_400_000


def check_names(settings: Settings) -> None:
    """Raises SettingsError where names are to be made and cannot be."""
    names = settings.names
    if names.endpoint is None:
        return
    if names.model is None:
        raise SettingsError("names.endpoint is set and names.model is not", "name a model that the endpoint has")
    if not settings.clusters.keep_texts:
        raise SettingsError(
            "names.endpoint is set and clusters.keep_texts is off: a name is made of questions",
            "unset names.endpoint, or keep texts",
        )


@contextmanager
def naming(settings: Settings, metrics: EventMetrics) -> Iterator[Take]:
    """Clusters are named meanwhile, if the settings name an endpoint; gives what takes the events of it."""
    if settings.names.endpoint is None:
        yield list
        return
    with closing(KeptQuestions(settings)) as kept:
        namer = Namer(settings, open_store(settings.redis), kept.read, metrics)
        namer.start()
        try:
            yield namer.take
        finally:
            namer.stop()


class _Tried(NamedTuple):
    """The size that a cluster had when it was looked at, and the size from which on it is looked at again."""

    size: int
    again_at: float


class Budget:
    """Requests of the last hour, `most` of them at most."""

    def __init__(self, most: int, now_ms: Callable[[], int]) -> None:
        self._most = most
        self._now_ms = now_ms
        self._spent: deque[int] = deque(maxlen=most)

    def spend(self, at_ms: int | None = None) -> None:
        """A request is made, or was made then."""
        self._spent.append(self._now_ms() if at_ms is None else at_ms)

    @property
    def is_spent(self) -> bool:
        """True if the next request has to wait."""
        hour_ago = self._now_ms() - _HOUR_MS
        return len(self._spent) == self._most and min(self._spent) > hour_ago


class Namer:
    """Names clusters until stopped, in a thread of its own. `read` gives the questions that a cluster keeps."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        read: Read,
        metrics: EventMetrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._names = settings.names
        self._topic = settings.kafka.cluster_topic
        self._store = store
        self._read = read
        self._metrics = metrics
        self._now_ms = now_ms
        self._endpoint = NamesEndpoint(settings.names)
        self._budget = Budget(settings.names.per_hour, now_ms)
        self._tried: dict[tuple[str, int], _Tried] = {}
        self._looked_at: set[str] = set()
        self._renamed: deque[dict[str, Any]] = deque()
        self._stopping = threading.Event()
        self._pause_seconds = self._reading_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="namer", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for the request in hand."""
        self._stopping.set()
        self._thread.join(self._names.timeout_seconds + 5)

    def take(self) -> list[dict[str, Any]]:
        """The events of names that changed since they were taken last, as CloudEvents. For any thread."""
        taken = []
        while self._renamed:
            taken.append(self._renamed.popleft())
        return taken

    def look(self) -> None:
        """Look once at all clusters, and name as many as the budget allows. Raises what the store raises."""
        for namespace in self._store.namespaces():
            if self._stopping.is_set() or not self._look_at(namespace):
                return

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._reading_seconds = 0.0
            try:
                self.look()
            except QuestreamError as error:
                logger.warning("clusters could not be named", extra={"reason": str(error)})
            except Exception as error:
                # Its message may hold a question.
                logger.error("clusters could not be named", extra={"error": type(error).__name__})
            self._stopping.wait(max(_PASS_SECONDS, self._reading_seconds / _PASS_SHARE, self._pause_seconds))

    def _look_at(self, namespace: str) -> bool:
        """Name what is due; False where nothing more can be asked for now."""
        made = self._store.made_names(namespace)
        if namespace not in self._looked_at:
            self._looked_at.add(namespace)
            self._recall(namespace, made)
        live: set[int] = set()

        def candidates() -> Iterable[tuple[int, int]]:
            for state in self._store.summaries(namespace):
                live.add(state.cluster_id)
                if self._is_due(namespace, state, made.get(state.cluster_id)):
                    yield state.size, state.cluster_id

        started = time.monotonic()
        due = heapq.nlargest(_MOST_CANDIDATES, candidates())
        self._reading_seconds += time.monotonic() - started
        gone = made.keys() - live
        if gone:
            self._write(namespace, dict.fromkeys(gone))
        room = _MOST_NAMES - len(made) + len(gone)
        for _, cluster_id in due:
            if self._stopping.is_set() or self._budget.is_spent:
                return False
            former = made.get(cluster_id)
            if former is None and room <= 0:
                continue
            room -= former is None
            if not self._name(namespace, cluster_id, former):
                return False
        return True

    def _recall(self, namespace: str, made: dict[int, MadeName]) -> None:
        """Requests of before this process count, and so do events that may not have been published."""
        now = self._now_ms()
        for cluster_id, name in sorted(made.items(), key=lambda item: item[1].made_at):
            if now - name.made_at < _HOUR_MS:
                self._budget.spend(name.made_at)
            if name.former is not None and now - name.made_at < _UNPUBLISHED_MS:
                self._renamed.append(self._event(namespace, cluster_id, name))

    def _is_due(self, namespace: str, state: ClusterState, former: MadeName | None) -> bool:
        if state.label or state.size < self._names.least_questions or not state.representative:
            return False
        tried = self._tried.get((namespace, state.cluster_id))
        if tried is not None:
            return state.size >= tried.again_at
        return former is None or state.size >= former.size * _GROWN

    def _name(self, namespace: str, cluster_id: int, former: MadeName | None) -> bool:
        """Name a cluster if it needs one; False where the endpoint is to be left alone for now."""
        as_of = self._store.name_changes(namespace)
        state = next(iter(self._store.states(namespace, [cluster_id])), None)
        if state is None or state.vector_sum is None or state.label:
            return True
        if former is not None and similarity_to(former.place, state.vector_sum) >= self._names.moved_below:
            self._remember(namespace, state, _GROWN)
            return True
        questions = self._questions(namespace, state)
        self._budget.spend()
        answer = self._endpoint.ask(messages_for(questions))
        if answer.text is None:
            self._wait(answer)
            return False
        self._pause_seconds = 0.0
        name = name_in(answer.text, questions)
        if name is None:
            self._metrics.names.labels("refused").inc()
            self._remember(namespace, state, _GROWN_AFTER_REFUSAL)
            return True
        self._keep(namespace, state, name, former, as_of)
        return True

    def _keep(self, namespace: str, state: ClusterState, name: str, former: MadeName | None, as_of: int) -> None:
        """Write a name; where somebody erased texts since `as_of`, it is made anew with the next look."""
        place = "" if state.vector_sum is None else place_of(state.vector_sum)
        made = MadeName(name, self._names.model or "", self._now_ms(), state.size, place)
        if former is not None and former.name == name:
            made = made._replace(made_at=former.made_at, former=former.former)
        elif former is not None:
            made = made._replace(former=former.name)
        if not self._write(namespace, {state.cluster_id: made}, as_of):
            return
        self._remember(namespace, state, _GROWN)
        self._metrics.names.labels("made").inc()
        # After it is stored: a crash in between leaves an event that `_recall` publishes.
        if former is not None and former.name != name:
            self._renamed.append(self._event(namespace, state.cluster_id, made))

    def _questions(self, namespace: str, state: ClusterState) -> list[str]:
        """The most typical questions that it keeps, as they were embedded; else the one that founded it."""
        kept = still_kept(self._store, namespace, state, First.TYPICAL)[:MOST_QUESTIONS]
        members = self._read(state.cluster_id, namespace, kept) if kept else []
        return [one.question.text for one in members if one.question is not None] or [state.representative or ""]

    def _wait(self, answer: Answer) -> None:
        self._metrics.names.labels("failed").inc()
        longer = min(max(_FIRST_PAUSE_SECONDS, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS)
        self._pause_seconds = max(longer, answer.wait_seconds)
        logger.warning(
            "names.endpoint made no name; trying again",
            extra={"fault": answer.fault, "wait_seconds": round(self._pause_seconds)},
        )

    def _remember(self, namespace: str, state: ClusterState, grown: float) -> None:
        self._tried[namespace, state.cluster_id] = _Tried(state.size, state.size * grown)
        if len(self._tried) > _MOST_TRIED:
            self._tried.pop(next(iter(self._tried)))

    def _write(self, namespace: str, names: Mapping[int, MadeName | None], as_of: int | None = None) -> bool:
        store_epoch = self._store.store_epoch(namespace)
        return store_epoch is not None and self._store.write_names(namespace, store_epoch, names, as_of)

    def _event(self, namespace: str, cluster_id: int, made: MadeName) -> dict[str, Any]:
        """The event that a cluster has another name, without the name, which is made of questions."""
        event = DetectedEvent("renamed", format_cluster_id(cluster_id), made.made_at, made.made_at, 0, 0.0)
        document = event_document(namespace, event, self._topic)
        return {**document, "data": {**document["data"], "renamed_by": "model"}}
