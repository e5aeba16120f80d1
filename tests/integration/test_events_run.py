"""`questream events run` on Apache Kafka: each event once, whatever happens to the process that tells it."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from questream.domain import ClusterState, Ruling, retired_cluster
from questream.errors import ExitCode
from questream.events.rhythm import HOUR_MS
from questream.records import encode_cluster_state
from questream.records.events import read_event
from tests.integration.test_cli_kafka import flags, fresh_topics
from tests.kit.command import questream
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Reader, Stream, question, running_worker, send, wait_until
from tests.kit.vectors import hash_encoder, question_of
from tests.kit.watching import Asked, WatcherProcess, create_event_topic, decided
from tests.unit.test_events import MINUTE_MS, after, steady

MakeTopics = Callable[..., Topics]


class Told:
    """A stream of decisions and the events that were told of it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.asked: list[Asked] = []
        self._next = 100
        self._events = Reader(stream.bootstrap_servers, stream.topics.event_topic)

    def send(self, asked: list[Asked]) -> None:
        """Have these questions be decided."""
        messages = decided(asked, before=self.asked, key=f"asker {len(self.asked)}")
        send(self.stream.bootstrap_servers, self.stream.topics.output_topic, messages)
        self.asked += asked

    def burst(self) -> str:
        """Have a new cluster be asked about by six; returns its id."""
        cluster = f"c{self._next}"
        self._next += 1
        self.send(after(self.asked, cluster, 6, MINUTE_MS))
        return cluster

    def emerged(self) -> Counter[str]:
        """How often each cluster was told to emerge."""
        values = self._events.values()
        return Counter(one["subject"] for one in values if one["type"] == "questream.cluster.emerging")

    def wait_for(self, *clusters: str) -> None:
        """Until these were told."""
        wait_until(lambda: set(clusters) <= self.emerged().keys(), f"{clusters} are told to emerge")

    def records(self) -> list[Any]:
        """The records of the topic of events."""
        return self._events.rest()

    def close(self) -> None:
        """Let the reader go."""
        self._events.__exit__()


@pytest.fixture(params=[1, 3], ids=["one partition", "three partitions"])
def told(kafka: KafkaServer, topics: MakeTopics, request: pytest.FixtureRequest) -> Iterator[Told]:
    mine = topics(request.param)
    stream = Stream(kafka.bootstrap_servers, mine, "redis://127.0.0.1:1/0")
    create_event_topic(stream)
    with closing(Told(stream)) as made:
        yield made


def watcher(told: Told, folder: Path, name: str = "one") -> WatcherProcess:
    return WatcherProcess(told.stream, folder, name)


def test_an_event_is_published_once_and_what_was_before_the_first_start_is_not(told: Told, tmp_path: Path) -> None:
    told.send(steady())
    before = told.burst()
    with watcher(told, tmp_path) as one:
        one.start()
        one.wait_until_publishing()
        now = told.burst()
        told.wait_for(now)
        (record,) = [record for record in told.records() if record.key == f"acme/{now}".encode()]
        assert ("content-type", b"application/cloudevents+json; charset=UTF-8") in record.headers
        for value in (value for value in told._events.values()):
            schema_of("cluster-event").validate(value)
        wait_until(lambda: one.metrics()['questream_events_total{kind="emerging",route=""}'] >= 1, "events are counted")
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        later = told.burst()
        one.start()
        told.wait_for(now, later)
        assert (told.emerged()[before], told.emerged()[now], told.emerged()[later]) == (0, 1, 1)


@pytest.mark.parametrize(
    "fault",
    [
        # The first two publications are the offsets at which it begins.
        "publish:before:3:KILL",
        "send:after:1:KILL",
        "commit-transaction:before:3:KILL",
        "commit-transaction:after:3:KILL",
    ],
)
def test_a_crash_at_any_step_of_a_publication_gives_each_event_once(told: Told, tmp_path: Path, fault: str) -> None:
    told.send(steady())
    with watcher(told, tmp_path) as one:
        one.start(fault)
        one.wait_until_publishing()
        first = told.burst()
        assert one.wait() == -signal.SIGKILL
        one.start()
        told.wait_for(first)
        second = told.burst()
        told.wait_for(second)
        assert set(told.emerged().values()) == {1}


