"""States and decisions that reach Kafka late, and a death or a loss of memory right then."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable

from tests.fault.test_planted_bugs import (
    MERGING,
    OPTIONS,
    RULES,
    Starter,
    assert_broken,
    at_rest,
    decide_wave,
    partition_of,
)
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import Stream, members, question, wait_until


def test_decisions_published_out_of_the_ledger_are_not_forgotten_with_redis(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
    start_worker: Starter,
) -> None:
    """A worker dies between Redis and Kafka, its heir publishes what it decided, and Redis is emptied right then."""
    server = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(1), server.url, dict(OPTIONS))
    decide_wave(stream, start_worker, MERGING)
    stream.send(question(100 + i, text) for i, text in enumerate(["quite another matter", "red sea"]))
    assert start_worker(stream, fault="commit:after:1:KILL").wait() == -signal.SIGKILL
    heir = start_worker(stream)
    with stream.decisions() as reader:
        reader.until(len(MERGING) + 2)
    heir.kill()
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    server.start()
    evidence = decide_wave(stream, start_worker, ["red sea", "nothing of the kind"])
    assert_broken(evidence, RULES, set())


def test_an_older_state_published_after_a_newer_one_is_not_the_last_word(
    make_stream: Callable[..., Stream], start_worker: Starter
) -> None:
    """A worker publishes its state after another has confirmed a newer one, and dies before it confirms its own."""
    options = {"kafka.session_timeout_seconds": 10, "kafka.transaction_timeout_seconds": 20}
    stream = make_stream(2, **{**OPTIONS, **options})
    late = start_worker(stream, fault="publish:before:1:STOP,confirm:before:1:KILL")
    start_worker(stream)
    wait_until(lambda: list(members(stream).values()) == [1, 1], "each worker has a partition")
    own = partition_of(stream, late)
    stream.send([question(1, "red sea", partition=own)])
    wait_until(late.is_frozen, "the late worker is frozen")
    stream.send([question(2, "red sea", partition=1 - own)])
    with stream.decisions() as reader:
        reader.until(1, 90)
    wait_until(lambda: not stream.redis().zcard("questream:{default}:outbox"), "the newer state is confirmed")
    late.signal(signal.SIGCONT)
    assert late.wait() == -signal.SIGKILL
    assert_broken(at_rest(stream, 2), RULES, set())
