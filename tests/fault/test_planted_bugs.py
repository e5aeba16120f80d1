"""The checker finds what it is there to find: bugs planted in workers, each in a stream that is clean without it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable

import pytest
import redis
from kafka import KafkaAdminClient

from tests.kit.checker import Evidence, Promise, Rules, check, collect
from tests.kit.checker.planted import BUGS
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import Message, Stream, WorkerProcess, forget, members, question, wait_until
from tests.kit.vectors import hash_vector

THRESHOLD = 0.55
OPTIONS = {
    "clusters.threshold": THRESHOLD,
    # Six questions are too few for a mean of theirs: with it nothing here would be alike.
    "clusters.similarity": "cosine",
    "kafka.session_timeout_seconds": 2,
    "kafka.transaction_timeout_seconds": 3,
}
# "one two" and "two three" have a cosine of .48, each of them .80 to "one two three", which makes them one.
MERGING = ["one two", "red sea", "two three", "one two three", "one two three", "one two three"]
RULES = Rules(THRESHOLD, hash_vector, similarity="cosine")

Starter = Callable[..., WorkerProcess]
# By bug, the promises that the checker has to find broken; without a bug, none.
Broken = dict[str | None, set[Promise]]
AFTER_A_MERGE: Broken = {
    None: set(),
    "no-ledger": {Promise.SIZES, Promise.CENTROIDS},
    "double-count": {Promise.SIZES, Promise.SIZE_SEQUENCE},
    "lost-alias": {Promise.KNOWN_ID, Promise.SIZES},
    "merge-not-published": {Promise.CLUSTER_TOPIC},
    "number-not-moved-on": {Promise.UNIQUE_ID},
    "dead-letters-dropped": {Promise.NOTHING_LOST, Promise.OFFSETS},
    "dead-letters-rewritten": {Promise.DEAD_LETTERS},
}
TOO_LATE: Broken = {
    None: set(),
    "no-stale-check": {Promise.UNIQUE_ID},
    "stale-creations-renumbered": {Promise.NO_TWINS},
}
AT_LEAST_ONCE: Broken = {None: set(), "offsets-before-records": {Promise.NOTHING_LOST, Promise.OFFSETS}}
PUT_BACK: Broken = {None: set(), "recovery-disabled": {Promise.UNIQUE_ID, Promise.SIZES, Promise.CLUSTER_TOPIC}}


def cases(broken: Broken) -> pytest.MarkDecorator:
    """A test for each bug, and the one without."""
    return pytest.mark.parametrize(
        ("bug", "broken"), [pytest.param(bug, promises, id=bug or "clean") for bug, promises in broken.items()]
    )


@cases(AFTER_A_MERGE)
def test_a_worker_killed_between_a_merge_and_kafka(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    """The next one publishes what it left, reads a record that is no question, and opens another cluster."""
    stream = make_stream(1, **OPTIONS)
    stream.send(question(i, text, headers=[("traceparent", b"00-1")]) for i, text in enumerate(MERGING))
    first = start_worker(stream, bug=bug, fault="merge:after:1:KILL")
    assert first.wait() == -signal.SIGKILL
    forget(stream, first)
    poison = Message(b'{"id": \xff', b"poison", [("who", b"me"), ("void", b"")])
    stream.send([poison, question(100, "quite another matter"), question(101, "red sea"), question(102, "one two")])
    start_worker(stream, bug=bug, left_behind_seconds=0.1)
    evidence = at_rest(stream, len(MERGING) + 4)
    # Else the promise is not put to the test.
    assert bug or any(b'"event":"merged"' in (entry.value or b"") for entry in evidence.cluster_states)
    assert_broken(evidence, RULES, broken)


@cases(TOO_LATE)
def test_a_worker_that_comes_too_late_with_new_clusters(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    """It is frozen before its first commit, until the other has decided the same questions."""
    texts = ["one two", "red sea", "quite another matter"]
    # Longer than the other takes on a loaded machine: one whose session has ended decides anew, and is not late.
    stream = make_stream(2, **{**OPTIONS, "kafka.session_timeout_seconds": 30})
    late = start_worker(stream, bug=bug, fault="commit:before:1:STOP")
    start_worker(stream, bug=bug)
    wait_until(lambda: list(members(stream).values()) == [1, 1], "each worker has a partition")
    own = partition_of(stream, late)
    stream.send(question(f"late-{i}", text, partition=own) for i, text in enumerate(texts))
    wait_until(late.is_frozen, "the late worker is frozen")
    stream.send(question(f"soon-{i}", text, partition=1 - own) for i, text in enumerate(texts))
    with stream.decisions() as reader:
        # Should the group rebalance just now, it waits for the frozen one first.
        reader.until(len(texts), 90)
    late.signal(signal.SIGCONT)
    evidence = at_rest(stream, 2 * len(texts))
    assert_broken(evidence, RULES, broken)


@cases(AT_LEAST_ONCE)
def test_a_worker_killed_while_it_sends_at_least_once(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    """Some of the batch's records are sent, some are not."""
    stream = make_stream(1, **OPTIONS, delivery="at-least-once")
    stream.send(question(i, MERGING[i % len(MERGING)]) for i in range(40))
    first = start_worker(stream, bug=bug, fault="send:before:20:KILL")
    assert first.wait() == -signal.SIGKILL
    forget(stream, first)
    start_worker(stream, bug=bug, left_behind_seconds=0.1)
    evidence = at_rest(stream, 40)
    assert_broken(evidence, Rules(THRESHOLD, hash_vector, similarity="cosine", delivery="at-least-once"), broken)