def test_kill_after_kill_gives_each_event_once(told: Told, tmp_path: Path) -> None:
    told.send(steady())
    bursts = []
    with watcher(told, tmp_path) as one:
        one.start()
        one.wait_until_publishing()
        for _ in range(4):
            bursts += [told.burst(), told.burst()]
            told.wait_for(bursts[-2])
            one.kill()
            bursts.append(told.burst())
            one.start()
        told.wait_for(*bursts)
        assert told.emerged() == dict.fromkeys(bursts, 1)


def test_of_two_one_tells_and_the_other_takes_over_from_one_that_is_frozen(told: Told, tmp_path: Path) -> None:
    told.send(steady())
    with watcher(told, tmp_path, "one") as one, watcher(told, tmp_path, "two") as two:
        one.start()
        one.wait_until_publishing()
        two.start()
        wait_until(
            lambda: {one.ready()[1], two.ready()[1]} == {"ok\n", "ok; another process publishes events\n"}, "one"
        )
        teller, standby = (one, two) if one.ready()[1] == "ok\n" else (two, one)
        first = told.burst()
        told.wait_for(first)
        teller.signal(signal.SIGSTOP)
        second = told.burst()
        told.wait_for(second)
        teller.signal(signal.SIGCONT)
        third = told.burst()
        told.wait_for(third)
        wait_until(lambda: teller.ready()[0] == 200, "the one that was frozen is back")
        standby.kill()
        fourth = told.burst()
        told.wait_for(fourth)
        assert told.emerged() == dict.fromkeys([first, second, third, fourth], 1)


def test_records_that_are_no_decisions_and_no_events_are_passed_over(told: Told, tmp_path: Path) -> None:
    told.send(steady())
    far = told.asked[-1][0] + 100 * 365 * 24 * HOUR_MS
    (joined,) = (message.value or b"" for message in decided(told.asked[-1:], before=told.asked))
    values = [b"", b"null", b"[]", b'"text"', b"\xff", b"{" * 5000, b'{"outcome": 1}', None]
    values += [joined.replace(b'"acme"', b'["a"]'), joined.replace(b'"cluster_id":"c', b'"cluster_id":"c1\\nc')]
    assert len(set(values)) == 10
    hostile = [*(Message(value, b"key") for value in values), *decided([(far, "c1")])]
    topics = told.stream.topics
    for topic in (topics.output_topic, topics.cluster_topic, topics.event_topic):
        send(told.stream.bootstrap_servers, topic, hostile)
    with watcher(told, tmp_path) as one:
        one.start()
        one.wait_until_publishing()
        send(told.stream.bootstrap_servers, topics.output_topic, hostile)
        burst = told.burst()
        wait_until(lambda: any(record.key == f"acme/{burst}".encode() for record in told.records()), "it is told")
        assert one.running


def test_merges_and_labels_are_told_once_however_often_their_states_are_published(told: Told, tmp_path: Path) -> None:
    topic = told.stream.topics.cluster_topic
    blank = replace(retired_cluster("acme", 5), event="updated", size=3)
    merged = replace(blank, event="merged", merged_into=3)

    def publish(*states: ClusterState) -> None:
        made = (encode_cluster_state(state) for state in states)
        send(told.stream.bootstrap_servers, topic, [Message(value, key) for key, value in made])

    def wait_for(*kinds: str) -> None:
        def kinds_of() -> list[str]:
            return [value["data"]["kind"] for value in told._events.values()]

        wait_until(lambda: kinds_of() == list(kinds), f"{kinds} are told, and nothing else")

    publish(replace(blank, ruling=Ruling("before")), replace(blank, cluster_id=6, event="merged", merged_into=3))
    with watcher(told, tmp_path) as one:
        one.start()
        one.wait_until_publishing()
        publish(
            replace(blank, ruling=Ruling("after", "billing")),
            replace(blank, ruling=Ruling("after", "billing")),
            merged,
            merged,
        )
        wait_for("renamed", "merged")
        one.kill()
        publish(merged)
        one.start()
        publish(
            merged,
            replace(blank, ruling=Ruling("after", "billing")),
            replace(blank, cluster_id=6, event="merged", merged_into=3),
        )
        wait_for("renamed", "merged", "split")
    renamed, into, split = told._events.values()
    assert renamed["data"]["route"] == "billing"
    assert (renamed["data"]["label"], into["data"]["into"], split["data"]["from"]) == ("after", "c3", "c3")
    for value in (renamed, into, split):
        schema_of("cluster-event").validate(value)
        assert read_event(json.dumps(value).encode()).cluster_id == "c5"


