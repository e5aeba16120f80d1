"""A worker frozen past its session timeout, the one that takes over, and the first one's return."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable

import pytest

from tests.fault.test_crash import OPTIONS, assert_published_as_recorded, recorded_decisions, text
from tests.kit.stream import (
    Message,
    Stream,
    Supervisor,
    WorkerProcess,
    assert_one_decision_each,
    assert_repetitions_agree,
    assert_sizes_have_no_gap,
    ids_of,
    live_sizes,
    members,
    question,
    wait_until,
)

QUESTIONS = 400
MORE = 100


def send_until_forgotten(stream: Stream, count: int) -> int:
    """Send questions one by one until the ledger has forgotten the first `count`; returns how many there are."""
    store, numbers = stream.store(), itertools.count(count)

    def has_forgotten() -> bool:
        number = next(numbers)
        stream.send([question(number, text(number))])
        wait_until(lambda: stream.committed() == {0: number + 1}, "all offsets are committed")
        return store.ledger("default", stream.topics.input_topic, 0).decisions.keys().isdisjoint(range(count))

    wait_until(has_forgotten, f"the ledger has forgotten the first {count} questions")
    return next(numbers)


@pytest.mark.parametrize(
    ("client", "fault"),
    [
        pytest.param("kafka-python", "commit:before:3:STOP", id="before_redis_committed"),
        pytest.param("kafka-python", "commit:after:3:STOP", id="after_redis_committed"),
        pytest.param("kafka-python", "commit-transaction:before:3:STOP", id="with_the_transaction_open"),
        pytest.param("confluent", "commit:after:3:STOP", id="after_redis_committed-confluent"),
        pytest.param("confluent", "commit-transaction:before:3:STOP", id="with_the_transaction_open-confluent"),
    ],
)
def test_a_frozen_worker_returns_and_nothing_happens_twice(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    supervise: Callable[..., Supervisor],
    client: str,
    fault: str,
) -> None:
    stream = make_stream(2, **OPTIONS, **{"kafka.client": client})
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    # A call to Kafka that was frozen for long may end the process; it is then started again.
    zombie = supervise(stream, fault=fault).worker
    wait_until(zombie.is_frozen, "the worker is frozen")
    recorded = recorded_decisions(stream)
    other = start_worker(stream)
    with stream.decisions() as reader:
        reader.until(QUESTIONS)
        zombie.signal(signal.SIGCONT)
        wait_until(lambda: members(stream) == {zombie.name: 1, other.name: 1}, "both share the partitions")
        stream.send(question(i, text(i)) for i in range(QUESTIONS, QUESTIONS + MORE))
        reader.until(QUESTIONS + MORE)
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS + MORE, "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS + MORE)))
    assert_published_as_recorded(decisions, recorded)
    assert_sizes_have_no_gap(decisions)
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS + MORE


def test_a_worker_that_returns_late_publishes_nothing_about_what_others_decided(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], supervise: Callable[..., Supervisor]
) -> None:
    # In at-least-once no broker fences it: by the time it commits, the ledger has forgotten what the other published.
    stream = make_stream(2, **OPTIONS, delivery="at-least-once")
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    zombie = supervise(stream, fault="commit:before:3:STOP").worker
    wait_until(zombie.is_frozen, "the worker is frozen")
    start_worker(stream)
    with stream.decisions() as reader:
        reader.until(QUESTIONS)
        stream.send(question(i, text(i)) for i in range(QUESTIONS, QUESTIONS + MORE))
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS + MORE, "all offsets are committed")
        zombie.signal(signal.SIGCONT)
        stream.send(question(i, text(i)) for i in range(QUESTIONS + MORE, QUESTIONS + 2 * MORE))
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS + 2 * MORE, "all offsets are committed")
        decisions = assert_repetitions_agree(reader.values())
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS + 2 * MORE)))
    assert {decision["outcome"] for decision in decisions} == {"joined", "created"}


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_worker_that_reads_a_ledger_late_publishes_nothing_about_what_others_decided(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    supervise: Callable[..., Supervisor],
    client: str,
) -> None:
    # It has the first records in hand, and no ledger has told it that they are new.
    stream = make_stream(1, **OPTIONS, **{"kafka.client": client}, delivery="at-least-once")
    stream.send(question(i, text(i)) for i in range(MORE))
    zombie = supervise(stream, fault="ledger:before:1:STOP").worker
    wait_until(zombie.is_frozen, "the worker is frozen")
    start_worker(stream)
    count = send_until_forgotten(stream, MORE)
    zombie.signal(signal.SIGCONT)
    wait_until(lambda: zombie.name in members(stream), "the worker has joined the group again")
    stream.send([question(count, text(count))])
    wait_until(lambda: stream.committed() == {0: count + 1}, "all offsets are committed")
    with stream.decisions() as reader:
        decisions = assert_repetitions_agree(reader.values())
    assert_one_decision_each(decisions, (f"q{i}" for i in range(count + 1)))
    assert {decision["outcome"] for decision in decisions} == {"joined", "created"}


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_worker_that_returns_late_makes_no_dead_letter_of_what_others_decided(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    supervise: Callable[..., Supervisor],
    client: str,
) -> None:
    # Each worker lets one namespace begin: the second is too many for the zombie, and not for the other one.
    limits = {"namespaces.per_minute": 1, "input.namespace_header": "tenant"}
    stream = make_stream(1, **OPTIONS, **limits, **{"kafka.client": client}, delivery="at-least-once")

    def asked(number: int, tenant: str) -> Message:
        return question(number, text(number), headers=[("tenant", tenant.encode())])

    stream.send([asked(0, "acme")])
    zombie = supervise(stream, fault="fence:before:1:STOP").worker
    wait_until(lambda: stream.committed() == {0: 1}, "the first namespace has begun")
    stream.send([asked(1, "bank")])
    wait_until(zombie.is_frozen, "the worker is frozen")
    start_worker(stream)
    wait_until(lambda: stream.committed() == {0: 2}, "the other has decided the question")
    zombie.signal(signal.SIGCONT)
    wait_until(lambda: zombie.name in members(stream), "the worker has joined the group again")
    stream.send([asked(2, "bank")])
    wait_until(lambda: stream.committed() == {0: 3}, "all offsets are committed")
    with stream.decisions() as reader, stream.dead_letters() as dead:
        assert_one_decision_each(assert_repetitions_agree(reader.values(3)), ["q0", "q1", "q2"])
        assert [letter.key for letter in dead.rest()] == []


def test_a_worker_that_returns_late_answers_no_pruned_question_that_others_have_answered(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], supervise: Callable[..., Supervisor]
) -> None:
    # The group is set back behind its ledger, and its questions are answered with the clusters of the day.
    stream = make_stream(1, **OPTIONS, delivery="at-least-once")
    stream.send(question(i, text(i)) for i in range(MORE))
    first = start_worker(stream)
    count = send_until_forgotten(stream, MORE)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    stream.set_back()
    zombie = supervise(stream, fault="fence:before:1:STOP").worker
    wait_until(zombie.is_frozen, "the worker is frozen")
    start_worker(stream)
    wait_until(lambda: stream.committed() == {0: count}, "the other has answered all")
    zombie.signal(signal.SIGCONT)
    wait_until(lambda: zombie.name in members(stream), "the worker has joined the group again")
    stream.send([question(count, text(count))])
    wait_until(lambda: stream.committed() == {0: count + 1}, "all offsets are committed")
    with stream.decisions() as reader:
        replayed = [decision for decision in reader.values() if decision["outcome"] == "replayed"]
    assert ids_of(replayed).keys() >= {f"q{i}" for i in range(MORE)}
    assert max(ids_of(replayed).values()) == 1
