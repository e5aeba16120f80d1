"""Levels beside the stream: a thread finds intents and topics anew where they are due, one worker to a namespace."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from questream.clustering.background import loose_share
from questream.clustering.levels import LevelRules, load_libraries
from questream.deciding.level_runs import ended_names, is_due, kept_nodes, regroup_levels
from questream.deciding.namespaces import Namespaces
from questream.deciding.paths import LevelSnapshots
from questream.errors import QuestreamError
from questream.metrics import Metrics
from questream.settings.tree import LevelSettings
from questream.store.protocol import LevelsMark, Store
from questream.store.rules_text import level_rules_text
from questream.stream.turns import Turns

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_LOOKED_AT_ONCE = 1000
# Runs take this share of a processor at the most, however fast clusters open, but for a burst of some seconds.
_LARGEST_SHARE = 0.05
_BURST_SECONDS = 1.0
# A run takes seconds, and a worker that dies in one is taken over from so much later.
_LEASE_SECONDS = 60.0
_STOP_SECONDS = 5.0


class LevelRuns:
    """Looks every other second at the namespaces that are open here; off the way of decisions.

    A namespace that is due waits until the runs before have come to their share of the time.
    `snapshots` of the levels that decisions ask for are read anew when any worker has written others.
    `on_failure` is called, in the thread, after an error that no other look can mend; it is `failure` then.
    """

    def __init__(
        self,
        store: Store,
        namespaces: Namespaces,
        snapshots: LevelSnapshots,
        settings: LevelSettings,
        worker: str,
        metrics: Metrics,
        on_failure: Callable[[], None],
        rules: LevelRules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._namespaces = namespaces
        self._snapshots = snapshots
        self._settings = settings
        self._worker = worker
        self._metrics = metrics
        self._on_failure = on_failure
        self._rules = rules or LevelRules()
        self._clock = clock
        # When what was spent on runs has come to its share of the time.
        self._spent_until = 0.0
        self._turns = Turns(_LOOKED_AT_ONCE)
        self._too_large: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="levels", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin, unless the settings switch levels off."""
        if self._settings.enabled:
            load_libraries()
            self._thread.start()

    def stop(self) -> None:
        """End after the run in hand, or without it where that takes long: nothing is lost but that run."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                self.look()
        except BaseException as error:  # carried to the caller of Worker.run
            self.failure = error
            self._on_failure()

    def look(self) -> None:
        """Find the levels of each namespace anew where they are due, and read those that others have found."""
        try:
            marks = self._store.levels_marks(self._turns.next(self._namespaces.opened))
        except QuestreamError as error:
            # The decider meets the same store, and says so.
            logger.debug("levels not looked at", extra={"reason": str(error)})
            return
        # Decisions name published levels alone: an id that is in one outlives the memory of the store.
        published = {
            namespace: mark
            for namespace, mark in marks.items()
            if mark.published == mark.version and (mark.heeding or self._is_too_large(namespace, mark))
        }
        for namespace in self._snapshots.outdated(published):
            try:
                levels = self._store.levels(namespace)
                if levels.version == published[namespace].version:
                    self._snapshots.note(namespace, levels)
            except QuestreamError as error:
                logger.debug("levels not read", extra={"namespace": namespace, "reason": str(error)})
        for namespace, mark in marks.items():
            may_run = self._may_spend() and not self._stopping.is_set()
            if is_due(mark) and not self._is_too_large(namespace, mark) and may_run:
                try:
                    self._regroup(namespace, mark)
                except QuestreamError as error:
                    logger.debug("levels not found anew", extra={"namespace": namespace, "reason": str(error)})

    def _regroup(self, namespace: str, mark: LevelsMark) -> None:
        # A namespace that is being restored is not whole yet.
        if self._store.store_epoch(namespace) is None or not self._store.lease_levels(
            namespace, self._worker, _LEASE_SECONDS
        ):
            return
        started = time.thread_time()
        try:
            self._run_once(namespace, mark)
        finally:
            seconds = time.thread_time() - started
            self._metrics.level_seconds.inc(seconds)
            self._spent_until = max(self._spent_until, self._clock()) + seconds / _LARGEST_SHARE
        self._store.lease_levels(namespace, self._worker, 0)

    def _run_once(self, namespace: str, mark: LevelsMark) -> None:
        stored = self._store.levels(namespace)
        mirror = self._store.load(namespace)
        states = list(self._store.summaries(namespace))
        sizes = {state.cluster_id: state.size for state in states}
        rules = self._rules.in_force(mirror.rules)
        if not mark.by_rules:
            # People want other intents: these are not kept for calm.
            rules = replace(rules, inertia=0.0)
        found, changed_share = regroup_levels(mirror, sizes, stored, rules, kept_nodes(states))
        if self._store.write_levels(namespace, mirror.store_epoch, found, level_rules_text(mirror.rules)):
            self._metrics.level_runs.inc()
            self._metrics.level_changed_share.set(changed_share)
            self._metrics.loose_share.set(loose_share(mirror))
            logger.debug("levels found anew", extra={"namespace": namespace, "clusters": mirror.count})
            for node, into in ended_names(stored, found).items():
                logger.warning(
                    "label and route of an intent or topic ended with it",
                    extra={"namespace": namespace, "ended": str(node), "became": None if into is None else str(into)},
                )

    def _may_spend(self) -> bool:
        return self._spent_until - self._clock() <= _BURST_SECONDS / _LARGEST_SHARE

    def _is_too_large(self, namespace: str, mark: LevelsMark) -> bool:
        too_large = mark.live > self._settings.max_clusters
        if too_large and namespace not in self._too_large:
            logger.warning(
                "a namespace has more clusters than levels.max_clusters: its intents and topics are not updated",
                extra={"namespace": namespace, "clusters": mark.live, "max_clusters": self._settings.max_clusters},
            )
        (self._too_large.add if too_large else self._too_large.discard)(namespace)
        self._metrics.levels_too_large.set(len(self._too_large))
        return too_large
