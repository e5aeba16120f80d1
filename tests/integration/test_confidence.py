"""Confidence of decisions on Kafka and Redis: known once it is fitted, and what keeps a route for people to decide."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from questream.clustering.confidence import Confidence
from questream.clustering.rules import Rules
from questream.operations import By, Decisions, KnownQuestion, ask
from tests.kit.command import questream
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.serving import client_of
from tests.kit.stream import Stream, WorkerProcess, question, running_worker
from tests.kit.vectors import hash_encoder

NEAR, LESS = "card card card", "card loan"


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    settings = {"clusters.threshold": 0.6, "clusters.similarity": "cosine"}
    return Stream(kafka.bootstrap_servers, topics(1), redis_url, settings)


def fitted() -> Confidence:
    encoder = hash_encoder()
    mark = f"{encoder.name}@{encoder.revision}" if encoder.revision else encoder.name
    return Confidence(40.0, -35.2, mark)


def test_an_unsure_question_has_a_suggested_route_also_from_the_next_worker(stream: Stream, tmp_path: Path) -> None:
    store, encoder = stream.store(), hash_encoder()
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question("a", NEAR)])
        (first,) = reader.values(1)
        assert (first["confidence"], first["route"], first["suggested_route"]) == (None, None, None)
        decisions = Decisions(store, "default", By("ann"))
        decisions.commit(decisions.label(1, "card", "cards"))
        stream.send([question("b", LESS)])
        assert [reader.values(2)[1][name] for name in ("confidence", "route")] == [None, "cards"]

        redis = f"--redis.url={stream.redis_url}"
        rules = (f"confidence={fitted()}", "routing_precision=0.7")
        assert questream("namespaces", "set", "default", *rules, redis).code == 0
        stream.send([question("c", NEAR), question("d", LESS), question("e", "loan loan loan")])
        decided = {one["question_id"]: one for one in reader.values(5)}
        assert (decided["qc"]["route"], decided["qc"]["suggested_route"]) == ("cards", None)
        assert decided["qc"]["confidence"] == fitted().of(decided["qc"]["similarity"]) >= 0.7
        assert (decided["qd"]["outcome"], decided["qd"]["label"]) == ("joined", "card")
        assert (decided["qd"]["route"], decided["qd"]["suggested_route"]) == (None, "cards")
        assert decided["qd"]["confidence"] == fitted().of(decided["qd"]["similarity"]) < 0.7
        assert (decided["qe"]["outcome"], decided["qe"]["confidence"]) == ("created", None)
        for one in decided.values():
            schema_of("decision").validate(one)
    assert questream("namespaces", "set", "default", "routing_precision=0.999", redis).code == 0
    answer = ask(store, "default", encoder, Rules(0.6, 0.6, similarity="cosine"), LESS)
    assert (answer.route, answer.suggested_route) == (None, "cards")
    assert answer.joins is not None
    assert answer.confidence == fitted().of(answer.joins.similarity) < 0.999

    # What one decides and does not publish, another publishes as it was, though the rules are others by then.
    stream.send([question("f", LESS)])
    with WorkerProcess(tmp_path, stream.overrides(), fault="commit:after:1:KILL") as dying:
        assert dying.wait() == -signal.SIGKILL
    decisions = Decisions(store, "default", By("ann"))
    decisions.commit(decisions.rules({"confidence": None, "routing_precision": None}))
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        last = reader.values(6)[5]
    assert (last["question_id"], last["route"], last["suggested_route"]) == ("qf", None, "cards")
    assert last["confidence"] == fitted().of(last["similarity"])


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("confidence=-1 2 model", "confidence is a slope above 0, an intercept and a model"),
        ("confidence=high", "confidence is a slope above 0, an intercept and a model"),
        ("routing_precision=1.5", "it takes a number"),
        ("routing_precision=0", "off, or unset"),
    ],
)
def test_a_confidence_that_is_none_is_refused(redis_url: str, rule: str, told: str) -> None:
    refused = questream("namespaces", "set", "default", rule, f"--redis.url={redis_url}")
    assert (refused.code != 0, told in refused.err) == (True, True), refused.err


def answers_in(path: Path) -> Path:
    """Answers that overlap: what is nearer is the same more often."""
    told = [
        *[("card card card", "card card card", 1)] * 10,
        *[("card card card", "card card loan", 1)] * 8,
        *[("card card card", "card card loan", 0)] * 2,
        *[("card card card", "card loan loan", 0)] * 7,
        *[("card card card", "card loan loan", 1)] * 2,
        *[("card card card", "loan loan loan", 0)] * 10,
    ]
    rows = [{"text_a": one, "text_b": other, "label": label} for one, other, label in told]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_confidence_is_fitted_to_answers_and_to_what_operators_said(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = hash_encoder()
    monkeypatch.setattr("questream.tools.confidence.encoder_of", lambda *_: encoder)
    store, answers = stream.store(), answers_in(tmp_path / "answers.jsonl")
    command = ("namespaces", "calibrate", "default", f"--answers={answers}")
    options = [f"--{key}={value}" for key, value in stream.overrides().items()]
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question("a", NEAR), question("b", NEAR), question("c", "card card loan")])
        third = reader.values(3)[2]
        assert third["cluster_id"] == "c1"
        (vector,) = encoder.encode(["card card loan"])
        asked = KnownQuestion(1, vector, (stream.topics.input_topic, 0, third["source"]["offset"]))
        decisions = Decisions(store, "default", By("ann"))
        decisions.commit(decisions.reject([asked]))

        seen = questream(*command, "--dry-run", "--json", *options)
        assert seen.code == 0, seen.err
        assert (seen.json["operation"], store.rules("default").confidence) == (None, None)
        assert (seen.json["fitted"]["answers"], seen.json["fitted"]["of_operators"]) == (40, 1)
        assert seen.json["fitted"]["belonging"] == 20
        assert sum(one["decisions"] for one in seen.json["fitted"]["reliability"]["bins"]) == 40

        done = questream(*command, "--id", "fit", "--json", *options).json
        assert (done["operation"], done["kind"]) == (2, "rules")
        assert done["rules"]["after"]["confidence"] == store.rules("default").confidence
        assert questream(*command, "--id", "fit", "--json", *options).json["operation"] == 2
        stream.send([question("d", NEAR)])
        told = reader.values(4)[3]
        known = Confidence.parse(store.rules("default").confidence or "")
        assert told["confidence"] == known.of(told["similarity"]) > 0.8

        decisions.commit(decisions.label(1, None, "cards"))
        decisions.commit(decisions.rules({"routing_precision": 1.0}))
        stream.send([question("e", NEAR)])
        told = reader.values(5)[4]
        assert (told["route"], told["suggested_route"]) == (None, "cards")
        client = client_of(store, stream.settings())
        shown = client.get("/api/v1/namespaces/default/clusters/c1/members?order=newest").json()["members"][0]
        assert shown["confidence"] == pytest.approx(told["confidence"], abs=0.01)
        assert (shown["route"], shown["suggested_route"]) == (None, "cards")
        page = client.get("/n/default/clusters/c1").text
        assert "% sure" in page
        assert "suggested: <bdi>cards</bdi>" in page
    lines = questream(*command, *options).out
    assert "40 answers, 20 of them yes; 1 of operators" in lines
    assert "calibration error" in lines


def test_too_few_answers_are_told_and_set_nothing(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = hash_encoder()
    monkeypatch.setattr("questream.tools.confidence.encoder_of", lambda *_: encoder)
    options = [f"--{key}={value}" for key, value in stream.overrides().items()]
    nowhere = questream("namespaces", "calibrate", "default", *options)
    assert (nowhere.code != 0, "there is no namespace" in nowhere.err) == (True, True), nowhere.err
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question("a", NEAR)])
        reader.values(1)
    refused = questream("namespaces", "calibrate", "default", *options)
    assert refused.code != 0
    assert "0 answers, 0 of them yes, are too few" in refused.err
    assert stream.store().rules("default").values() == {}
