"""`questream events deliver` on Apache Kafka, with a receiver that fails in each of the ways that receivers do."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from questream.errors import ExitCode
from questream.events.detector import DetectedEvent
from questream.events.kinds import EventKind
from questream.records.events import event_document
from tests.kit.command import questream
from tests.kit.receiver import HttpReceiver, Received, Reply
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Stream, send, wait_until
from tests.kit.watching import DeliveryProcess, create_event_topic
from tests.unit.test_webhooks import SECRET

MakeTopics = Callable[..., Topics]


class Events:
    """A topic of events and a receiver of them."""

    def __init__(self, stream: Stream, folder: Path) -> None:
        self.stream = stream
        self.receiver = HttpReceiver()
        self.folder = folder
        self._told = 0

    def tell(self, *, kind: EventKind = "spiking") -> str:
        """Publish an event; returns its cluster."""
        self._told += 1
        cluster = f"c{self._told}"
        event = DetectedEvent(kind, cluster, 1_700_000_000_000, 1_700_000_000_000, 8, 1.0)
        self.publish(json.dumps(event_document("acme", event, "question-clusters")).encode())
        return cluster

    def publish(self, value: bytes | None) -> None:
        """Put a record into the topic of events."""
        send(self.stream.bootstrap_servers, self.stream.topics.event_topic, [Message(value, b"acme/c1")])

    def process(self, name: str = "one", **settings: Any) -> DeliveryProcess:
        """A process that tells the receiver."""
        own = {"webhooks__url": f"{self.receiver.url}/T0/the-address", "webhooks__secret": SECRET, **settings}
        return DeliveryProcess(self.stream, self.folder, name, **own)

    def clusters(self) -> list[str]:
        """What the receiver was asked to take, in this order."""
        return [json.loads(request.body)["subject"] for request in self.receiver.received]

    def wait_for(self, *clusters: str) -> None:
        """Until these were received, in this order and nothing else."""
        wait_until(lambda: self.clusters() == list(clusters), f"{clusters} are received")


@pytest.fixture
def events(kafka: KafkaServer, topics: MakeTopics, tmp_path: Path) -> Iterator[Events]:
    stream = Stream(kafka.bootstrap_servers, topics(1), "redis://127.0.0.1:1/0")
    create_event_topic(stream)
    made = Events(stream, tmp_path)
    with made.receiver:
        yield made


def test_events_are_told_signed_and_on_from_where_a_process_ended(events: Events) -> None:
    events.tell()
    with events.process() as one:
        one.start()
        one.wait_until_publishing()
        second = events.tell()
        events.publish(b"no event")
        events.tell(kind="quiet")
        third = events.tell()
        events.wait_for(second, third)
        for request in events.receiver.received:
            Webhook(SECRET).verify(request.body, request.headers)
        wait_until(lambda: one.metrics()['questream_webhooks_total{outcome="delivered"}'] == 2, "both are counted")
        assert one.metrics()['questream_webhooks_total{outcome="filtered"}'] == 1
        one.signal(signal.SIGTERM)
        assert one.wait() == 0
        fourth = events.tell()
        one.start()
        events.wait_for(second, third, fourth)
    assert "the-address" not in one.log.read_text()
    assert SECRET not in one.log.read_text()


def test_a_receiver_that_fails_is_asked_again_until_it_takes_the_event(events: Events) -> None:
    replies = iter([Reply(500), Reply(302, (("Location", "http://127.0.0.1:1/"),)), Reply(200)])
    with events.process() as one:
        one.start()
        one.wait_until_publishing()
        events.receiver.reply = lambda _: next(replies, Reply())
        first, second = events.tell(), events.tell()
        events.wait_for(first, first, first, second)
        ids = {request.headers["webhook-id"] for request in events.receiver.received}
        assert len(ids) == 2
        wait_until(lambda: one.metrics()["questream_webhooks_failures_total"] == 2, "failures are counted")


def test_a_receiver_that_was_dead_is_told_what_happened_meanwhile(events: Events) -> None:
    with events.process() as one:
        one.start()
        one.wait_until_publishing()
        events.receiver.stop()
        first, second = events.tell(), events.tell()
        wait_until(lambda: "does not take events: ConnectError" in one.ready()[1], "it says that it is not taken")
        wait_until(lambda: one.metrics()["questream_webhooks_waiting_seconds"] > 0, "an event waits")
        one.kill()
        one.start()
        wait_until(lambda: "does not take events: ConnectError" in one.ready()[1], "it says so again")
        events.receiver.start()
        events.wait_for(first, second)
        wait_until(lambda: one.metrics()["questream_webhooks_waiting_seconds"] == 0, "none waits")


def test_a_slow_receiver_keeps_its_process_in_the_group(events: Events) -> None:
    def slow(_: Received) -> Reply:
        return Reply(200, byte_seconds=0.08)

    with events.process(kafka__max_poll_interval_seconds=2, webhooks__timeout_seconds=30) as one:
        one.start()
        one.wait_until_publishing()
        events.receiver.reply = slow
        first, second = events.tell(), events.tell()
        wait_until(lambda: one.metrics()['questream_webhooks_total{outcome="delivered"}'] == 2, "both are taken")
        events.wait_for(first, second)


def test_what_is_refused_for_good_or_too_old_is_told_and_sent_again_by_its_place(events: Events) -> None:
    events.receiver.reply = lambda request: Reply(400 if b'"c1"' in request.body else 500)
    with events.process(webhooks__patience_seconds=0) as one:
        one.start()
        one.wait_until_publishing()
        first, second = events.tell(), events.tell()
        wait_until(lambda: one.metrics()['questream_webhooks_total{outcome="given_up"}'] == 2, "both are given up")
        events.wait_for(first, second)
        one.kill()
    log = one.log.read_text()
    assert "questream events deliver --at 0/0" in log
    assert "HTTP 400" in log
    events.receiver.reply = lambda _: Reply()
    flags = [f"--{key}={value}" for key, value in events.stream.overrides().items()]
    command = ["events", "deliver", "--at", "0/0", "--at", "0/1", f"--webhooks.url={events.receiver.url}", *flags]
    outcome = questream(*command, "--json")
    assert (outcome.code, events.clusters()[2:]) == (ExitCode.OK, [first, second])
    assert [json.loads(line)["delivered"] for line in outcome.out.splitlines()] == [True, True]
    events.receiver.reply = lambda _: Reply(500)
    assert questream(*command).code == ExitCode.FAILED
    missing = questream("events", "deliver", "--at", "0/99", f"--webhooks.url={events.receiver.url}", *flags)
    assert "no event at 0/99" in missing.err


def test_an_event_that_is_never_taken_holds_up_no_other(events: Events) -> None:
    never = {b'"c1"', b'"c2"'}
    events.receiver.reply = lambda request: Reply(500 if any(one in request.body for one in never) else 200)
    with events.process(webhooks__skip_after_seconds=0.5) as one:
        one.start()
        one.wait_until_publishing()
        first, second, third, fourth = (events.tell() for _ in range(4))
        wait_until(lambda: one.metrics()['questream_webhooks_total{outcome="given_up"}'] == 2, "two are given up")
        wait_until(lambda: one.metrics()['questream_webhooks_total{outcome="delivered"}'] == 2, "two are taken")
        taken = [cluster for cluster in events.clusters() if cluster in (third, fourth)]
        assert taken == [third, fourth], "the others come once, in their order"
        fifth = events.tell()
        wait_until(lambda: events.clusters()[-1] == fifth, "what comes later is told")
    log = one.log.read_text()
    assert "questream events deliver --at 0/0" in log
    assert "questream events deliver --at 0/1" in log
    assert {first, second} == {"c1", "c2"}


def test_while_the_receiver_takes_nothing_no_event_is_given_up(events: Events) -> None:
    events.receiver.reply = lambda _: Reply(500)
    with events.process(webhooks__skip_after_seconds=0) as one:
        one.start()
        one.wait_until_publishing()
        told = [events.tell() for _ in range(3)]
        wait_until(lambda: set(told) <= set(events.clusters()), "those behind are tried")
        events.receiver.reply = lambda _: Reply()
        wait_until(lambda: one.metrics()['questream_webhooks_total{outcome="delivered"}'] == 3, "all are taken")
        assert one.metrics()['questream_webhooks_total{outcome="given_up"}'] == 0


def test_of_two_processes_one_tells_and_the_other_takes_over(events: Events) -> None:
    with events.process("one") as one, events.process("two") as two:
        one.start()
        one.wait_until_publishing()
        two.start()
        wait_until(lambda: {one.ready()[1], two.ready()[1]} == {"ok\n", "ok; another process delivers events\n"}, "one")
        teller = one if one.ready()[1] == "ok\n" else two
        first = events.tell()
        events.wait_for(first)
        # Until its offset is committed, the one that takes over tells it again.
        wait_until(lambda: teller.metrics()['questream_webhooks_total{outcome="delivered"}'] == 1, "it is counted")
        teller.signal(signal.SIGTERM)
        assert teller.wait() == 0
        second = events.tell()
        events.wait_for(first, second)


def test_receivers_of_other_names_are_told_apart(events: Events) -> None:
    with events.process("one") as one, events.process("two", webhooks__name="second") as two:
        for process in (one, two):
            process.start()
            process.wait_until_publishing()
        first = events.tell()
        events.wait_for(first, first)
