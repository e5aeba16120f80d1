"""Redis forgets what it had acknowledged: emptied, cut back, or replaced by a replica that lagged, under load."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from questream.domain import format_cluster_id
from questream.records import decode_cluster_state, is_cluster_key
from tests.fault.test_crash import text
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    forget,
    live_sizes,
    question,
    wait_until,
)

QUESTIONS = 3000
OPTIONS = {"batch_questions": 32, "kafka.transaction_timeout_seconds": 5, "kafka.session_timeout_seconds": 6}


def assert_nothing_was_lost(stream: Stream, questions: int = QUESTIONS) -> None:
    """One decision each, counted once; an id stands for one subject; the cluster topic tells what Redis holds."""
    with stream.decisions() as reader:
        wait_until(lambda: sum(stream.committed().values()) >= questions, "all offsets are committed", 90)
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(questions)))
    assert all(decision["outcome"] != "replayed" for decision in decisions)
    store = stream.store()
    assert sum(live_sizes(store).values()) == questions
    subjects = {(d["cluster_id"], text(int(d["question_id"][1:])).split()[0]) for d in decisions}
    assert len({cluster_id for cluster_id, _ in subjects}) == len(subjects)
    assert len({subject for _, subject in subjects}) == len(subjects)
    wait_until(lambda: not store.unpublished("default", 0, 1), "all states are published")
    assert published_sizes(stream) == live_sizes(store)


def published_sizes(stream: Stream) -> dict[str, int]:
    """Size by public id of the live clusters, as the newest states of the cluster topic tell."""
    with stream.cluster_states() as reader:
        states = [decode_cluster_state(r.key, r.value) for r in reader.rest() if is_cluster_key(r.key)]
    newest = {state.cluster_id: state for state in sorted(states, key=lambda state: state.revision)}
    return {format_cluster_id(i): state.size for i, state in newest.items() if state.merged_into is None}


def test_an_emptied_redis_is_filled_again_under_load(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(2, **OPTIONS)
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    workers = [start_worker(stream), start_worker(stream)]
    with stream.decisions() as reader:
        for part in (1, 3, 5):
            reader.until(QUESTIONS * part // 10)
            stream.redis().flushdb()
    assert_nothing_was_lost(stream)
    assert all(worker.running for worker in workers)


def test_what_redis_lost_while_nobody_looked_is_put_back_before_the_next_decision(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(1, **OPTIONS)
    stream.send(question(i, text(i)) for i in range(200))
    first = start_worker(stream)
    with stream.decisions() as reader:
        before = {d["question_id"]: d["cluster_id"] for d in reader.values(200)}
    first.kill()
    forget(stream, first)
    stream.redis().flushdb()
    # Other subjects first: an id that was given would be given again.
    stream.send(question(i, text(i).replace("topic", "matter")) for i in range(200, 240))
    stream.send(question(i, text(i)) for i in range(240, 300))
    start_worker(stream)
    with stream.decisions() as reader:
        after = {d["question_id"]: d["cluster_id"] for d in reader.values(300)[200:]}
    assert not set(before.values()) & {after[f"q{i}"] for i in range(200, 240)}
    for i in range(240, 300):
        assert after[f"q{i}"] == before[f"q{i % 12}"]


def test_a_redis_that_comes_back_without_its_last_writes_is_made_whole(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
    start_worker: Callable[..., WorkerProcess],
) -> None:
    server = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(2), server.url, OPTIONS)
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    workers = [start_worker(stream), start_worker(stream)]
    log, kept = server.folder / "appendonlydir", server.folder / "kept"
    with stream.decisions() as reader:
        for part in (1, 3):
            reader.until(QUESTIONS * part // 10)
            shutil.copytree(log, kept)
            reader.until(QUESTIONS * (part + 1) // 10)
            server.kill()
            shutil.rmtree(log)
            kept.rename(log)
            server.start()
    assert_nothing_was_lost(stream)
    assert all(worker.running for worker in workers)


def test_what_waits_in_the_outbox_of_a_namespace_without_questions_is_published(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(**{"input.namespace_header": "tenant"})
    stream.send([question(0, text(0)), question(1, text(1), headers=[("tenant", b"quiet")])])
    with stream.decisions() as reader:
        first = start_worker(stream)
        reader.until(2)
        first.kill()
        forget(stream, first)
    client = stream.redis()
    # A worker that put the namespace back died before it published it again.
    client.zadd("questream:{quiet}:outbox", {"0": 1})
    start_worker(stream)
    wait_until(lambda: not client.exists("questream:{quiet}:outbox"), "what waits is published")
