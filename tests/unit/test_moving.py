"""A move to another model that cannot be made is refused, and lets the namespace go on as it was."""

from __future__ import annotations

import pytest

from questream import QuestionClusterer
from questream.clustering.rules import Rules
from questream.domain import NamespaceState
from questream.errors import RecoveryNeeded
from questream.migration.moving import TextsMissing, move
from questream.migration.rebuilding import Rebuilding
from questream.operations import By, Decisions
from questream.settings import Settings
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from tests.kit.vectors import hash_encoder

NEW = hash_encoder("another", "2")
IDENTITY = Identity(NEW.name, NEW.revision, NEW.dimension, "cosine", "adaptive", 0.7, "")
TEXTS = ["where is my card", "how do I pay"]


class Read(Rebuilding):
    """Counts how often it is brought up to what is published."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, "default", None, NEW, Rules(0.7, 0.7, "cosine"), lambda *_: None)
        self.passes = 0

    def read_rest(self) -> None:
        self.passes += 1
        super().read_rest()


class Gone(MemoryStore):
    """Its namespace is gone once it is held."""

    def namespace_state(self, namespace: str) -> NamespaceState | None:
        return super().namespace_state(namespace) if self.store_epoch(namespace) else None


def grown(texts: list[str] | None = None, store: MemoryStore | None = None) -> MemoryStore:
    store = store or MemoryStore()
    QuestionClusterer(dimension=3, similarity="cosine", store=store).assign([[1.0, 0, 0], [0, 1.0, 0]], texts)
    return store


def try_to_move(store: MemoryStore, rebuilding: Read | None = None, retire_unread: bool = False) -> None:
    """No broker is there that it could be published to."""
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    move(settings, store, "default", rebuilding or Read(store), IDENTITY, retire_unread=retire_unread)


def test_a_namespace_that_has_to_be_recovered_is_not_moved() -> None:
    store = grown(TEXTS)
    store.require_recovery("default")
    with pytest.raises(RecoveryNeeded, match="is not recovered, or is being moved"):
        try_to_move(store)


def test_a_namespace_whose_questions_are_nowhere_is_let_go_again() -> None:
    store = grown()
    with pytest.raises(TextsMissing, match="--retire-unread"):
        try_to_move(store)
    assert store.store_epoch("default") is not None
    assert len(list(store.clusters("default"))) == 2


def test_a_cluster_that_people_named_is_not_retired_though_its_questions_are_nowhere() -> None:
    store = grown()
    decisions = Decisions(store, "default", By("ann"))
    decisions.commit(decisions.label(2, "payments", None))
    with pytest.raises(TextsMissing, match="people named or ruled them") as raised:
        try_to_move(store, retire_unread=True)
    assert raised.value.cluster_ids == [2]


def test_a_namespace_that_is_gone_meanwhile_is_not_moved() -> None:
    with pytest.raises(RecoveryNeeded, match="is gone"):
        try_to_move(grown(TEXTS, Gone()))


def test_a_move_that_has_come_near_reads_no_further_before_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    store = grown()
    rebuilding = Read(store)
    with pytest.raises(TextsMissing):
        try_to_move(store, rebuilding)
    # Once before the namespace is held, and once after.
    assert rebuilding.passes == 2
    monkeypatch.setattr("questream.migration.moving._SHORT_PASS_SECONDS", 0.0)
    with pytest.raises(TextsMissing):
        try_to_move(store, rebuilding)
    assert rebuilding.passes == 2 + 20 + 1
