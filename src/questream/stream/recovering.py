"""Recovery of namespaces by a worker: within a session only where the cluster topic has nothing of them.

To restore many clusters takes longer than the group waits for a member that does not poll. So the session ends, and the
next begins with what was lost, before it joins the group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from questream.errors import NamespaceHeld, RecoveryNeeded
from questream.recovery.recover import StoreRecovery
from questream.store.protocol import Store


class Recovering:
    """Recovers namespaces that are opened. `in_session` is true while the worker is a member of its group."""

    def __init__(self, store: Store, recovery: StoreRecovery, in_session: Callable[[], bool]) -> None:
        self._store = store
        self._recovery = recovery
        self._in_session = in_session

    def recover(self, namespace: str) -> None:
        """Recover a namespace, or raise RecoveryNeeded in a session if the topic has it; and what the store raises."""
        # Raises NamespaceHeld where nobody but the holder recovers it.
        self._store.begin_recovery(namespace)
        damage = self._recovery.damage(namespace)
        if damage is not None:
            raise damage
        if self._in_session() and self._recovery.is_published(namespace):
            raise RecoveryNeeded(f"namespace {namespace!r} is restored before the worker joins its group again")
        self._recovery.recover(namespace)

    def recover_all(self, namespaces: Collection[str]) -> None:
        """As `recover`, of those that are not damaged."""
        whole = [name for name in namespaces if self._recovery.damage(name) is None]
        unrecovered = [name for name in whole if self._store.store_epoch(name) is None]
        if unrecovered and self._in_session():
            # One look at the topic for all of them: each waits for the transactions that are open in it.
            for name in self._recovery.published_namespaces().intersection(unrecovered):
                # One that somebody holds is recovered by nobody else.
                with suppress(NamespaceHeld):
                    self._store.begin_recovery(name)
                    raise RecoveryNeeded("namespaces are restored before the worker joins its group again")
        self._recovery.recover_all(unrecovered)
