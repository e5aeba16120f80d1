"""What deletes a namespace, or says that it was deleted, where no broker is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from questream import QuestionClusterer
from questream.broker.port import Outgoing
from questream.domain import Operation, OperationKind
from questream.errors import OperationRefused, RecoveryNeeded
from questream.migration import deleting
from questream.migration.deleting import Deletion, delete_namespace, deletion_known_as
from questream.recovery.operation_topic import PublishedOperations
from questream.settings import Settings
from questream.store.reference.store import MemoryStore

SETTINGS = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
KEYS = [b"default", b"default/c1"]


class Here(MemoryStore):
    """A store that no other has served."""

    def home(self, _: str) -> bytes | None:
        return None


class Topics:
    """What the topics hold, and what was published to them; they are read and written on Kafka itself elsewhere."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys = KEYS
        self.of_operations: PublishedOperations | None = PublishedOperations()
        self.published_records: list[Outgoing] = []
        self.meanwhile: Callable[[], object] = lambda: None
        monkeypatch.setattr(deleting, "_keys", lambda *_: self.keys)
        monkeypatch.setattr(deleting, "OperationTopic", lambda _: self)
        monkeypatch.setattr(deleting, "publish_held", self.publish)

    def exists(self) -> bool:
        self.meanwhile()
        return self.of_operations is not None

    def published(self) -> dict[str, PublishedOperations]:
        return {} if self.of_operations is None else {"default": self.of_operations}

    def publish(self, _: Settings, store: MemoryStore, namespace: str, token: str, records: Any, __: str) -> None:
        assert store.still_holds(namespace, token, 60.0)
        self.published_records += cast("Sequence[Outgoing]", records)


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    return Topics(monkeypatch)


@pytest.fixture
def store() -> Here:
    made = Here()
    QuestionClusterer(dimension=3, similarity="cosine", store=made).assign([[1.0, 0, 0], [0, 1.0, 0]])
    return made


def delete(store: Here) -> Deletion:
    return delete_namespace(SETTINGS, cast("Any", store), "default")


def recover(store: Here) -> None:
    store.require_recovery("default")
    store.recover("default", store.begin_recovery("default"), None, {})


def test_a_namespace_that_has_to_be_recovered_is_not_deleted(store: Here, topics: Topics) -> None:
    store.require_recovery("default")
    with pytest.raises(RecoveryNeeded, match="is not recovered"):
        delete(store)
    assert topics.published_records == []


def test_a_namespace_that_is_recovered_while_the_topic_is_read_is_not_deleted(store: Here, topics: Topics) -> None:
    topics.meanwhile = lambda: recover(store)
    with pytest.raises(RecoveryNeeded, match="nothing was deleted"):
        delete(store)
    assert topics.published_records == []
    assert len(list(store.clusters("default"))) == 2


def test_a_namespace_that_is_recovered_behind_its_tombstones_is_said_to_be_there(
    store: Here, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "publish_held", lambda *_: recover(store))
    with pytest.raises(RecoveryNeeded, match="delete it again"):
        delete(store)
    assert topics.published_records == []


def test_a_deletion_is_told_where_there_is_a_topic_for_that(store: Here, topics: Topics) -> None:
    deletion = delete(store)
    assert deletion.operation is not None
    assert (deletion.tombstones, deletion.operation.kind, deletion.operation.number) == (2, "delete", 1)
    operation_topic = SETTINGS.kafka.operation_topic
    assert [(one.topic == operation_topic, one.value is None) for one in topics.published_records] == [
        (False, True),
        (False, True),
        (True, False),
    ]


def test_without_a_topic_of_operations_only_tombstones_are_published(store: Here, topics: Topics) -> None:
    topics.of_operations = None
    assert delete(store) == Deletion(2, None)
    assert [(one.key, one.value) for one in topics.published_records] == [(key, None) for key in KEYS]


def test_a_deletion_is_known_by_its_id_and_another_operation_is_refused(topics: Topics) -> None:
    kinds: list[OperationKind] = ["pin", "delete"]
    kept = [Operation(kind, number, kind, "ann", "", 5, {}, {}) for number, kind in enumerate(kinds, 1)]
    topics.of_operations = PublishedOperations({one.number: one for one in kept}, 2)
    assert deletion_known_as(SETTINGS, "default", "delete") == kept[1]
    assert deletion_known_as(SETTINGS, "default", "another") is None
    with pytest.raises(OperationRefused, match="that of operation 1"):
        deletion_known_as(SETTINGS, "default", "pin")


def test_without_an_id_no_topic_is_read() -> None:
    """There is no broker here."""
    assert deletion_known_as(SETTINGS, "default", "") is None
