"""The lease of a worker that recovers: the others are refused, and one that lost it is told before it writes."""

from __future__ import annotations

import threading

import pytest

from questream.errors import RecoveryNeeded
from questream.recovery.lease import RecoveryLease
from questream.store.protocol import Store
from tests.contract.test_store import namespace
from tests.kit.stream import wait_until

__all__ = ["namespace"]


def lease_of(store: Store, seconds: float) -> RecoveryLease:
    return RecoveryLease(store, threading.Event().wait, seconds)


@pytest.fixture
def token(store: Store, namespace: str) -> str:
    store.require_recovery(namespace)
    return store.begin_recovery(namespace)


def test_one_worker_at_a_time_recovers_and_leaves_it_to_the_next(store: Store, namespace: str, token: str) -> None:
    ada, bob = lease_of(store, 60), lease_of(store, 60)
    with ada.held(namespace, token) as is_adas, bob.held(namespace, token) as is_bobs:
        assert (is_adas, is_bobs) == (True, False)
        ada.require()
    with bob.held(namespace, token) as is_bobs:
        assert is_bobs


def test_a_worker_whose_recovery_was_overtaken_is_told(store: Store, namespace: str, token: str) -> None:
    def is_lost() -> bool:
        try:
            ada.require()
        except RecoveryNeeded:
            return True
        return False

    # Renewed five times within its seconds.
    ada = lease_of(store, 0.2)
    with ada.held(namespace, token) as is_adas:
        assert is_adas
        # The namespace is recovered behind its back: its token is of before.
        store.recover(namespace, token, None, {})
        wait_until(is_lost, "the lease is found to be lost")
    # Of a lease that another has by now, or that it takes later, it has lost nothing.
    store.require_recovery(namespace)
    again = store.begin_recovery(namespace)
    with lease_of(store, 60).held(namespace, again), ada.held(namespace, again) as is_adas:
        assert not is_adas
        ada.require()
    with ada.held(namespace, again) as is_adas:
        assert is_adas
        ada.require()
