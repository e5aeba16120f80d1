"""Namespaces where questions open no clusters, on Kafka and Redis: what joins none is unmatched, once and for all."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from questream.clustering.rules import Rules
from questream.encoder import Encoder
from questream.operations import By, Decisions, ask
from questream.records.times import format_time
from tests.integration.test_intents_import import INTENTS, file_of, imported
from tests.kit.command import questream
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, WorkerProcess, live_sizes, question, running_worker, wait_for_metrics
from tests.kit.vectors import hash_encoder

KNOWN, UNKNOWN = question("a", "card card card"), question("b", "loan loan loan")


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The model of words is that of the commands."""
    encoder = hash_encoder()
    monkeypatch.setattr("questream.tools.importing.encoder_of", lambda *_: encoder)
    return encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    settings = {"clusters.threshold": 0.6, "clusters.similarity": "cosine"}
    return Stream(kafka.bootstrap_servers, topics(1), redis_url, settings)


def test_what_joins_no_known_intent_is_unmatched_until_questions_may_open_clusters(
    stream: Stream, tmp_path: Path
) -> None:
    assert imported(stream, file_of(tmp_path / "intents.jsonl", INTENTS)).code == 0
    redis = f"--redis.url={stream.redis_url}"
    done = questream("namespaces", "set", "default", "mode=known-only", redis, "--json")
    assert done.json["rules"]["after"] == {"mode": "known-only"}
    shown = questream("namespaces", "show", "default", redis, "--json").json
    assert shown["rules"]["mode"]["value"] == "known-only"
    store, encoder = stream.store(), hash_encoder()
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([KNOWN, UNKNOWN, question("c", "car car car")])
        decided = {one["question_id"]: one for one in reader.values(3)}
        assert [decided["qa"][name] for name in ("cluster_id", "outcome", "route")] == ["c1", "joined", "cards"]
        for name in ("qb", "qc"):
            one = decided[name]
            assert (one["outcome"], one["cluster_id"], one["cluster_size"], one["margin"]) == (
                "unmatched",
                None,
                0,
                None,
            )
            assert (one["label"], one["route"], one["path"]) == (None, None, None)
            assert one["similarity"] == one["runner_up"]["similarity"] < 0.6
            schema_of("decision").validate(one)
        assert live_sizes(store) == {"c1": 1, "c2": 0, "c3": 0}
        answer = ask(store, "default", encoder, Rules(0.6, 0.6, similarity="cosine"), "loan loan loan")
        assert (answer.joins, answer.outcome) == (None, "unmatched")

        # An import opens clusters there, and is heeded at once.
        more = [{"name": "loans", "route": "credit", "examples": ["loan loan loan"]}]
        assert imported(stream, file_of(tmp_path / "more.jsonl", more)).json["operations"] == [3]
        stream.send([question("d", "loan loan loan")])
        assert [reader.values(4)[3][name] for name in ("cluster_id", "route")] == ["c4", "credit"]

        decisions = Decisions(store, "default", By("ann"))
        decisions.commit(decisions.rules({"mode": None}))
        stream.send([question("e", "car car car")])
        assert [reader.values(5)[4][name] for name in ("cluster_id", "outcome")] == ["c5", "created"]


def test_a_namespace_begins_as_the_settings_say_and_its_decisions_are_counted(stream: Stream, tmp_path: Path) -> None:
    stream.options["clusters.mode"] = "known-only"
    with WorkerProcess(tmp_path, stream.overrides()) as worker, stream.decisions() as reader:
        stream.send([UNKNOWN])
        (one,) = reader.values(1)
        assert (one["outcome"], one["similarity"], one["runner_up"]) == ("unmatched", None, None)
        wait_for_metrics(worker.port, {'questream_assignments_total{outcome="unmatched"}': 1})
    assert live_sizes(stream.store()) == {}


def test_a_worker_that_dies_before_it_publishes_leaves_that_a_question_was_unmatched(
    stream: Stream, tmp_path: Path
) -> None:
    stream.options["clusters.mode"] = "known-only"
    assert imported(stream, file_of(tmp_path / "intents.jsonl", INTENTS)).code == 0
    stream.send([UNKNOWN, KNOWN])
    with WorkerProcess(tmp_path, stream.overrides(), fault="commit:after:1:KILL") as dying:
        assert dying.wait() == -signal.SIGKILL
    recorded = stream.store().ledger("default", stream.topics.input_topic, 0).decisions
    assert recorded[0].outcome == "unmatched"
    # By now there is an intent for it; it was decided before.
    more = [{"name": "loans", "route": "credit", "examples": ["loan loan loan"]}]
    assert imported(stream, file_of(tmp_path / "more.jsonl", more)).json["operations"] == [2]
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        decided = {one["question_id"]: one for one in reader.values(2)}
    assert (decided["qb"]["outcome"], decided["qb"]["cluster_id"]) == ("unmatched", None)
    assert decided["qb"]["decided_at"] == format_time(recorded[0].decided_at)
    assert decided["qa"]["cluster_id"] == "c1"
