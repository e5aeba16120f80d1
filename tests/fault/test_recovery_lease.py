"""Recovery an emptied Redis takes longer than the group waits for a member that does not poll."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from questream.errors import RecoveryNeeded
from questream.store.redis.store import RedisStore
from tests.kit.servers import RedisServer
from tests.kit.servers.network import Link
from tests.kit.stream import Stream, WorkerProcess, assert_one_decision_each, probe, question, wait_until

SUBJECTS = 1100
OPTIONS = {"kafka.max_poll_interval_seconds": 6, "kafka.session_timeout_seconds": 6, "redis.timeout_seconds": 10}
PUT_BACK = "the store had lost clusters; they are restored"


def subject(number: int) -> str:
    return f"subject{number} matter{number} affair{number}"


def fill(stream: Stream, start_worker: Callable[..., WorkerProcess]) -> dict[str, str]:
    """Open a cluster for each subject; returns the clusters by question."""
    stream.send(question(i, subject(i)) for i in range(SUBJECTS))
    worker = start_worker(stream)
    with stream.decisions() as reader:
        before = {d["question_id"]: d["cluster_id"] for d in reader.values(SUBJECTS)}
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    return before


def assert_nothing_changed(stream: Stream, before: dict[str, str]) -> None:
    """What is asked again after the loss has the cluster that it had, and each question one decision."""
    stream.send(question(SUBJECTS + i, subject(i)) for i in range(100))
    with stream.decisions() as reader:
        decisions = reader.values(SUBJECTS + 100)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(SUBJECTS + 100)))
    after = {d["question_id"]: d["cluster_id"] for d in decisions[SUBJECTS:]}
    assert after == {f"q{SUBJECTS + i}": before[f"q{i}"] for i in range(100)}


def times_put_back(workers: Sequence[WorkerProcess]) -> int:
    return sum(worker.log.read_text().count(PUT_BACK) for worker in workers)


def is_recovered(store: RedisStore) -> bool:
    try:
        return store.store_epoch("default") is not None
    except RecoveryNeeded:
        return False


def test_one_worker_settles_behind_a_slow_path_while_the_others_wait(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], redis_server: RedisServer
) -> None:
    direct = make_stream(2, **OPTIONS)
    server = urlsplit(direct.redis_url)
    with Link(redis_server.port) as link:
        stream = replace(direct, redis_url=server._replace(netloc=f"{server.hostname}:{link.port}").geturl())
        before = fill(stream, start_worker)
        workers = [start_worker(stream), start_worker(stream)]
        wait_until(lambda: all(probe(worker.port, "readyz")[0] == 200 for worker in workers), "both are ready")
        # Each call, and each hundred clusters, take .4 s and more.
        link.delay(0.2)
        direct.redis().flushdb()
        stream.send([question("woken", "something else")])
        told: set[str] = set()

        def recovered() -> bool:
            told.update(probe(worker.port, "readyz")[1] for worker in workers)
            return is_recovered(direct.store())

        wait_until(recovered, "the namespace is recovered", 120)
        link.heal()
        with stream.decisions() as reader:
            reader.until(SUBJECTS + 1)
    assert any("recovering namespace 'default'" in page for page in told)
    assert any("waiting for another worker" in page for page in told)
    assert times_put_back(workers) == 1
    assert all(worker.running for worker in workers)
    assert len(list(direct.store().summaries("default"))) == SUBJECTS + 1
    assert set(before) == {f"q{i}" for i in range(SUBJECTS)}


def test_a_worker_that_dies_while_it_settles_is_taken_over_from(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(2, **OPTIONS)
    before = fill(stream, start_worker)
    stream.redis().flushdb()
    first = start_worker(stream, fault="restore:before:2:STOP")
    wait_until(first.is_frozen, "the first has put a part back and stands still")
    second = start_worker(stream)
    assert_nothing_changed(stream, before)
    assert times_put_back([second]) == 1
    first.kill()
    assert len(list(stream.store().summaries("default"))) == SUBJECTS
