"""The catalogues of the namespaces that are looked at: read from the store once, then kept up by the cluster topic."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from questream.domain import ClusterState
from questream.errors import QuestreamError
from questream.garbage import garbage_collection_delayed
from questream.naming.names import Vocabulary, name_of
from questream.server.catalogue import Catalogue
from questream.server.failures import Failures, read_failure, without_traceback
from questream.server.problems import loading
from questream.store.protocol import OPERATIONS_KEPT, Store

logger = logging.getLogger(__name__)

_MOST_NAMESPACES = 64
_MOST_DEAD_IDS = 500_000
_CHUNK = 1000
_WAIT_SECONDS = 0.5
_CHECK_SECONDS = 10.0
# How often a catalogue is read again while the cluster topic cannot be followed.
_UNFOLLOWED_SECONDS = 120.0


@dataclass(slots=True)
class _Kept:
    """A catalogue with the store epoch that it was read in, and why it could not be read, if so.

    It has all operations up to the number `decided`, and later ones that were published by then.
    """

    catalogue: Catalogue
    store_epoch: str | None
    read_at: float
    checked_at: float
    decided: int
    read: threading.Event = field(default_factory=threading.Event)
    failure: QuestreamError | None = None
    missed_changes: bool = False
    name_changes: int = 0


class Catalogues:
    """Catalogues by namespace, at most 64; the one used least recently is let go. For any thread.

    `is_following` says whether changes that workers publish arrive at `follow`; while they do not, a catalogue is read
    anew from time to time. One that is read anew stays in use meanwhile.
    """

    def __init__(
        self, store: Store, is_following: Callable[[], bool], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self.is_following = is_following
        self._now = now
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._reading: dict[str, _Kept] = {}
        self._failures = Failures(now)

    def get(self, namespace: str, wait_seconds: float = _WAIT_SECONDS) -> Catalogue:
        """The catalogue of a namespace that is in the store.

        Raises Refused while it is being read for the first time, and what the store raises: that is raised again for a
        while before the store is asked again.
        """
        return self._get(namespace, wait_seconds).catalogue

    def separations(self, namespace: str, cluster_ids: Collection[int]) -> dict[int, tuple[str, ...]]:
        """The live ones of these clusters, with the latest operations. Raises as `get`.

        What was decided elsewhere is in a catalogue only once it is published: the operations since are read, which are
        few, and not thousands of clusters.
        """
        kept = self._get(namespace, _WAIT_SECONDS)
        later = self._store.operations_from(namespace, kept.decided + 1, OPERATIONS_KEPT)
        if later and later[0].number > kept.decided + 1:
            # More than the store keeps: it is read anew, with the states that it has by now.
            kept.missed_changes, kept.checked_at = True, -math.inf
            states = self._store.states(namespace, list(cluster_ids))
            return {state.cluster_id: state.ruling.separations for state in states if state.merged_into is None}
        known = kept.catalogue.separations({*cluster_ids, *(number for one in later for number in one.after)})
        found = {number: known[number][0] for number in cluster_ids if number in known}
        is_complete = True
        for one in later:
            new = [number for number in one.after if number in known and known[number][1] < one.number]
            found.update((number, one.after[number].separations) for number in new if number in found)
            for number in new if one.survivor is not None else ():
                if number != one.survivor:
                    found.pop(number, None)
            is_complete = is_complete and not new
            if is_complete:
                kept.decided = max(kept.decided, one.number)
        return found

    def _get(self, namespace: str, wait_seconds: float) -> _Kept:
        with self._guard:
            kept = self._kept.get(namespace)
            if kept is not None:
                self._kept.move_to_end(namespace)
        if kept is not None:
            self._check(namespace, kept)
            return kept
        self._failures.check(namespace)
        reading = self._begin(namespace)
        if not reading.read.wait(wait_seconds):
            raise loading(f"the clusters of {namespace}")
        if reading.failure is not None:
            raise without_traceback(reading.failure)
        return reading

    def vocabulary(self, namespace: str) -> Vocabulary:
        """The words of a namespace by how many clusters have them; none while its clusters are being read."""
        kept = self._kept.get(namespace)
        return Vocabulary() if kept is None else kept.catalogue.vocabulary

    def name_of(self, namespace: str, state: ClusterState) -> str | None:
        """The name that a cluster is shown by to those who may read texts."""
        kept = self._kept.get(namespace)
        return name_of(state, Vocabulary()) if kept is None else kept.catalogue.name_of(state)

    def follow(self, state: ClusterState) -> None:
        """A worker published this state, or an operation made it."""
        with self._guard:
            found = [known.get(state.namespace) for known in (self._kept, self._reading)]
        for kept in found:
            if kept is not None:
                kept.catalogue.put([state])

    def watches(self, namespace: str) -> bool:
        """True if this namespace was requested before."""
        return namespace in self._kept or namespace in self._reading

    def reload(self) -> None:
        """Some changes may have been missed: what is asked for next is read from the store again."""
        with self._guard:
            for kept in (*self._kept.values(), *self._reading.values()):
                kept.missed_changes, kept.checked_at = True, -math.inf

    def _check(self, namespace: str, kept: _Kept) -> None:
        """Have a catalogue read anew, beside the requests, if it is not what the store holds."""
        now = self._now()
        if now - kept.checked_at <= _CHECK_SECONDS:
            return
        kept.checked_at = now
        is_old = now - kept.read_at > _UNFOLLOWED_SECONDS and not self.is_following()
        if kept.missed_changes or is_old or self._store.store_epoch(namespace) != kept.store_epoch:
            self._begin(namespace)
        elif self._store.name_changes(namespace) != kept.name_changes:
            self._read_names(namespace, kept)

    def _read_names(self, namespace: str, kept: _Kept) -> None:
        # The number first: what is written meanwhile is read the next time.
        kept.name_changes = self._store.name_changes(namespace)
        if kept.name_changes:
            made = self._store.made_names(namespace)
            kept.catalogue.put_names({cluster_id: name.name for cluster_id, name in made.items()})

    def _begin(self, namespace: str) -> _Kept:
        with self._guard:
            if namespace in self._reading:
                # A page asks hundreds of times, and the store need not be asked each time.
                return self._reading[namespace]
        store_epoch, last = self._store.store_epoch(namespace), self._store.operations(namespace, 1)
        with self._guard:
            if namespace in self._reading:
                return self._reading[namespace]
            # Before it is read, so that no change is missed meanwhile.
            kept = _Kept(Catalogue(namespace), store_epoch, self._now(), self._now(), last[0].number if last else 0)
            self._reading[namespace] = kept
        threading.Thread(target=self._read, args=(namespace, kept), name=f"catalogue-{namespace}", daemon=True).start()
        return kept

    def _read(self, namespace: str, kept: _Kept) -> None:
        started = time.monotonic()
        try:
            with garbage_collection_delayed():
                kept.catalogue.put(self._store.summaries(namespace))
            self._read_names(namespace, kept)
        except Exception as error:
            kept.failure = read_failure(error, f"the clusters of {namespace}")
            self._failures.add(namespace, kept.failure)
            logger.warning("clusters could not be read", extra={"namespace": namespace, "reason": str(kept.failure)})
        else:
            self._failures.clear(namespace)
        finally:
            with self._guard:
                self._reading.pop(namespace, None)
                if kept.failure is None:
                    self._kept[namespace] = kept
                    while len(self._kept) > _MOST_NAMESPACES:
                        self._kept.popitem(last=False)
            kept.read.set()
        if kept.failure is None:
            seconds = round(time.monotonic() - started, 1)
            logger.info(
                "the clusters of a namespace were read",
                extra={"namespace": namespace, "clusters": len(kept.catalogue), "seconds": seconds},
            )
            self._read_merged(namespace, kept.catalogue)

    def _read_merged(self, namespace: str, catalogue: Catalogue) -> None:
        """The clusters that were merged into live ones: only for display, so that a failure is only logged."""
        try:
            whole = self._store.namespace_state(namespace)
            dead = [] if whole is None else catalogue.missing(whole.next_cluster, _MOST_DEAD_IDS)
            for start in range(0, len(dead), _CHUNK):
                states = self._store.states(namespace, dead[start : start + _CHUNK])
                catalogue.put(state for state in states if state.merged_into is not None)
        except Exception as error:
            reason = str(read_failure(error, f"the merged clusters of {namespace}"))
            logger.warning("merged clusters could not be read", extra={"namespace": namespace, "reason": reason})
