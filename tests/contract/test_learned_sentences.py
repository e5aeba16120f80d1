"""What a worker knows of the sentences of mails, by each store."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any, cast

import pytest

from questream.broker import port
from questream.clustering.rules import Rules
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.domain import Record, Source
from questream.errors import RecoveryNeeded
from questream.preparing.repeated import LEAST_MAILS, MOST_SENTENCES, SentenceCounts
from questream.records import QuestionDecoder
from questream.settings import InputSettings
from questream.store.protocol import Store
from questream.store.redis.store import RedisStore
from questream.stream.fence import Fence
from questream.stream.polling import PollingRetry
from questream.stream.retry import Retry
from questream.stream.sentences import Sentences
from tests.contract.on_redis import KEYS
from tests.contract.test_store import IDENTITY

MAIL = b"Dear support team,\n\nKiosk Aldermoor, desk Vantry.\nCan I pay by card?\n\nKind regards,\nAnna Meyer"


class Consumer:
    """Notes the threads that poll it."""

    def __init__(self) -> None:
        self.polled_by: set[int] = set()

    def assignment(self) -> set[Any]:
        return set()

    def paused(self) -> set[Any]:
        return set()

    def pause(self, partitions: set[Any]) -> None: ...

    def resume(self, partitions: set[Any]) -> None: ...

    def poll(self, timeout: float) -> dict[Any, Any]:  # noqa: ARG002 - the consumer's signature
        self.polled_by.add(threading.get_ident())
        return {}


class Bed:
    """The sentences of a worker that has opened one namespace; `now` is what its clock says."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.namespace = f"learned-{uuid.uuid4().hex[:8]}"
        self.consumer = Consumer()
        client = cast("port.Consumer", self.consumer)
        self.polling = PollingRetry(client, Retry(threading.Event()), Fence(client, 20.0), 20.0)
        self.namespaces = Namespaces(store, NamespaceConfig(IDENTITY, Rules(0.7, 0.7)))
        self.namespaces.open_all([self.namespace])
        self.sentences = Sentences(store, self.namespaces, self.polling, 2, lambda: self.now)

    def reads(self) -> None:
        """The worker asks for them for the first time, and reads them."""
        assert self.sentences.of(self.namespace).seen is None
        assert self.sentences.read() == {self.namespace}

    def sees(self, mails: int, sentences: int) -> None:
        """So many mails, each of other sentences, are prepared."""
        seen = self.sentences.of(self.namespace).seen
        assert seen is not None
        for mail in range(mails):
            seen.add({f"{mail:08x}{number:08x}" for number in range(sentences)}, alone=False)


@pytest.fixture
def bed(store: Store) -> Bed:
    return Bed(store)


def test_nothing_is_known_of_a_namespace_that_is_not_open(bed: Bed) -> None:
    assert bed.sentences.of("another").seen is None
    assert bed.sentences.read() == set()


def test_what_others_learned_is_read_once_it_was_asked_for(store: Store, bed: Bed) -> None:
    store.count_sentences(bed.namespace, LEAST_MAILS, {"a": LEAST_MAILS})
    bed.reads()
    assert bed.sentences.of(bed.namespace).repeated == {"a"}
    assert bed.sentences.read() == set()


@pytest.mark.parametrize(("mails", "sentences"), [(LEAST_MAILS, 1), (6, MOST_SENTENCES // 4)])
def test_no_flood_of_sentences_is_added_more_often(store: Store, bed: Bed, mails: int, sentences: int) -> None:
    bed.reads()
    waits = 2.0 if mails >= LEAST_MAILS else 60.0
    bed.sees(mails, sentences)
    bed.now = waits - 0.01
    bed.sentences.exchange()
    assert store.sentence_counts(bed.namespace).mails == 0
    bed.now = waits
    bed.sentences.exchange()
    assert store.sentence_counts(bed.namespace).mails == mails


def test_a_record_that_is_decoded_again_leaves_the_group_to_the_thread_of_the_intake(
    store: Store, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer belongs to one thread, also where the store is slow."""
    counts_of = store.sentence_counts

    def slowly(namespace: str) -> SentenceCounts:
        time.sleep(1.2)
        return counts_of(namespace)

    monkeypatch.setattr(store, "sentence_counts", slowly)
    decoder = QuestionDecoder(InputSettings(format="text"), bed.namespace, bed.sentences.of)
    question = bed.polling.call(decoder.decode, Record(Source("questions", 0, 0, 0), None, MAIL))
    assert question.prepared_by
    bed.sentences.read()
    assert bed.consumer.polled_by <= {threading.get_ident()}


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_a_namespace_that_lost_its_memory_stops_no_other(
    store: RedisStore, bed: Bed, redis_clients: dict[str, Any]
) -> None:
    bed.reads()
    bed.sees(LEAST_MAILS, 1)
    bed.now = 2.0
    redis_clients["redis"].delete(KEYS.of(bed.namespace, "meta"))
    redis_clients["redis"].set(KEYS.of(bed.namespace, "meta"), "garbage")
    bed.sentences.exchange()
    with pytest.raises(RecoveryNeeded):
        store.ledger(bed.namespace, "questions", 0)
