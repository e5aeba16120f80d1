"""Namespaces that go over to another model under running workers, on Kafka and Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from numpy.typing import NDArray

import questream.migration.held
import questream.migration.moving
from questream.broker.decided import DecidedTopics
from questream.deciding.config import namespace_config
from questream.domain import Matrix, NamespaceState
from questream.encoder import Encoder
from questream.errors import IdentityMismatch, KafkaUnavailable
from questream.migration.moving import Moved, TextsMissing, move
from questream.migration.rebuilding import Rebuilding
from questream.store.protocol import Store
from questream.stream.worker import Worker
from questream.tools.recovery import verify
from tests.kit.stream import (
    WAIT_SECONDS,
    Stream,
    assert_one_decision_each,
    live_sizes,
    question,
    running_worker,
    wait_until,
)
from tests.kit.vectors import DIMENSION, hash_encoder, question_of

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

TOPICS = 12
NAMESPACE = "default"


def untold(done: int, count: int) -> None:
    """Progress that nobody looks at."""


class Turned:
    """The vectors of another encoder, turned in space and with more dimensions: another model that means the same."""

    batch_tokens = 4096

    def __init__(self, encoder: Encoder, dimension: int) -> None:
        self._forward = encoder.forward
        square = np.random.default_rng(1).normal(size=(dimension, dimension))
        self._turn = np.linalg.qr(square)[0][: encoder.dimension].astype(np.float32)

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        vectors: Matrix = self._forward(batches) @ self._turn
        return vectors


OLD = hash_encoder()
NEW = replace(hash_encoder(name="turned-hash-of-words"), dimension=2 * DIMENSION, forward=Turned(OLD, 2 * DIMENSION))


def text(number: int) -> str:
    return question_of(number % TOPICS, number)


def questions(first: int, count: int) -> Iterator[Any]:
    return (question(number, text(number)) for number in range(first, first + count))


@contextmanager
def rebuilding(stream: Stream, encoder: Encoder, members: int = 64) -> Iterator[Rebuilding]:
    settings = stream.settings()
    with DecidedTopics(settings, NAMESPACE, 1_000_000) as topics:
        begun = Rebuilding(
            stream.store(), NAMESPACE, topics, encoder, namespace_config(settings, encoder).rules, untold
        )
        begun.read_history(members)
        yield begun


def switch(stream: Stream, begun: Rebuilding, encoder: Encoder, store: Store | None = None) -> Moved:
    settings = stream.settings()
    identity = namespace_config(settings, encoder).identity
    return move(settings, store or stream.store(), NAMESPACE, begun, identity, retire_unread=False)


def whole(stream: Stream) -> NamespaceState:
    state = stream.store().namespace_state(NAMESPACE)
    assert state is not None
    return state


def decided(stream: Stream, count: int) -> None:
    wait_until(lambda: sum(stream.committed().values()) >= count, f"{count} questions are decided")


def assert_whole(stream: Stream, count: int) -> list[dict[str, Any]]:
    """Every question has one decision, those of a topic one cluster, and the topic tells what the store holds."""
    with stream.decisions() as reader:
        decisions = reader.values(count)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(count)))
    ids = {(int(decision["question_id"][1:]) % TOPICS, decision["cluster_id"]) for decision in decisions}
    assert len(ids) == TOPICS
    assert sum(live_sizes(stream.store()).values()) == count
    wait_until(lambda: not stream.store().unpublished(NAMESPACE, 0, 10), "all is told")
    assert verify(stream.settings(), 1000).differences == []
    return decisions


def test_a_namespace_moves_under_a_running_worker_and_back_and_every_id_stays(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream(2)
    stream.send(questions(0, 200))
    with running_worker(stream.settings(), OLD):
        decided(stream, 200)
    # The workers that come next know both models.
    with running_worker(stream.settings(), NEW, OLD):
        with rebuilding(stream, NEW) as begun:
            sending = threading.Thread(target=lambda: stream.send(questions(200, 400)))
            sending.start()
            verdicts = [verdict for _ in range(20) for verdict in begun.read_news()]
            moved = switch(stream, begun, NEW)
            sending.join()
        assert verdicts.count("same") == len(verdicts)
        assert (moved.clusters, moved.retired) == (TOPICS, 0)
        stream.send(questions(600, 100))
        decided(stream, 700)
        assert (whole(stream).model, whole(stream).generation, whole(stream).dimension) == (NEW.name, 1, NEW.dimension)
        with rebuilding(stream, OLD) as begun:
            switch(stream, begun, OLD)
        stream.send(questions(700, 100))
        decided(stream, 800)
    assert (whole(stream).model, whole(stream).generation) == (OLD.name, 2)
    decisions = assert_whole(stream, 800)
    models = [d["model"] for d in sorted(decisions, key=lambda d: d["decided_at"])]
    # One after the other, never a mixture.
    assert [m for i, m in enumerate(models) if i == 0 or models[i - 1] != m] == [OLD.name, NEW.name, OLD.name]


def test_the_new_centroids_are_those_of_a_stream_that_the_new_model_decided(make_stream: Callable[..., Stream]) -> None:
    stream = make_stream(2)
    stream.send(questions(0, 150))
    with running_worker(stream.settings(), OLD):
        decided(stream, 150)
    with rebuilding(stream, NEW, members=1000) as begun:
        mirror, before = begun.centroids.mirror, stream.store().load(NAMESPACE)
    turn = NEW.forward._turn  # type: ignore[attr-defined]  # of the class above
    assert sorted(mirror.ids) == sorted(before.ids)
    for cluster_id in before.ids.tolist():
        assert mirror.member_count(cluster_id) == before.member_count(cluster_id)
        np.testing.assert_allclose(mirror.vector_sum(cluster_id), before.vector_sum(cluster_id) @ turn, atol=1e-4)
    assert mirror.mean_questions == before.mean_questions
    np.testing.assert_allclose(mirror.mean_sum, before.mean_sum @ turn, atol=1e-3)


class LostIn:
    """A store through which nothing more comes from a call on: whoever moves died there."""

    def __init__(self, store: Store, call: str) -> None:
        self._store = store
        self._call = call

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            raise KeyboardInterrupt
        return getattr(self._store, name)


@pytest.fixture
def grown(make_stream: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch) -> Stream:
    """A stream of 200 questions that the old model decided; a hold lasts seconds."""
    for module in (questream.migration.moving, questream.migration.held):
        monkeypatch.setattr(module, "HOLD_SECONDS", 4.0)
    stream = make_stream(2)
    stream.send(questions(0, 200))
    with running_worker(stream.settings(), OLD):
        decided(stream, 200)
    return stream


@pytest.mark.parametrize("call", ["restore", "recover"])
def test_whoever_dies_after_the_transaction_leaves_the_rest_to_the_next_worker(grown: Stream, call: str) -> None:
    with rebuilding(grown, NEW) as begun, pytest.raises(KeyboardInterrupt):
        switch(grown, begun, NEW, LostIn(grown.store(), call))
    assert whole(grown).model == OLD.name
    grown.send(questions(200, 100))
    with running_worker(grown.settings(), NEW, OLD):
        decided(grown, 300)
    assert (whole(grown).model, whole(grown).generation) == (NEW.name, 1)
    assert_whole(grown, 300)


def test_whoever_dies_before_the_commit_leaves_the_old_model(grown: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KafkaUnavailable("the broker is gone")

    with rebuilding(grown, NEW) as begun, monkeypatch.context() as patched:
        patched.setattr(KafkaProducer, "commit_transaction", die)
        with pytest.raises(KafkaUnavailable):
            switch(grown, begun, NEW)
    assert grown.store().store_epoch(NAMESPACE) is None
    grown.send(questions(200, 100))
    with running_worker(grown.settings(), NEW, OLD):
        decided(grown, 300)
    assert (whole(grown).model, whole(grown).generation) == (OLD.name, 0)
    assert_whole(grown, 300)


def test_a_redis_emptied_after_the_switch_is_restored_with_the_new_model(grown: Stream) -> None:
    with rebuilding(grown, NEW) as begun:
        switch(grown, begun, NEW)
    grown.redis().flushdb()
    grown.send(questions(200, 100))
    with running_worker(grown.settings(), NEW, OLD):
        decided(grown, 300)
    assert (whole(grown).model, whole(grown).generation) == (NEW.name, 1)
    assert_whole(grown, 300)


def test_a_worker_without_the_new_model_stops_at_the_switch(grown: Stream) -> None:
    worker = Worker(grown.settings(), OLD)
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with rebuilding(grown, NEW) as begun:
        switch(grown, begun, NEW)
    grown.send(questions(200, 10))
    thread.join(WAIT_SECONDS)
    assert isinstance(outcome[0], IdentityMismatch)
    assert "model.name" in str(outcome[0])
    assert sum(grown.committed().values()) == 200


def test_clusters_whose_questions_are_nowhere_are_named_and_nothing_happens(
    make_stream: Callable[..., Stream],
) -> None:
    stream = make_stream(1, **{"clusters.keep_texts": False})
    stream.send(questions(0, 5 * TOPICS))
    with running_worker(stream.settings(), OLD):
        decided(stream, 5 * TOPICS)
    delete_questions(stream, below=4 * TOPICS)
    with rebuilding(stream, NEW) as begun:
        assert {begun.centroids.mirror.member_count(i) for i in range(1, TOPICS + 1)} == {1}
    from_store = Rebuilding(
        stream.store(), NAMESPACE, None, NEW, namespace_config(stream.settings(), NEW).rules, untold
    )
    delete_questions(stream, below=5 * TOPICS)
    with rebuilding(stream, NEW) as from_topic:
        for begun in (from_store, from_topic):
            with pytest.raises(TextsMissing) as refused:
                switch(stream, begun, NEW)
            assert len(refused.value.cluster_ids) == TOPICS
    assert whole(stream).model == OLD.name
    assert stream.store().store_epoch(NAMESPACE) is not None


def test_one_text_of_each_cluster_in_the_store_is_enough(grown: Stream) -> None:
    rules = namespace_config(grown.settings(), NEW).rules
    begun = Rebuilding(grown.store(), NAMESPACE, None, NEW, rules, untold)
    assert switch(grown, begun, NEW).clusters == TOPICS
    assert whole(grown).mean_questions == 200
    grown.send(questions(200, 100))
    with running_worker(grown.settings(), NEW):
        decided(grown, 300)
    assert_whole(grown, 300)


def test_what_is_decided_while_the_history_is_embedded_is_learned_once(grown: Stream) -> None:
    with rebuilding(grown, NEW) as begun:
        grown.send([question(200, "quite another thing altogether"), *questions(201, 400)])
        with running_worker(grown.settings(), OLD):
            decided(grown, 601)
        assert begun.complete(list(grown.store().summaries(NAMESPACE))) == []
        while begun.read_news():
            pass
        begun.read_rest()
        mirror, before = begun.centroids.mirror, grown.store().load(NAMESPACE)
        assert {i: mirror.member_count(i) for i in mirror.ids.tolist()} == {
            i: min(before.member_count(i), 256) for i in before.ids.tolist()
        }


def delete_questions(stream: Stream, below: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
    try:
        admin.delete_records({TopicPartition(stream.topics.input_topic, 0): below})
    finally:
        admin.close()
