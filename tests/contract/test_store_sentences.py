"""What both stores promise of the counts of sentences in mails."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from questream.preparing.repeated import MOST_MAILS, MOST_SENTENCES, NO_COUNTS, SentenceCounts
from questream.store.protocol import Store
from questream.store.redis.store import RedisStore
from tests.contract.on_redis import KEYS
from tests.contract.test_store import IDENTITY, recover

SEEN = st.dictionaries(st.sampled_from("abcdef"), st.integers(-9, 40), max_size=6)


@pytest.fixture
def namespace(store: Store) -> str:
    return opened(store)


def opened(store: Store) -> str:
    name = f"sentences-{uuid.uuid4().hex[:8]}"
    store.open(name, IDENTITY)
    recover(store, name)
    return name


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(added=st.lists(st.tuples(st.sampled_from([1, 32, 1500]), SEEN), max_size=8))
def test_a_store_counts_as_the_rules_do(store: Store, added: list[tuple[int, dict[str, int]]]) -> None:
    namespace, expected = opened(store), NO_COUNTS
    assert store.sentence_counts(namespace) == NO_COUNTS
    for mails, seen in added:
        expected = expected.added(mails, seen)
        assert store.count_sentences(namespace, mails, seen) == expected
    assert store.sentence_counts(namespace) == expected


def test_of_many_sentences_the_frequent_are_kept(store: Store, namespace: str) -> None:
    often = {f"{one:016x}": 40 + one for one in range(10)}
    once = {f"{one:016x}": 1 for one in range(100, 2 * MOST_SENTENCES)}
    expected = NO_COUNTS.added(100, often).added(100, once)
    store.count_sentences(namespace, 100, often)
    assert store.count_sentences(namespace, 100, once) == expected
    assert len(expected.counts) <= MOST_SENTENCES
    assert expected.repeated == often.keys()


def test_counts_are_halved_at_many_mails(store: Store, namespace: str) -> None:
    assert store.count_sentences(namespace, MOST_MAILS - 1, {"a": 9, "b": 1}) == SentenceCounts(4095, {"a": 9, "b": 1})
    assert store.count_sentences(namespace, 1, {}) == SentenceCounts(2048, {"a": 4})


def test_nothing_is_counted_outside_a_store_epoch(store: Store, namespace: str) -> None:
    store.count_sentences(namespace, 1, {"a": 1})
    store.require_recovery(namespace)
    assert store.count_sentences(namespace, 1, {"a": 1}) == NO_COUNTS
    assert store.count_sentences("nowhere", 1, {"a": 1}) == NO_COUNTS
    recover(store, namespace)
    assert store.sentence_counts(namespace) == SentenceCounts(1, {"a": 1})
    assert store.sentence_counts("nowhere") == NO_COUNTS


@pytest.mark.parametrize("store", ["redis"], indirect=True)
@pytest.mark.parametrize("damage", ["type", "mails", "a", b"\xff"])
def test_counts_that_cannot_be_read_begin_anew(
    store: RedisStore, namespace: str, redis_clients: dict[str, Any], damage: str | bytes
) -> None:
    client, key = redis_clients["redis"], KEYS.of(namespace, "sentences")
    store.count_sentences(namespace, 50, {"a": 3, "b": 2})
    if damage == "type":
        client.delete(key)
        client.set(key, "sentences")
    else:
        client.hset(key, damage, 9 if damage == b"\xff" else "?")
    left = {
        "type": NO_COUNTS,
        "mails": SentenceCounts(0, {"a": 3, "b": 2}),
        "a": SentenceCounts(50, {"b": 2}),
        b"\xff": SentenceCounts(50, {"a": 3, "b": 2}),
    }[damage]
    assert store.sentence_counts(namespace) == left
    assert store.count_sentences(namespace, 1, {"a": 1}) == left.added(1, {"a": 1})


def test_nothing_is_left_of_a_namespace_that_is_deleted(store: Store, namespace: str) -> None:
    store.count_sentences(namespace, 40, {"a": 30})
    token = store.hold(namespace, store.store_epoch(namespace) or "", 60)
    assert token is not None
    assert store.delete(namespace, token)
    assert store.sentence_counts(namespace) == NO_COUNTS
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    assert store.count_sentences(namespace, 1, {"a": 1}) == SentenceCounts(1, {"a": 1})
