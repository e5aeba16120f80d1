"""Suggestions as events, on Apache Kafka and Redis: a pair that a pin keeps apart is told once, whoever looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import orjson
import pytest

from questream import QuestionClusterer
from questream.domain import ClusterState
from questream.errors import StoreUnavailable
from questream.metrics import EventMetrics
from questream.operations import By, Decisions, KnownQuestion
from questream.records.events import read_event
from questream.store.protocol import StreamTopics
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore
from questream.watch import suggesting
from questream.watch.suggesting import Suggester
from questream.watch.watcher import Watcher
from tests.integration.test_cli_clusters import store_at
from tests.integration.test_cli_suggestions import pinned
from tests.kit.command import questream
from tests.kit.logged import logged_by
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder
from tests.kit.watching import create_event_topic

__all__ = ["pinned"]


@contextmanager
def telling(stream: Stream) -> Iterator[None]:
    watcher = Watcher(stream.settings())
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        yield
    finally:
        watcher.stop()
        thread.join(30)


def waiting(metrics: EventMetrics) -> dict[str, float]:
    """What waits for people, by suggestion."""
    return {sample.labels["suggestion"]: sample.value for sample in next(iter(metrics.suggestions.collect())).samples}


def test_a_suggestion_is_told_once_by_all_that_tell_events(
    kafka: KafkaServer, topics: Callable[..., Topics], pinned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggesting, "_PASS_SECONDS", 0.1)
    stream = Stream(kafka.bootstrap_servers, topics(1), pinned, {"clusters.namespace": "default"})
    create_event_topic(stream)
    with Reader(stream.bootstrap_servers, stream.topics.event_topic) as events:
        with telling(stream):
            wait_until(lambda: events.values() != [], "the suggestion is told", 60)
        passes: list[None] = []

        def look(suggester: Suggester, original: Callable[[Suggester], None] = Suggester.look) -> None:
            original(suggester)
            passes.append(None)

        monkeypatch.setattr(Suggester, "look", look)
        with telling(stream):
            wait_until(lambda: len(passes) > 2, "another process has found it too", 60)
        (event,) = events.values()
    assert (event["type"], event["subject"]) == ("questream.cluster.suggested", "c1")
    assert event["id"] == "default/c1/suggested/c2"
    data = {name: event["data"][name] for name in ("kind", "suggestion", "with", "forbidden_by", "count")}
    assert data == {"kind": "suggested", "suggestion": "merge", "with": "c2", "forbidden_by": ["pin"], "count": 2}


def test_what_people_separated_is_no_suggestion(pinned: str, kafka: KafkaServer, topics: Callable[..., Topics]) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), pinned)
    questream("suggestions", "dismiss", "c1", "c2", f"--redis.url={pinned}")
    suggester = Suggester(stream.settings(), store_at(url=pinned), EventMetrics())
    suggester.look()
    assert suggester.take() == []


def test_large_clusters_without_a_name_and_those_that_look_like_two_are_told(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "events.split_suggestions": True}
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, settings)
    encoder = hash_encoder()
    asked = ["where is my card card card", "how do i change the pin"]
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question(f"{text[:3]}-{name}", text) for text in asked for name in "abcd"])
        values = reader.values(8)
        assert {value["cluster_id"] for value in values} == {"c1", "c2"}
        decisions = Decisions(stream.store(), "default", By("ann"))
        decisions.commit(decisions.merge(1, 2))
    monkeypatch.setattr("questream.tools.lookup.encoder_of", lambda *_: encoder)
    passed, metrics = [0.0], EventMetrics()
    suggester = Suggester(stream.settings(), store_at(url=redis_url), metrics, clock=lambda: passed[0])
    suggester.look()
    assert waiting(metrics) == {"merge": 0, "name": 1, "split": 1}
    found = {event["id"]: event for event in suggester.take()}
    (whole,) = (state for state in stream.store().summaries("default"))
    name = f"c{whole.cluster_id}"
    assert found.keys() == {f"default/{name}/suggested/name", f"default/{name}/suggested/split"}
    for kind in ("name", "split"):
        event = found[f"default/{name}/suggested/{kind}"]
        schema_of("cluster-event").validate(event)
        assert (event["data"]["suggestion"], event["data"]["count"]) == (kind, 8)
        assert read_event(orjson.dumps(event)).suggestion == kind
    decisions.commit(decisions.dismiss(whole.cluster_id, "name"))
    again = Suggester(stream.settings(), store_at(url=redis_url), metrics, clock=lambda: passed[0])
    again.look()
    assert waiting(metrics) == {"merge": 0, "name": 0, "split": 1}
    assert [event["data"]["suggestion"] for event in again.take()] == ["split"]
    # The model is asked once an hour.
    monkeypatch.setattr("questream.tools.lookup.encoder_of", lambda *_: pytest.fail("the model is loaded"))
    again.look()
    assert waiting(metrics)["split"] == 1
    # Somebody has moved one of the two kinds out of it: it keeps references to these questions, and they are elsewhere.
    monkeypatch.setattr("questream.tools.lookup.encoder_of", lambda *_: encoder)
    passed[0] += 3601.0
    (vector,) = encoder.encode(asked[1:])
    places = [value["source"] for value in values if value["cluster_id"] == values[-1]["cluster_id"]]
    moved = [
        KnownQuestion(whole.cluster_id, vector, (one["topic"], one["partition"], one["offset"]), None, None, None)
        for one in places
    ]
    decisions.commit(decisions.split(whole.cluster_id, moved))
    again.look()
    assert waiting(metrics)["split"] == 0


def test_a_namespace_that_cannot_be_looked_at_keeps_it_from_no_other(
    pinned: str,
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), pinned)
    store = store_at(url=pinned)
    vectors = np.eye(8, dtype=np.float32)[[2, 2, 2]]
    for namespace in ("default", "shop"):
        QuestionClusterer(dimension=8, similarity="cosine", store=store, namespace=namespace).assign(vectors)
    metrics = EventMetrics()
    suggester = Suggester(stream.settings(), store, metrics)
    suggester.look()
    assert waiting(metrics) == {"merge": 1, "name": 2}
    monkeypatch.setattr("questream.tools.suggestions.MOST_PAIRS", 0)
    suggester = Suggester(stream.settings(), store, metrics)
    for _ in range(2):
        suggester.look()
    # How many merges wait is not known, which is another thing than none; names are looked for nonetheless.
    assert waiting(metrics) == {"name": 2}
    assert {event["id"] for event in suggester.take()} == {"default/c4/suggested/name", "shop/c1/suggested/name"}
    (told,) = (one for one in logged_by(Suggester, caplog) if one.levelname == "WARNING")
    assert (getattr(told, "namespace", None), getattr(told, "suggestion", None)) == ("default", "merge")


def test_the_topics_of_a_namespace_are_read_once_for_all_kinds(
    pinned: str,
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, metrics = Stream(kafka.bootstrap_servers, topics(1), pinned), EventMetrics()
    vectors = np.eye(8, dtype=np.float32)[[2, 2, 2]]
    asked: list[str] = []
    is_back = False

    class OneUnreadable(RedisStore):
        def topics(self, namespace: str) -> StreamTopics:
            asked.append(namespace)
            if namespace == "default" and not is_back:
                raise StoreUnavailable("it is away")
            return super().topics(namespace)

    store = OneUnreadable(connect_redis(stream.settings().redis))
    QuestionClusterer(dimension=8, similarity="cosine", store=store, namespace="shop").assign(vectors)
    asked.clear()
    suggester = Suggester(stream.settings(), store, metrics)
    for _ in range(2):
        suggester.look()
    assert sorted(asked) == ["default", "default", "shop", "shop"]
    # How many wait in the first is not known.
    assert waiting(metrics) == {}
    assert {event["id"] for event in suggester.take()} == {"shop/c1/suggested/name"}

    def warned() -> list[tuple[str, str]]:
        told = (one for one in logged_by(Suggester, caplog) if one.levelname == "WARNING")
        return [(getattr(one, "namespace", ""), getattr(one, "suggestion", "all")) for one in told]

    assert warned() == [("default", "all")]
    # Once its topics are read, what is wrong with one kind is another matter.
    is_back = True
    monkeypatch.setattr("questream.tools.suggestions.MOST_PAIRS", 0)
    suggester.look()
    assert (warned()[1:], waiting(metrics)) == ([("default", "merge")], {"name": 1})


def test_nothing_is_counted_once_it_was_stopped(
    pinned: str, kafka: KafkaServer, topics: Callable[..., Topics], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggesting, "_PASS_SECONDS", 0.1)
    monkeypatch.setattr(suggesting, "_STOP_SECONDS", 0.1)
    stream, metrics = Stream(kafka.bootstrap_servers, topics(1), pinned), EventMetrics()
    looking, stopped = threading.Event(), threading.Event()

    def long_look(*_: object) -> list[ClusterState]:
        looking.set()
        stopped.wait(60)
        return []

    monkeypatch.setattr(suggesting, "unnamed", long_look)
    with suggesting.suggesting(stream.settings(), metrics):
        assert looking.wait(60)
        (thread,) = (one for one in threading.enumerate() if one.name == "suggester")
    stopped.set()
    thread.join(60)
    assert waiting(metrics) == {}


def test_nothing_is_counted_while_the_store_cannot_be_asked(
    pinned: str, kafka: KafkaServer, topics: Callable[..., Topics], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggesting, "_PASS_SECONDS", 0.1)
    stream, metrics = Stream(kafka.bootstrap_servers, topics(1), pinned), EventMetrics()
    store = store_at(url=pinned)
    suggester = Suggester(stream.settings(), store, metrics)
    suggester.start()
    try:
        wait_until(lambda: waiting(metrics) == {"merge": 1, "name": 0}, "it was looked", 60)
        monkeypatch.setattr(store, "namespaces", away)
        wait_until(lambda: waiting(metrics) == {}, "nothing is told", 60)
    finally:
        suggester.stop()


def away() -> list[str]:
    raise StoreUnavailable("it is away")
