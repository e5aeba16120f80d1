"""Suggestions as events, on Apache Kafka and Redis: a pair that a pin keeps apart is told once, whoever looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from questream.watch import suggesting
from questream.watch.suggesting import Suggester
from questream.watch.watcher import Watcher
from tests.integration.test_cli_clusters import store_at
from tests.integration.test_cli_suggestions import pinned
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, wait_until
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
    data = {name: event["data"][name] for name in ("kind", "with", "forbidden_by", "count")}
    assert data == {"kind": "suggested", "with": "c2", "forbidden_by": ["pin"], "count": 2}


def test_what_people_separated_is_no_suggestion(pinned: str, kafka: KafkaServer, topics: Callable[..., Topics]) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), pinned)
    questream("suggestions", "dismiss", "c1", "c2", f"--redis.url={pinned}")
    suggester = Suggester(stream.settings(), store_at(url=pinned))
    suggester.look()
    assert suggester.take() == []
