"""The namespaces that a worker opens: recovered at once, and built with the model that is theirs by now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from questream.clustering.rules import Rules
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore

FORMER = NamespaceConfig(Identity("former", "1", 4, "cosine", "average", 0.7), Rules(0.7, 0.7))
CONFIG = NamespaceConfig(replace(FORMER.identity, model="later"), Rules(0.8, 0.8))


def test_many_namespaces_are_recovered_at_once_but_for_those_that_are_refused() -> None:
    store = MemoryStore()
    Namespaces(store, FORMER).open("of-another-model")
    asked: list[Collection[str]] = []
    namespaces = Namespaces(store, CONFIG, recover_all=asked.append)
    namespaces.open_all(["shop", "of-another-model", "bank"])
    assert asked == [["bank", "shop"]]
    namespaces.open_all(["of-another-model"])
    assert len(asked) == 1


def test_where_nothing_is_published_elsewhere_namespaces_are_recovered_as_they_stand() -> None:
    store = MemoryStore()
    namespaces = Namespaces(store, CONFIG)
    namespaces.open_all(["shop", "bank"])
    epochs = {namespace: store.store_epoch(namespace) for namespace in ("shop", "bank")}
    assert all(epochs.values())
    namespaces.open_all(["shop", "bank"])
    assert {namespace: store.store_epoch(namespace) for namespace in epochs} == epochs


def test_a_namespace_that_was_moved_to_another_model_is_served_by_it() -> None:
    store = MemoryStore()
    Namespaces(store, FORMER).recovered("shop")
    namespaces = Namespaces(store, CONFIG, former=FORMER)
    store_epoch = namespaces.recovered("shop")
    assert namespaces.config_of("shop") == FORMER
    whole = store.namespace_state("shop")
    token = store.hold("shop", store_epoch, 60.0)
    assert whole is not None
    assert token is not None
    store.recover("shop", token, replace(whole, model="later", generation=1), {})
    assert namespaces.recovered("shop") != store_epoch
    assert namespaces.config_of("shop") == CONFIG
