"""The namespaces that a worker has opened: what each is built with, and where its ledgers end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from questream.deciding.config import NamespaceConfig
from questream.errors import IdentityMismatch, NamespaceRefused, RecoveryNeeded
from questream.store.protocol import NO_TOPICS, Ledger, Store, StreamTopics

logger = logging.getLogger(__name__)


class Namespaces:
    """Opens namespaces of one store, and recovers them where need be. Safe from any thread.

    New namespaces are built with `config`; those that were built with `former`, and not moved yet, go on with that:
    `config_of(namespace)` says what the vectors of its questions have to be of. Namespaces of another stream than that
    of `topics` are refused. `recover` compares a namespace whose store may have lost its memory with what was
    published, `recover_all` many of them; without it nothing is ever published elsewhere.
    """

    def __init__(
        self,
        store: Store,
        config: NamespaceConfig,
        *,
        former: NamespaceConfig | None = None,
        topics: StreamTopics = NO_TOPICS,
        recover: Callable[[str], None] | None = None,
        recover_all: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self._store = store
        self._known = [config, *([former] if former else [])]
        self._topics = topics
        self._recover = recover or self._recover_from_store_alone
        self._recover_all = recover_all or self._recover_each
        # Written under the lock, but for the heads; each read is one look into a dictionary, which needs none.
        self._opening = threading.Lock()
        self._configs: dict[str, NamespaceConfig] = {}
        # The store epoch that a namespace's config was looked up in: moving it to another model begins a new one.
        self._looked_up_in: dict[str, str] = {}
        # Where the ledgers of partitions were last seen to end, and in which store epoch: one that ends before is lost.
        self._heads: dict[tuple[str, str, int], tuple[str, int]] = {}

    def __getstate__(self) -> dict[str, object]:
        # As in MemoryStore: what a notebook pickles.
        return {name: value for name, value in self.__dict__.items() if name != "_opening"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._opening = threading.Lock()

    @property
    def opened(self) -> list[str]:
        """The namespaces that were opened here, in order of their names."""
        return sorted(self._configs)

    def unopened(self, namespaces: Iterable[str]) -> set[str]:
        """The namespaces that were not opened here yet."""
        return {namespace for namespace in namespaces if namespace not in self._configs}

    def config_of(self, namespace: str) -> NamespaceConfig:
        """The config of an opened namespace, as of the last ledger of it that was `recorded`."""
        return self._configs[namespace]

    def open(self, namespace: str) -> None:
        """Create the namespace or check that its model is one of ours.

        Raises IdentityMismatch if it was built with another model.
        """
        with self._opening:
            if namespace not in self._configs:
                config = self._open_in_store(namespace)
                self._compare_preparation(namespace, config.identity.prepared_by)
                self._configs[namespace] = config

    def open_all(self, namespaces: Iterable[str]) -> None:
        """Open and recover namespaces at once; `recorded` raises for one that is refused."""
        opened = []
        for namespace in sorted(namespaces):
            with suppress(NamespaceRefused):
                self.open(namespace)
                opened.append(namespace)
        if opened:
            self._recover_all(opened)

    def recovered(self, namespace: str) -> str:
        """The current store epoch of the namespace, recovered where need be."""
        self.open(namespace)
        while True:
            store_epoch = self._store.store_epoch(namespace)
            if store_epoch is not None:
                self._look_up_config(namespace, store_epoch)
                return store_epoch
            self._recover_opened(namespace)

    def recorded(self, namespace: str, topic: str, partition: int) -> Ledger:
        """The decisions that a partition already has."""
        self.open(namespace)
        while True:
            try:
                ledger = self._store.ledger(namespace, topic, partition)
            except RecoveryNeeded:
                self._recover_opened(namespace)
                continue
            self._look_up_config(namespace, ledger.store_epoch)
            self.note_head(namespace, (topic, partition), ledger.store_epoch, ledger.head)
            return ledger

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        """The name of a stream's topic in the store, and whether it is new."""
        return self._store.stream(topic, identity)

    def forget(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        """Forget the recorded decisions of a partition from `offset` on, which other records have."""
        ledger = self._store.cut_ledger(namespace, topic, partition, offset)
        self.note_head(namespace, (topic, partition), ledger.store_epoch, ledger.head)
        return ledger

    def forget_in_all(self, topic: str, partition: int, offset: int) -> None:
        """As `forget`, in all namespaces of the store."""
        for namespace in self._store.namespaces():
            with suppress(NamespaceRefused):
                if self._store.store_epoch(namespace) is None:
                    # A worker that died may have let it begin and never opened it.
                    self.recovered(namespace)
                self.forget(namespace, topic, partition, offset)

    def note_head(self, namespace: str, at: tuple[str, int], store_epoch: str, head: int) -> None:
        """The ledger of this topic and partition ends at the offset `head` now."""
        self._heads[namespace, *at] = (store_epoch, head)

    def known_heads(
        self, namespace: str, store_epoch: str, places: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], int]:
        """The heads of the ledgers of these topics and partitions, as last seen in this store epoch, if they were."""
        seen = {at: self._heads.get((namespace, *at), ("", -1)) for at in places}
        return {at: head for at, (seen_in, head) in seen.items() if seen_in == store_epoch}

    def _look_up_config(self, namespace: str, store_epoch: str) -> None:
        """Look up the namespace's config; after `store_epoch` was read, so that it is of no earlier one."""
        with self._opening:
            if self._looked_up_in.get(namespace) != store_epoch:
                self._configs[namespace] = self._open_in_store(namespace)
                self._looked_up_in[namespace] = store_epoch

    def _open_in_store(self, namespace: str) -> NamespaceConfig:
        """The first of the models known here that the namespace is, or can be, built with."""
        mismatch: IdentityMismatch | None = None
        for config in self._known:
            try:
                self._store.open(namespace, config.identity, self._topics)
            except IdentityMismatch as error:
                mismatch = mismatch or error
            else:
                return config
        assert mismatch is not None  # noqa: S101 - there is at least one config
        raise mismatch

    def _compare_preparation(self, namespace: str, ours: str) -> None:
        first = self._store.prepared_by(namespace)
        if first is not None and first != ours:
            logger.warning(
                "the namespace was begun with texts that were prepared in another way: its clusters hold both",
                extra={"namespace": namespace, "prepared_by": ours, "begun_with": first},
            )

    def _recover_opened(self, namespace: str) -> None:
        # The store may have forgotten that there is such a namespace.
        self._open_in_store(namespace)
        self._recover(namespace)

    def _recover_each(self, namespaces: Collection[str]) -> None:
        for namespace in namespaces:
            if self._store.store_epoch(namespace) is None:
                self._recover(namespace)

    def _recover_from_store_alone(self, namespace: str) -> None:
        self._store.recover(namespace, self._store.begin_recovery(namespace), None, {})
