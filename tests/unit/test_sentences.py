"""What is known of the sentences of mails is held for the namespaces in use alone."""

from __future__ import annotations

import pytest

from questream.clustering.rules import Rules
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.preparing.repeated import SentenceCounts
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from questream.stream.sentences import Sentences
from questream.tools.stored_sentences import StoredSentences
from tests.unit.test_polling import Consumer, polling_of

SHOPS = [f"shop-{number}" for number in range(8)]


class CountedReads(MemoryStore):
    """Counts how often counts are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def sentence_counts(self, namespace: str) -> SentenceCounts:
        self.reads.append(namespace)
        return super().sentence_counts(namespace)


@pytest.fixture
def store() -> CountedReads:
    return CountedReads()


def sentences_of(store: CountedReads, most: int, now: list[float]) -> Sentences:
    config = NamespaceConfig(Identity("words", "1", 4, "centred", "adaptive", 0.7), Rules(0.7, 0.7))
    namespaces = Namespaces(store, config)
    for shop in SHOPS:
        namespaces.recovered(shop)
    return Sentences(store, namespaces, polling_of(Consumer()), most, lambda: now[0])


def test_a_worker_holds_those_of_the_namespaces_that_it_used_last(store: CountedReads) -> None:
    now = [0.0]
    sentences = sentences_of(store, 2, now)
    for shop in SHOPS:
        sentences.of(shop)
    assert sentences.read() == set(SHOPS)
    for number, shop in enumerate(SHOPS):
        now[0] = number / 10
        seen = sentences.of(shop).seen
        assert seen is not None
        for _ in range(40):
            seen.add({"a"}, alone=False)
    # All that is due is counted before any is let go.
    now[0] = 3.0
    sentences.exchange()
    assert [store.sentence_counts(shop).mails for shop in SHOPS] == [40] * len(SHOPS)
    assert [sentences.of(shop).repeated == {"a"} for shop in SHOPS] == [False] * 6 + [True] * 2
    assert sentences.read() == set(SHOPS[:-2])
    assert all(sentences.of(shop).repeated == {"a"} for shop in SHOPS)


def test_what_was_seen_of_a_namespace_is_counted_before_it_is_let_go(store: CountedReads) -> None:
    now = [0.0]
    sentences = sentences_of(store, 2, now)
    for shop in SHOPS:
        sentences.of(shop)
    sentences.read()
    for number, shop in enumerate(SHOPS):
        now[0] = number / 10
        seen = sentences.of(shop).seen
        assert seen is not None
        seen.add({"a"}, alone=False)
    sentences.exchange()
    assert [store.sentence_counts(shop).mails for shop in SHOPS] == [1] * 6 + [0] * 2


def test_what_is_read_beside_the_workers_is_not_kept_longer_than_it_holds(
    store: CountedReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences_of(store, 1, [0.0])
    now = [0.0]
    monkeypatch.setattr("questream.tools.stored_sentences.time.monotonic", lambda: now[0])
    sentences = StoredSentences(lambda: store)
    for number, shop in enumerate(SHOPS):
        now[0] = 1.5 * number
        sentences(shop)
        sentences(shop)
    assert store.reads == SHOPS
    assert set(vars(sentences)["_read"]) == set(SHOPS[-2:])
