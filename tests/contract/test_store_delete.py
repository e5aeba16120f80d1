"""Who holds a namespace may delete it, in every store; what begins anew under its name gives no number again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from questream.domain import NamespaceRules
from questream.errors import NamespaceHeld
from questream.store.protocol import Committed, Store
from tests.contract.test_store import (
    IDENTITY,
    batch,
    commit,
    create_two,
    creation,
    namespace,
    proposal,
    recover,
    row,
    vector,
)
from tests.contract.test_store_operations import pin
from tests.contract.test_store_rules import FINE, set_rules

__all__ = ["namespace"]


def held(store: Store, namespace: str) -> str:
    token = store.hold(namespace, store.store_epoch(namespace) or "", 60)
    assert token is not None
    return token


def test_a_deleted_namespace_is_gone_and_its_numbers_are_not_given_again(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    set_rules(store, namespace, NamespaceRules(), FINE, 2)
    token = held(store, namespace)
    assert store.delete(namespace, token)
    assert namespace not in store.namespaces()
    assert store.namespace_state(namespace) is None
    assert store.store_epoch(namespace) is None

    # Another model, even: nothing is left of what it was built with.
    store.open(namespace, replace(IDENTITY, model="another"))
    recover(store, namespace)
    mirror = store.load(namespace)
    assert (mirror.count, mirror.next_id, mirror.mean_questions, mirror.rules) == (0, 3, 0, NamespaceRules())
    assert (store.operations(namespace, 10), store.unpublished(namespace, 0, 10)) == ([], [])
    assert store.ledger(namespace, "questions", 0).head == -1
    assert store.cluster(namespace, 1) is None
    third = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(0, 3, created=True)), seq=mirror.seq)
    assert isinstance(commit(store, namespace, third), Committed)
    set_rules(store, namespace, NamespaceRules(), FINE, 3)
    assert store.operations(namespace, 1)[0].number == 3


def test_the_number_of_an_operation_that_a_recovery_found_is_not_given_again(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    whole = store.namespace_state(namespace)
    assert whole is not None
    rules = replace(FINE, operation=7)
    store.require_recovery(namespace)
    store.recover(namespace, store.begin_recovery(namespace), replace(whole, rules=rules), {})
    assert store.delete(namespace, held(store, namespace))
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    set_rules(store, namespace, NamespaceRules(), FINE, 1)
    assert store.operations(namespace, 1)[0].number == 8


def test_the_number_of_the_operation_that_deletes_is_not_given_again(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    assert store.delete(namespace, held(store, namespace), 2)
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    set_rules(store, namespace, NamespaceRules(), FINE, 1)
    assert store.operations(namespace, 1)[0].number == 3


def test_only_who_holds_a_namespace_deletes_it(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    token = held(store, namespace)
    with pytest.raises(NamespaceHeld):
        store.begin_recovery(namespace)
    assert not store.delete(namespace, "another")
    store.recover(namespace, token, None, {})
    assert not store.delete(namespace, token)
    assert store.load(namespace).count == 2
