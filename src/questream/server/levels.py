"""The intents and topics that somebody looks at: read once for each version, with the clusters that are new since."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from questream.clustering.level_places import PlacedLevels, place
from questream.clustering.levels import LevelRules, Levels, Node, leaf
from questream.clustering.stored_levels import StoredLevels, Within
from questream.deciding.paths import LevelsNow
from questream.garbage import garbage_collection_delayed
from questream.server.mirrors import Mirrors
from questream.server.problems import Refused
from questream.store.protocol import Store
from questream.tools.communities import Clusters, Communities, Places

_MOST_NAMESPACES = 8
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Kept:
    stored: StoredLevels
    places: Places
    # With the clusters that are new since; the mirror's lock is held while these are added.
    placed: PlacedLevels


_NONE = _Kept(StoredLevels(), Places.of(Levels()), PlacedLevels(Levels()))


@dataclass(slots=True)
class _Namespace:
    """The levels of a namespace that were read last. A caller waits while they are being read."""

    kept: _Kept = _NONE
    reading: threading.Lock = field(default_factory=threading.Lock)


class CurrentLevels:
    """Levels by namespace, at most 8; those used least recently are let go. For any thread.

    From `start` on they are read as soon as a worker has found others, so that a request rarely has to: those of
    100,000 clusters take half a second.
    """

    def __init__(self, store: Store, mirrors: Mirrors) -> None:
        self._store = store
        self._mirrors = mirrors
        self._guard = threading.Lock()
        self._namespaces: OrderedDict[str, _Namespace] = OrderedDict()
        self._closed = threading.Event()

    def start(self) -> None:
        """Keep up with what the workers find, in the background."""
        threading.Thread(target=self._keep_up, name="levels", daemon=True).start()

    def close(self) -> None:
        """End that."""
        self._closed.set()

    def of(self, namespace: str, clusters: Clusters) -> Communities | None:
        """The intents and topics of these clusters, None before a worker has found any.

        A cluster that is new since they were found is where the clusters nearest to it are, as the paths of decisions
        have it; it is in none as long as the centroids are being read.
        """
        kept = self._current(namespace)
        if not kept.stored.version:
            return None
        later = clusters.ids[clusters.ids > kept.stored.opened].tolist()
        new = sorted(number for number in later if not kept.stored.knows(number))
        placed = self._place(namespace, kept, new)
        return Communities(kept.stored, clusters, kept.places.with_new(placed, kept.stored.levels))

    def stored(self, namespace: str) -> StoredLevels:
        """The levels in the store; of version 0 before a worker has found any."""
        return self._current(namespace).stored

    def now(self, namespace: str) -> LevelsNow:
        """As `stored`, with the clusters that were placed since; who places more of them holds the mirror's lock."""
        kept = self._current(namespace)
        return LevelsNow(kept.stored, kept.placed)

    def within(self, namespace: str, cluster_id: int) -> Within | None:
        """Intent and topic of a cluster, None where unknown; as decisions have them, once the centroids are read."""
        kept = self._current(namespace)
        if not kept.stored.version:
            return None
        if kept.stored.knows(cluster_id):
            return kept.stored.within(kept.stored.levels.path(cluster_id))
        if not self._place(namespace, kept, [cluster_id]):
            return None
        return kept.stored.within(kept.placed.levels.path(cluster_id))

    def _keep_up(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            with self._guard:
                namespaces = list(self._namespaces)
            for namespace in namespaces:
                try:
                    self._current(namespace)
                except Exception:  # noqa: S112 - a request meets it too, and reports it
                    continue

    def _current(self, namespace: str) -> _Kept:
        version = self._version(namespace)
        if not version:
            # Another namespace of this name may come to the same version.
            with self._guard:
                self._namespaces.pop(namespace, None)
            return _NONE
        known = self._known(namespace)
        if known.kept.stored.version == version:
            return known.kept
        with known.reading:
            # What was read while this thread waited may be newer than what it asked for.
            if known.kept.stored.version != self._version(namespace):
                with garbage_collection_delayed():
                    stored = self._store.levels(namespace)
                    known.kept = _Kept(stored, Places.of(stored.levels), PlacedLevels(stored.levels))
            return known.kept

    def _version(self, namespace: str) -> int:
        """The version of the levels in the store, 0 for none."""
        mark = self._store.levels_marks([namespace]).get(namespace)
        return 0 if mark is None else mark.version

    def _known(self, namespace: str) -> _Namespace:
        with self._guard:
            known = self._namespaces.setdefault(namespace, _Namespace())
            self._namespaces.move_to_end(namespace)
            while len(self._namespaces) > _MOST_NAMESPACES:
                self._namespaces.popitem(last=False)
            return known

    def _place(self, namespace: str, kept: _Kept, new: Sequence[int]) -> dict[int, Node]:
        """The intents and topics of these new clusters, as far as they are near to others."""
        try:
            if not kept.placed.seen.issuperset(new):
                with self._mirrors.of(namespace) as mirror:
                    place(mirror, kept.placed, LevelRules(), new)
        except Refused:
            # The centroids are being read: the next request finds them.
            pass
        parents = kept.placed.levels.parents
        return {number: parents[leaf(number)] for number in new if leaf(number) in parents}
