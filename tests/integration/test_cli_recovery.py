"""`questream verify` and `questream restore` on a real Kafka and Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from questream.errors import ExitCode
from questream.operations import By, Decisions
from questream.store.retention import Retention
from tests.fault.test_crash import text
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Stream, live_sizes, question, running_worker, send, wait_until
from tests.kit.vectors import hash_encoder

QUESTIONS = 120
META, CLUSTER = "questream:{default}:meta", "questream:{default}:cluster:2"


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream whose questions are all decided and whose clusters are all published; nobody works any more."""
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url)
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        reader.until(QUESTIONS)
        wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    return stream


def run(stream: Stream, *command: str) -> Outcome:
    return questream(*command, *(f"--{key}={value}" for key, value in stream.overrides().items()))


def promises(stream: Stream) -> list[str]:
    """What `verify` says does not hold."""
    outcome = run(stream, "verify", "--json")
    differences = outcome.json["differences"]
    assert outcome.code == (ExitCode.FAILED if differences else ExitCode.OK)
    return [difference["promise"] for difference in differences]


def test_what_stands_as_it_was_published_verifies(stream: Stream) -> None:
    # What others send to the output topic is no decision.
    send(stream.bootstrap_servers, stream.topics.output_topic, [Message(b"no decision", b"key"), Message(None, b"key")])
    outcome = run(stream, "verify")
    assert outcome.code == ExitCode.OK, outcome.out
    assert outcome.out == f"12 clusters in 1 namespaces and {QUESTIONS} decisions compared, no differences\n"


def test_an_emptied_redis_is_seen_and_filled_again(stream: Stream) -> None:
    before = live_sizes(stream.store())
    stream.redis().flushdb()
    assert "the store has all that was published" in promises(stream)
    outcome = run(stream, "restore", "--json")
    assert (outcome.code, outcome.json) == (ExitCode.OK, {"default": 12})
    assert live_sizes(stream.store()) == before
    assert promises(stream) == []
    assert run(stream, "restore", "--json").json == {"default": 0}


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        pytest.param(lambda r: r.delete(CLUSTER), "the store has all that was published", id="a cluster is gone"),
        pytest.param(lambda r: r.hset(CLUSTER, "size", 3), "the topic has what the store holds", id="a size"),
        pytest.param(lambda r: r.hincrby(CLUSTER, "revision", 1), "every change is published", id="an untold change"),
        pytest.param(
            lambda r: r.hset(META, "incarnation", "another:1"),
            "the store is the one that was last compared with the cluster topic",
            id="another process",
        ),
    ],
)
def test_damage_is_told_by_the_promise_that_it_breaks(
    stream: Stream, damage: Callable[[Any], Any], promise: str
) -> None:
    damage(stream.redis())
    assert promise in promises(stream)


OPERATIONS = "questream:{default}:operations"


@pytest.fixture
def decided(stream: Stream) -> Stream:
    """The stream with a merge and a pin, which are published."""
    store = stream.store()
    decisions = Decisions(store, "default", By("ann", "the same"))
    merged = decisions.commit(decisions.merge(1, 2))
    decisions.commit(decisions.mark("pin", 3))
    assert merged.survivor is not None
    with running_worker(stream.settings(), hash_encoder()):
        wait_until(lambda: store.published_operations("default") == 2, "the operations are published")
        wait_until(lambda: not store.unpublished("default", 0, 1), "all states are published")
    return stream


def test_a_merge_of_the_operation_topic_comes_back(decided: Stream) -> None:
    known = decided.store().operations("default", 10)
    assert [(one.kind, one.survivor) for one in known] == [("pin", None), ("merge", 1)]
    assert promises(decided) == []
    decided.redis().delete(OPERATIONS, OPERATIONS.replace("operations", "operation_ids"))
    (difference,) = run(decided, "verify", "--json").json["differences"]
    assert difference["promise"] == "the store has all that was published"
    assert difference["told"] == "2 operations of the topic are missing in the store: 1, 2"
    assert run(decided, "restore").code == ExitCode.OK
    assert decided.store().operations("default", 10) == known
    assert promises(decided) == []


def other_actor(text: bytes) -> bytes:
    return text.replace(b'"actor":"ann"', b'"actor":"bob"')


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        pytest.param(
            lambda r: r.hset(OPERATIONS, "1", other_actor(r.hget(OPERATIONS, "1"))),
            "the topic has what the store holds",
            id="another operation",
        ),
        pytest.param(
            lambda r: (
                r.hset(OPERATIONS, "3", r.hget(OPERATIONS, "2")),
                r.hset(META, mapping={"operation_count": 3, "operations_published": 3}),
            ),
            "every change is published",
            id="an untold operation",
        ),
    ],
)
def test_operations_that_differ_are_told(decided: Stream, damage: Callable[[Any], Any], promise: str) -> None:
    damage(decided.redis())
    assert promises(decided) == [promise]


def test_an_operation_that_waits_is_no_difference(decided: Stream) -> None:
    decisions = Decisions(decided.store(), "default", By("ann"))
    decisions.commit(decisions.mark("unpin", 3))
    assert promises(decided) == []


def test_what_was_deleted_by_hand_is_put_back_while_a_worker_runs(stream: Stream) -> None:
    before = live_sizes(stream.store())
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([question(QUESTIONS, text(0))])
        reader.until(QUESTIONS + 1)
        stream.redis().delete(CLUSTER)
        assert run(stream, "restore", "--json").json == {"default": 1}
        stream.send(question(i, text(i)) for i in range(QUESTIONS + 1, QUESTIONS + 13))
        reader.until(QUESTIONS + 13)
        wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    after = live_sizes(stream.store())
    assert after.keys() == before.keys()
    assert sum(after.values()) == QUESTIONS + 13
    assert promises(stream) == []


def test_what_has_retired_is_no_damage(stream: Stream) -> None:
    assert stream.store().retire("default", Retention(max_clusters=10), 100).count == 2
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        # An unbounded worker retires nothing more; its first word brings the tombstones.
        stream.send([question(QUESTIONS, text(11))])
        reader.until(QUESTIONS + 1)
        wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    assert promises(stream) == []
    assert run(stream, "restore", "--json").json == {"default": 0}
