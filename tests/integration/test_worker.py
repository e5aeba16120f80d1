"""The worker as a whole, on real servers: every record is answered once, and what is published is what it promises."""

from __future__ import annotations

import base64
import gc
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from questream.domain import Matrix
from questream.embedded import EMBEDDED_SESSION_TIMEOUT_SECONDS, embedded_broker, embedded_store
from questream.encoder import Encoder, Tokens
from questream.errors import IdentityMismatch
from questream.records import is_levels_key
from questream.stream.worker import Worker
from tests.kit.collector import collector_by_default, passes_noted
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, RedisServer, Topics, create_topics
from tests.kit.stream import (
    Message,
    Stream,
    assert_one_decision_each,
    assert_sizes_have_no_gap,
    live_sizes,
    question,
    real_questions,
    running_worker,
    wait_for_metrics,
    wait_until,
)
from tests.kit.vectors import hash_encoder

TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@pytest.fixture
def make_stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Callable[..., Stream]:
    """`make_stream(partitions=1, **{dotted key: value})`: a stream on the shared servers."""

    def make(partitions: int = 1, **options: Any) -> Stream:
        return Stream(kafka.bootstrap_servers, topics(partitions), redis_url, options)

    return make


@pytest.fixture(params=["kafka", "kafka-by-confluent", "embedded"])
def any_stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    """A stream of three partitions on Apache Kafka and Redis, by each client, and on the embedded pair."""
    if request.param != "embedded":
        client = "confluent" if request.param == "kafka-by-confluent" else "kafka-python"
        yield request.getfixturevalue("make_stream")(3, **{"kafka.client": client})
        return
    with embedded_broker() as bootstrap_servers, embedded_store() as redis_url:
        options = {"kafka.session_timeout_seconds": EMBEDDED_SESSION_TIMEOUT_SECONDS}
        yield Stream(bootstrap_servers, create_topics(bootstrap_servers, 3), redis_url, options)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_every_question_gets_one_decision(any_stream: Stream, encoder: Encoder, delivery: str) -> None:
    texts = real_questions(300)
    any_stream.send(question(i, text, headers=[TRACE]) for i, text in enumerate(texts))
    settings = any_stream.settings(delivery=delivery)
    with running_worker(settings, encoder), any_stream.decisions() as reader:
        decisions = reader.values(len(texts))
        assert_one_decision_each(decisions, [f"q{i}" for i in range(len(texts))])
        wait_until(lambda: sum(any_stream.committed().values()) == len(texts), "all offsets are committed")
        for record, decision in zip(reader.records, decisions, strict=True):
            schema_of("decision").validate(decision)
            assert record.key == decision["question_id"].encode()
            assert list(record.headers) == [TRACE]
    assert {decision["outcome"] for decision in decisions} == {"joined", "created"}
    assert sum(live_sizes(any_stream.store()).values()) == len(texts)


def test_a_batch_is_decided_without_a_pass_of_the_collector(make_stream: Callable[..., Stream]) -> None:
    stream, texts = make_stream(3), real_questions(600)
    with collector_by_default(), running_worker(stream.settings(), hash_encoder()) as worker:
        wait_for_metrics(worker.metrics_port, {"questream_ready": 1.0})
        gc.collect()
        with passes_noted() as passes, stream.decisions() as reader:
            stream.send(question(i, text) for i, text in enumerate(texts))
            reader.until(len(texts))
    # This test's own part of the process makes objects too.
    assert len(passes) <= 2


def test_the_cluster_topic_says_what_redis_holds(make_stream: Callable[..., Stream], encoder: Encoder) -> None:
    stream = make_stream(2, **{"clusters.threshold": 0.55, "batch_questions": 64})
    texts = real_questions(400)
    stream.send(question(i, text) for i, text in enumerate(texts))
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        reader.until(len(texts))
        wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    latest: dict[bytes, Any] = {}
    with stream.cluster_states() as states:
        for record in states.rest():
            value = json.loads(record.value)
            if is_levels_key(record.key):
                schema_of("levels").validate(value)
                continue
            schema_of("cluster-state" if b"/" in record.key else "namespace-state").validate(value)
            latest[record.key] = value
    whole = latest.pop(b"default")
    held = stream.store().namespace_state("default")
    assert held is not None
    assert (whole["mean"]["questions"], whole["next_cluster"]) == (held.mean_questions, held.next_cluster)
    merged = 0
    for key, value in latest.items():
        state = stream.store().cluster("default", int(key.decode().removeprefix("default/c")))
        assert state is not None
        told = (value["size"], value["representative"], value["revision"])
        assert told == (state.size, state.representative, state.revision)
        if state.vector_sum is None:
            merged += 1
            assert value["vector"] is None
            assert value["merged_into"] == f"c{state.merged_into}"
        else:
            vector_sum = np.frombuffer(base64.b64decode(value["vector"]["sum"]), "<f4")
            np.testing.assert_array_equal(vector_sum, state.vector_sum)
            assert value["vector"]["members"] == state.members
    assert merged
    assert len(latest) - merged == len(list(stream.store().clusters("default")))


