"""The mirrors of the namespaces in use, each brought up to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from questream.clustering.background import least_threshold
from questream.clustering.mirror import Change, Mirror
from questream.clustering.nearest import Neighbour, nearest_clusters
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import features
from questream.deciding.namespaces import Namespaces
from questream.domain import Vector
from questream.errors import RecoveryNeeded
from questream.store.protocol import Store, Tail

logger = logging.getLogger(__name__)


class Mirrors:
    """Mirrors by namespace, `most` at most, the one used last at the end. They belong to one thread."""

    def __init__(self, store: Store, namespaces: Namespaces, most: int | None = None) -> None:
        self._store = store
        self._namespaces = namespaces
        self._most = most
        self._mirrors: dict[str, Mirror] = {}
        # The namespaces whose threshold was too low when their mirror was loaded first.
        self._warned: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        """The namespaces that have a mirror."""
        return iter(self._mirrors)

    @property
    def cluster_count(self) -> int:
        """Live clusters in all mirrors."""
        return sum(mirror.count for mirror in self._mirrors.values())

    def follow(self, namespace: str) -> Mirror:
        """The namespace's mirror, loaded where need be."""
        mirror = self._mirrors.get(namespace)
        if mirror is None:
            self._namespaces.open(namespace)
            mirror = self._load(namespace)
        return mirror

    def nearest(self, namespace: str, vector: Vector, limit: int, text: str = "") -> list[Neighbour]:
        """The clusters nearest to a unit vector (d,), read-only; those near enough get a second look by its text."""
        mirror, rules = self.follow(namespace), self.rules(namespace)
        return nearest_clusters(mirror, rules, vector, limit, features(text) if rules.judges else ())

    def rules(self, namespace: str) -> Rules:
        """The rules in force: those of the namespace's config, but for what people set, as of the mirror's seq."""
        return self._namespaces.config_of(namespace).rules.in_force(self.follow(namespace).rules)

    def require_epoch(self, namespace: str, store_epoch: str) -> None:
        """Load the mirror anew where it is of another store epoch. Raises RecoveryNeeded if it still is."""
        if self.follow(namespace).store_epoch != store_epoch and self._load(namespace).store_epoch != store_epoch:
            raise RecoveryNeeded(f"the store was recovered anew since the ledgers of {namespace!r} were read")

    def make_room(self, in_use: Iterable[str]) -> list[str]:
        """Let the mirrors go that were not used for longest, and return whose; they can be loaded again."""
        for namespace in in_use:
            self._mirrors[namespace] = self._mirrors.pop(namespace)
        excess = 0 if self._most is None else max(0, len(self._mirrors) - self._most)
        least_used = list(self._mirrors)[:excess]
        for namespace in least_used:
            del self._mirrors[namespace]
        return least_used

    def forget(self, namespace: str) -> None:
        """Follow the namespace no longer."""
        self._mirrors.pop(namespace, None)

    def catch_up(self, namespace: str) -> None:
        """Follow what others committed while there was nothing to decide."""
        mirror = self.follow(namespace)
        try:
            self.apply(namespace, self._store.tail(namespace, mirror.store_epoch, mirror.seq))
        except RecoveryNeeded:
            # Not left to the next question: what is in the store is shown to people.
            self._namespaces.recovered(namespace)
            self._load(namespace)

    def apply(self, namespace: str, missed: Tail) -> set[int] | None:
        """Follow the log; returns the changed rows, or None where the mirror fell behind and was loaded anew.

        Raises RecoveryNeeded where that shows another store epoch.
        """
        mirror = self.follow(namespace)
        if missed.changes is None:
            logger.warning("fell behind the log, loading the mirror again", extra={"namespace": namespace})
            if self._load(namespace).store_epoch != mirror.store_epoch:
                raise RecoveryNeeded(f"the store was recovered anew while namespace {namespace!r} was decided in")
            return None
        rows = mirror.apply(missed.changes)
        mirror.seq = missed.seq
        return rows

    def advance(self, namespace: str, missed: Tail, seq: int, own: Sequence[Change]) -> Mirror:
        """Apply the changes of others, then our own: the mirror is at `seq`."""
        if self.apply(namespace, missed) is not None:
            mirror = self.follow(namespace)
            mirror.apply(own)
            mirror.seq = seq
        return self.follow(namespace)

    def _load(self, namespace: str) -> Mirror:
        mirror = self._mirrors[namespace] = self._store.load(namespace)
        self._compare_threshold(namespace, self.rules(namespace), mirror)
        return mirror

    def _compare_threshold(self, namespace: str, rules: Rules, mirror: Mirror) -> None:
        least = least_threshold(mirror.mean_sum, mirror.mean_questions, rules.similarity)
        if least is None or rules.threshold >= least or namespace in self._warned:
            return
        self._warned.add(namespace)
        logger.warning(
            "unrelated questions reach the threshold: clusters become heaps",
            extra={"namespace": namespace, "threshold": rules.threshold, "least_threshold": least},
        )
