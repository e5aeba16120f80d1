"""Confidence of decisions on Kafka and Redis: known once it is fitted, and what keeps a route for people to decide."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from questream.clustering.confidence import Confidence
from questream.clustering.rules import Rules
from questream.operations import By, Decisions, ask
from questream.records import load_schema
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
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
            jsonschema.validate(one, load_schema("decision"))
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
        ("routing_precision=1.5", "less than or equal to 1"),
        ("routing_precision=0", "routing.precision of the settings page"),
    ],
)
def test_a_confidence_that_is_none_is_refused(redis_url: str, rule: str, told: str) -> None:
    refused = questream("namespaces", "set", "default", rule, f"--redis.url={redis_url}")
    assert (refused.code != 0, told in refused.err) == (True, True), refused.err
