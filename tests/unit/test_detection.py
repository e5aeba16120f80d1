"""What is published of questions and events that were read, and how sessions with Kafka follow each other."""

from __future__ import annotations

import threading
from itertools import count
from types import SimpleNamespace

import pytest

from questream.broker import sessions
from questream.broker.sessions import run_sessions
from questream.errors import KafkaRefused, KafkaUnavailable, Superseded
from questream.events.detector import EventRules
from questream.watch import detection
from questream.watch.condition import WatchCondition
from questream.watch.counting import Counted
from questream.watch.detection import Detectors, PublishedEvent
from tests.unit.test_events import MINUTE_MS, after, steady

PAST = steady()
BURST = after(PAST, "c3", 40, MINUTE_MS // 6)


def asked(stream: list[tuple[int, str]], namespace: str = "shop") -> list[Counted]:
    """A question each, by askers of their own; a cluster's first opens it."""
    seen: set[str] = set()
    found = []
    for (time, cluster), asker in zip(stream, count(), strict=False):
        found.append(Counted(time, namespace, cluster, asker, cluster not in seen))
        seen.add(cluster)
    return found


def detected(one: Detectors, learnt: list[Counted], seen: list[Counted]) -> list[dict[str, object]]:
    for question in learnt:
        one.learn(question)
    return [document for question in seen for document in one.see(question)]


QUESTIONS = asked(PAST + BURST)
LEARNT, SEEN = QUESTIONS[: len(PAST)], QUESTIONS[len(PAST) :]


def test_a_burst_is_told_once_although_it_is_seen_twice() -> None:
    (first,) = detected(Detectors(EventRules(), "decisions", []), LEARNT, SEEN)
    assert (first["type"], first["subject"]) == ("questream.cluster.spiking", "c3")
    event = PublishedEvent(SEEN[-1].time_ms, str(first["id"]), "shop", "c3", "spiking")
    # It was told before its offsets were committed, or is still going on.
    assert detected(Detectors(EventRules(), "decisions", [event]), LEARNT, SEEN) == []
    earlier = event._replace(time_ms=LEARNT[-1].time_ms - 1, id="an earlier one")
    assert detected(Detectors(EventRules(), "decisions", [earlier]), LEARNT, SEEN) == []
    # What is told of another namespace says nothing of this one.
    other = event._replace(namespace="bank", id="another")
    assert len(detected(Detectors(EventRules(), "decisions", [other]), LEARNT, SEEN)) == 1


def test_namespaces_beyond_the_most_are_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "MOST_NAMESPACES", 1)
    one = Detectors(EventRules(), "decisions", [])
    one.learn(asked([(1, "c1")], "bank")[0])
    assert detected(one, LEARNT, SEEN) == []
    others = [question._replace(namespace="bank") for question in LEARNT + SEEN]
    assert len(detected(one, others[: len(LEARNT)], others[len(LEARNT) :])) == 1


def test_ids_of_events_are_known_as_many_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "MOST_EVENTS", 2)
    one = Detectors(EventRules(), "decisions", [])
    for id_ in ("a", "b", "c"):
        assert one.only_new([{"id": id_}]) == [{"id": id_}]
    assert one.only_new([{"id": "c"}, {"id": "b"}]) == []
    # The oldest is let go.
    assert one.only_new([{"id": "a"}]) == [{"id": "a"}]


@pytest.mark.parametrize("outcome", [KafkaUnavailable("Kafka does not answer"), Superseded("the turn is another's")])
def test_a_session_that_may_pass_is_followed_by_another(outcome: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_FIRST_PAUSE_SECONDS", 0.0)
    stopping, begun = threading.Event(), 0

    def session() -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            stopping.set()
        raise outcome

    condition = WatchCondition("publishes", 60.0)
    run_sessions(session, stopping, condition.note_lost)
    assert begun == 3
    # Only what went wrong is reported.
    assert (condition.ready() == str(outcome)) is isinstance(outcome, KafkaUnavailable)


def test_what_no_session_mends_ends_the_process() -> None:
    stopping = threading.Event()

    def session() -> None:
        stopping.set()
        raise KafkaRefused("topic cluster-events does not exist", "create it with: questream topics create")

    with pytest.raises(KafkaRefused, match="does not exist"):
        run_sessions(session, stopping, WatchCondition("publishes", 60.0).note_lost)


class Pauses(threading.Event):
    """Notes how long is waited, and stops after some times."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        if len(self.seconds) == 8:
            self.set()
        return self.is_set()


def test_pauses_get_longer_until_a_session_has_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, times = Pauses(), iter([*[0.0] * 12, 0.0, 20.0, 0.0, 0.0])
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: next(times)))

    def session() -> None:
        raise KafkaUnavailable("Kafka does not answer")

    run_sessions(session, stopping, WatchCondition("publishes", 60.0).note_lost)
    assert stopping.seconds == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 0.5, 1.0]