BAD_INPUT = {
    "not_utf8": Message(b"\xff\xfe not text", b"k1"),
    "not_json": Message(b'{"id": 1, "text": ', b"k2", [TRACE, TRACE]),
    "missing_text": Message(b'{"id": "x"}', b"k3"),
    "empty_text": Message(b'{"id": "x", "text": " \\u200b "}', b"k4"),
    "wrong_type": Message(b'{"id": "x", "text": 17}', b"k5", [("questream-reason", b"mine")]),
    "null_value": Message(None, b"k6", [("empty", b"")]),
    "text_too_long": Message(json.dumps({"text": "long " * 300_000}).encode(), b"k7"),
    "invalid_namespace": Message(b'{"id": "x", "text": "where is my card?", "tenant": "a/b c"}', b"k8"),
}


def test_what_cannot_be_processed_is_dead_lettered_untouched(
    kafka: KafkaServer, redis_url: str, encoder: Encoder
) -> None:
    stream = Stream(
        kafka.bootstrap_servers,
        create_topics(kafka.bootstrap_servers, configs={"max.message.bytes": "30000000"}),
        redis_url,
        {"input.namespace_field": "tenant", "input.max_text_bytes": 1_000_000, "input.tombstones": "dead-letter"},
    )
    huge = Message(json.dumps({"text": "x" * 10_000_000}).encode(), b"huge")
    nothing = Message(None, None)
    bad = [*BAD_INPUT.values(), huge, nothing]
    sent = stream.send([question(1, "where is my card?"), *bad, question(2, "my card has not arrived")])
    with running_worker(stream.settings(), encoder) as worker, stream.dead_letters() as reader:
        records = reader.until(len(bad))
        with stream.decisions() as decisions:
            assert_one_decision_each(decisions.values(2), ["q1", "q2"])
    # A worker counts what it has published; its records are visible a moment before.
    counted = {
        sample.labels["reason"]: sample.value
        for family in worker.metrics.dead_lettered.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    by_offset = {int(dict(record.headers)["questream-offset"]): record for record in records}
    for message, (partition, offset), reason in zip(
        bad, sent[1:-1], [*BAD_INPUT, "text_too_long", "null_value"], strict=True
    ):
        record = by_offset[offset]
        assert (record.key, record.value) == (message.key, message.value)
        headers = [(name, value) for name, value in record.headers if not name.startswith("questream-")]
        assert headers == [header for header in message.headers if not header[0].startswith("questream-")]
        told = {name: value.decode() for name, value in record.headers if name.startswith("questream-")}
        assert told["questream-reason"] == reason
        assert told["questream-stage"] == "decode"
        assert (told["questream-topic"], told["questream-partition"]) == (stream.topics.input_topic, str(partition))
        schema_of("dead-letter").validate({name: value.decode() for name, value in record.headers})
    assert counted["text_too_long"] == 2
    assert counted["null_value"] == 2
    assert sum(counted.values()) == len(bad)


def test_what_is_no_question_is_passed_over_and_counted(make_stream: Callable[..., Stream]) -> None:
    stream = make_stream(**{"clusters.granularity": "duplicate"})
    row = {"id": 1, "text": "where is my card?"}
    source = {"connector": "postgresql"}

    def change(operation: str, row: dict[str, Any] | None) -> Message:
        value = {"schema": None, "payload": {"op": operation, "source": source, "before": None, "after": row}}
        return Message(json.dumps(value).encode(), b'{"id":1}')

    stream.send([change("d", None), Message(None, b'{"id":1}')] * 400)
    stream.send([change("c", row), change("d", None), Message(None, b'{"id":1}')])
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as decisions:
        (decision,) = decisions.values(1)
        assert (decision["question_id"], decision["source"]["offset"]) == ("1", 800)
        wait_until(lambda: stream.committed() == {0: 803}, "the offsets are past what is passed over")
        passed_over = {f'questream_passed_over_total{{reason="{reason}"}}': 401 for reason in ("delete", "tombstone")}
        wait_for_metrics(worker.metrics_port, passed_over)
    with stream.dead_letters() as dead:
        assert dead.rest() == []


class _SometimesNotANumber:
    """The real encoder, but for texts with the word 'overflow', for which a broken model gives no number."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._broken: set[bytes] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        tokens = self._encoder.tokenise(texts)
        self._broken |= {t.ids.tobytes() for t, text in zip(tokens, texts, strict=True) if "overflow" in text}
        return tokens

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Matrix:
        vectors = self._encoder.encode_tokens(tokens)
        vectors[[t.ids.tobytes() in self._broken for t in tokens]] = np.nan
        return vectors


def test_a_vector_that_is_no_number_is_dead_lettered_alone(
    make_stream: Callable[..., Stream], encoder: Encoder
) -> None:
    stream = make_stream()
    stream.send([question(1, "where is my card?"), question(2, "overflow"), question(3, "where is my new card?")])
    broken: Any = _SometimesNotANumber(encoder)
    with running_worker(stream.settings(), broken), stream.decisions() as decisions, stream.dead_letters() as dead:
        assert_one_decision_each(decisions.values(2), ["q1", "q3"])
        (record,) = dead.until(1)
    told = dict(record.headers)
    assert (record.key, told["questream-stage"], told["questream-reason"]) == (b"q2", b"embed", b"not_finite")
    assert np.isfinite(stream.store().load("default").sums).all()


def test_namespaces_in_one_batch_are_kept_apart(make_stream: Callable[..., Stream], encoder: Encoder) -> None:
    stream = make_stream(**{"input.namespace_header": "tenant"})
    text = "where is my card?"
    stream.send(question(i, text, headers=[("tenant", f"tenant-{i % 3}".encode())]) for i in range(30))
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        decisions = reader.values(30)
    assert {(d["namespace"], d["cluster_id"]) for d in decisions} == {(f"tenant-{i}", "c1") for i in range(3)}
    for namespace in ("tenant-0", "tenant-1", "tenant-2"):
        assert live_sizes(stream.store(), namespace) == {"c1": 10}
        assert_sizes_have_no_gap([d for d in decisions if d["namespace"] == namespace])


def test_a_namespace_of_another_model_is_refused(make_stream: Callable[..., Stream], encoder: Encoder) -> None:
    stream = make_stream()
    stream.send([question(1, "where is my card?")])
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        reader.until(1)
    other = replace(encoder, revision="another")
    with pytest.raises(IdentityMismatch, match=f"revision '{re.escape(encoder.revision)}'"):
        Worker(stream.settings(), other).run()
    assert live_sizes(stream.store()) == {"c1": 1}


def test_a_group_that_is_set_far_back_learns_nothing_twice(make_stream: Callable[..., Stream]) -> None:
    encoder = hash_encoder()
    # Far below what the questions of one kind score: none changes its cluster as the mean moves.
    stream = make_stream(**{"batch_questions": 16, "clusters.threshold": 0.55})
    texts = [f"how to {i % 7} card{i % 7} bank{i % 7} {i}" for i in range(200)]
    stream.send(question(i, text) for i, text in enumerate(texts))
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        first = {d["question_id"]: d for d in reader.values(len(texts))}
    sizes = live_sizes(stream.store())
    stream.set_back()
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        decisions = reader.values(2 * len(texts))[len(texts) :]
    assert_one_decision_each(decisions, first)
    assert live_sizes(stream.store()) == sizes
    outcomes = {d["outcome"] for d in decisions}
    assert "replayed" in outcomes
    for decision in decisions:
        before = first[decision["question_id"]]
        if decision["outcome"] == "replayed":
            assert decision["cluster_id"] == before["cluster_id"]
        else:
            assert decision == before


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_probes_tell_how_it_is(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_factory: Callable[..., RedisServer], encoder: Encoder
) -> None:
    server = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(), server.url, {"redis.timeout_seconds": 0.5})
    stream.send([*(question(i, text) for i, text in enumerate(real_questions(40))), Message(b"{", b"bad")])
    with running_worker(stream.settings(), encoder) as worker, stream.decisions() as reader:
        reader.until(40)
        wait_until(lambda: page(worker.metrics_port, "readyz")[0] == 200, "ready")
        assert page(worker.metrics_port, "livez") == (200, "ok\n")
        # A decision can be read a moment before its worker has counted it.
        wait_until(lambda: "questream_published_total 40.0" in page(worker.metrics_port, "metrics")[1], "counted")
        status, text = page(worker.metrics_port, "metrics")
        assert status == 200
        told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        assert float(told["questream_consumed_total"]) == 41
        assert float(told["questream_published_total"]) == 40
        assert float(told['questream_dead_lettered_total{reason="not_json"}']) == 1
        assert float(told["questream_end_to_end_seconds_count"]) == 40
        assert float(told["questream_clusters"]) == len(live_sizes(stream.store()))
        assert all(value not in text for value in real_questions(40))
        server.stop()
        stream.send([question(99, "is anybody there?")])
        wait_until(lambda: page(worker.metrics_port, "readyz")[0] == 503, "not ready")
        assert page(worker.metrics_port, "readyz")[1].startswith("Redis did not answer")
        assert page(worker.metrics_port, "livez")[0] == 200
        server.start()
        reader.until(41)
        wait_until(lambda: page(worker.metrics_port, "readyz")[0] == 200, "ready again")


def test_a_slow_worker_fetches_no_more_than_it_can_hold(make_stream: Callable[..., Stream]) -> None:
    stream = make_stream(**{"batch_questions": 8})
    encoder = hash_encoder()
    stream.send(question(i, f"how to {i % 5} card{i % 5} {i}") for i in range(3000))
    most = 0.0
    with running_worker(stream.settings(), encoder) as worker, stream.decisions() as reader:
        while len(reader.records) < 600:
            reader.poll()
            (sample,) = (s for family in worker.metrics.backlog.collect() for s in family.samples)
            most = max(most, sample.value)
    assert 0 < most <= 3 * 8