def test_a_resolved_cluster_that_is_asked_for_again_returns_once_and_a_muted_one_is_not_heard_of(
    told: Told, tmp_path: Path
) -> None:
    topic = told.stream.topics.cluster_topic
    resolved = replace(retired_cluster("acme", 5), event="updated", size=3, ruling=Ruling(resolved_size=3))
    muted = replace(resolved, cluster_id=6, ruling=Ruling(resolved_size=3, muted=True))

    def publish(*states: ClusterState) -> None:
        made = (encode_cluster_state(state) for state in states)
        send(told.stream.bootstrap_servers, topic, [Message(value, key) for key, value in made])

    def events() -> list[tuple[str, str]]:
        return [(value["data"]["kind"], value["data"]["cluster_id"]) for value in told._events.values()]

    publish(resolved, muted)
    with watcher(told, tmp_path) as one:
        one.start()
        one.wait_until_publishing()
        publish(replace(muted, size=4), replace(resolved, size=4), replace(resolved, size=5))
        wait_until(lambda: events() == [("returned", "c5")], "it has returned")
        one.kill()
        publish(
            replace(resolved, size=6),
            replace(resolved, size=6, ruling=Ruling(resolved_size=6)),
            replace(muted, ruling=Ruling("x", resolved_size=3)),
        )
        one.start()
        publish(replace(resolved, size=7, ruling=Ruling(resolved_size=6)))
        wait_until(lambda: len(events()) >= 3, "both are told")
    assert sorted(events()[1:]) == [("renamed", "c6"), ("returned", "c5")]
    for value in told._events.values():
        schema_of("cluster-event").validate(value)


def test_what_a_worker_decides_and_an_operator_labels_is_told(
    kafka: KafkaServer, topics: MakeTopics, redis_url: str, tmp_path: Path
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url)
    create_event_topic(stream)
    now_ms, past = time.time_ns() // 1_000_000, steady(clusters=12)
    ahead = now_ms - 10 * MINUTE_MS - past[-1][0]
    asked = [(at + ahead, question_of(int(cluster[1:]), number)) for number, (at, cluster) in enumerate(past)]
    new = [(now_ms - (9 - number) * MINUTE_MS, question_of(50, number)) for number in range(6)]
    sent = [question(number, text, timestamp_ms=at) for number, (at, text) in enumerate([*asked, *new])]
    with running_worker(stream.settings(), hash_encoder()), closing(Told(stream)) as told:
        stream.send(sent[: len(asked)])
        with stream.decisions() as decisions:
            decisions.until(len(asked))
        with watcher(told, tmp_path) as one:
            one.start()
            one.wait_until_publishing()
            stream.send(sent[len(asked) :])
            with stream.decisions() as decisions:
                found = {value["question_id"]: value["cluster_id"] for value in decisions.values(len(sent))}
            (joined,) = {found[f"q{number}"] for number in range(len(asked), len(sent))}

            def crowded() -> set[str]:
                """Six at once may be decided in another order than they were asked, the first as one that joined."""
                crowds = ("emerging", "spiking")
                return {one["subject"] for one in told._events.values() if one["data"]["kind"] in crowds}

            wait_until(lambda: joined in crowded(), f"{joined} is told")
            questream("clusters", "label", joined, "--label", "Outage", f"--redis.url={redis_url}")
            wait_until(lambda: "renamed" in {one["data"]["kind"] for one in told._events.values()}, "its label is told")
        renamed = [one["subject"] for one in told._events.values() if one["data"]["kind"] == "renamed"]
        assert renamed == [joined]


def test_topics_that_hold_nothing_are_followed(told: Told, tmp_path: Path) -> None:
    with watcher(told, tmp_path) as one:
        one.start()
        one.wait_until_publishing()
        one.signal(signal.SIGTERM)
        assert one.wait() == 0


def test_without_its_topic_the_command_ends_and_says_what_to_do(kafka: KafkaServer) -> None:
    outcome = questream("events", "run", *flags(kafka, fresh_topics()), "--metrics.port=auto")
    assert outcome.code == ExitCode.REFUSED
    assert "questream topics create" in outcome.err
