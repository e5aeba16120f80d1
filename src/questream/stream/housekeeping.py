"""Between batches: retire what is due, and publish what dead workers left in the outboxes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from questream.deciding.namespaces import Namespaces
from questream.errors import NamespaceHeld, NamespaceRefused, StoreUnavailable
from questream.store.protocol import Store, StoreError, Waiting
from questream.stream.publishing import Publishing
from questream.stream.refusal import pass_over
from questream.stream.retirement import Retirement
from questream.stream.retry import Retry
from questream.stream.turns import Turns

# The worker that commits also publishes, at once; what waits for longer than this was left behind by a dead one.
_LEFT_BEHIND_SECONDS = 10.0
_SWEEP_SECONDS = 2.0
_SWEEP_PAGES = 16
_SWEEP_NAMESPACES = 64


class Housekeeping:
    """Sweeps the namespaces by turns. It belongs to the thread of `publishing`; `on_sweep` is called at each sweep."""

    def __init__(
        self,
        namespaces: Namespaces,
        store: Store,
        publishing: Publishing,
        retirement: Retirement,
        retry: Retry,
        own_namespace: str,
        on_sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self._namespaces = namespaces
        self._store = store
        self._publishing = publishing
        self._retirement = retirement
        self._retry = retry
        self._own_namespace = own_namespace
        self._on_sweep = on_sweep
        self._not_served: set[str] = set()
        self._next_sweep = self._next_look = 0.0
        self._turns = Turns(_SWEEP_NAMESPACES)

    def sweep(self) -> None:
        """Every other second at most."""
        if time.monotonic() >= self._next_sweep:
            self._publishing.confirm()
            self._on_sweep()
            self._open_others()
            turn = self._turns.next(self._namespaces.opened)
            for namespace, waiting in self._retry.call(self._waiting, turn).items():
                try:
                    self._sweep(namespace, waiting)
                except NamespaceRefused as error:
                    pass_over(namespace, self._own_namespace, error)
            # From its end: a store that is far away must not have every batch followed by a sweep.
            self._next_sweep = time.monotonic() + _SWEEP_SECONDS

    def _open_others(self) -> None:
        """Open namespaces that no question has come to yet: what a dead worker left in their outboxes is published too.

        Those of another stream or model are left to its workers.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LEFT_BEHIND_SECONDS
        others = self._namespaces.unopened(self._retry.call(self._store.namespaces))
        self._not_served &= others
        for namespace in sorted(others - self._not_served)[:_SWEEP_NAMESPACES]:
            with suppress(NamespaceHeld):
                try:
                    self._retry.call(self._namespaces.open, namespace)
                except NamespaceRefused:
                    self._not_served.add(namespace)

    def _waiting(self, namespaces: Sequence[str]) -> Mapping[str, Waiting | StoreError]:
        """The entries that wait in each outbox, in one round trip. Raises StoreUnavailable if one cannot be read."""
        found = self._store.waiting(namespaces, _LEFT_BEHIND_SECONDS, 1)
        unavailable = [error for error in found.values() if isinstance(error, StoreUnavailable)]
        if unavailable:
            raise unavailable[0]
        return found

    def _sweep(self, namespace: str, waiting: Waiting | StoreError) -> None:
        if not isinstance(waiting, Waiting):
            raise waiting
        if waiting.store_epoch is None:
            return
        if waiting.operations:
            self._publishing.relay_operations(namespace)
        if waiting.levels:
            self._publishing.relay_levels(namespace)
        self._retirement.sweep(namespace, waiting.rules)
        for _ in range(_SWEEP_PAGES if waiting.cluster_ids else 0):
            if not self._publishing.relay_pending(namespace, _LEFT_BEHIND_SECONDS):
                break