@cases(PUT_BACK)
def test_a_redis_put_back_to_an_old_snapshot(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
    start_worker: Starter,
    bug: str | None,
    broken: set[Promise],
) -> None:
    """The append-only file of before the second wave of questions comes back before the third."""
    server = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(1), server.url, dict(OPTIONS))
    saved, live = server.folder / "saved", server.folder / "appendonlydir"
    decide_wave(stream, start_worker, MERGING)
    shutil.copytree(live, saved)
    decide_wave(stream, start_worker, ["red sea", "quite another matter", "one two"])
    server.stop()
    shutil.rmtree(live)
    shutil.copytree(saved, live)
    server.start()
    assert_broken(evidence_of(stream), RULES, {Promise.REMEMBERED, Promise.SIZES})
    evidence = decide_wave(stream, start_worker, ["red sea", "nothing of the kind"], bug)
    assert_broken(evidence, RULES, broken)


def test_every_bug_is_planted_in_some_test() -> None:
    assert BUGS.keys() == set().union(AFTER_A_MERGE, TOO_LATE, AT_LEAST_ONCE, PUT_BACK) - {None}


def decide_wave(stream: Stream, start_worker: Starter, texts: list[str], bug: str | None = None) -> Evidence:
    """The evidence once a worker has decided these questions too; it is gone by then."""
    stood = sum(stream.committed().values())
    stream.send(question(stood + i, text) for i, text in enumerate(texts))
    worker = start_worker(stream, bug=bug, left_behind_seconds=0.1)
    evidence = at_rest(stream, stood + len(texts))
    worker.kill()
    forget(stream, worker)
    return evidence


def partition_of(stream: Stream, worker: WorkerProcess) -> int:
    """The one partition that a worker has."""
    admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
    try:
        group = admin.describe_groups([stream.group_id])[stream.group_id]
    finally:
        admin.close()
    (topic,) = next(
        member["member_assignment"]["assigned_partitions"]
        for member in group["members"]
        if member["client_id"] == worker.name
    )
    (partition,) = topic["partitions"]
    return int(partition)


def evidence_of(stream: Stream) -> Evidence:
    """What the stream has left behind so far."""
    topics = stream.topics
    return collect(
        stream.bootstrap_servers,
        stream.redis_url,
        stream.group_id,
        topics.input_topic,
        topics.output_topic,
        topics.cluster_topic,
        topics.dead_letter_topic,
        operation_topic=topics.operation_topic,
        correction_topic=topics.correction_topic,
    )


def at_rest(stream: Stream, records: int) -> Evidence:
    """The evidence once so many records are done with, and everything is told that ever will be."""
    wait_until(lambda: sum(stream.committed().values()) >= records, "all offsets are committed")
    client = stream.redis()
    wait_until(lambda: not client.zcard("questream:{default}:outbox"), "every state is published")
    wait_until(lambda: not operations_wait(client), "every operation is published")
    return evidence_of(stream)


def operations_wait(client: redis.Redis) -> bool:
    """True if an operation is not known to be published."""
    known = client.hmget("questream:{default}:meta", ["operation_count", "operations_published"])
    count, published = (int(one or 0) for one in known)
    return published < count


def assert_broken(evidence: Evidence, rules: Rules, broken: set[Promise]) -> None:
    """Fail unless the checker says that these promises are broken; where there are none, that none is."""
    violations = check(evidence, rules)
    told = "\n".join(map(str, violations))
    assert broken <= {violation.promise for violation in violations}, told or "nothing was found"
    assert broken or not violations, told
    assert not any(text in told for text in MERGING)
