"""Known intents: imported before the stream, joined by its questions on Kafka and Redis, exported and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from questream.encoder import Encoder
from questream.errors import ExitCode
from questream.operations import By, Decisions
from questream.records.operations import decode_operation
from questream.store.redis.store import RedisStore
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

INTENTS: list[dict[str, Any]] = [
    {"name": "card arrival", "route": "cards", "examples": ["card card card arrival", "card card card late"]},
    {"name": "pin", "route": None, "examples": ["pin pin pin change", "forgot forgot forgot secret"]},
]


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The model of words is that of the commands."""
    encoder = hash_encoder()
    monkeypatch.setattr("questream.tools.importing.encoder_of", lambda *_: encoder)
    return encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    settings = {"clusters.threshold": 0.6, "clusters.similarity": "cosine", "clusters.mean_questions": 1}
    return Stream(kafka.bootstrap_servers, topics(2), redis_url, settings)


def told(stream: Stream, *arguments: str) -> Outcome:
    options = [f"--{key}={value}" for key, value in stream.overrides().items()]
    return questream("intents", *arguments, *options)


def imported(stream: Stream, path: Path, *arguments: str) -> Outcome:
    return told(stream, "import", str(path), "--json", "--yes", "--actor", "ann", *arguments)


def file_of(path: Path, intents: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in intents), "utf-8")
    return path


def labels(store: RedisStore) -> dict[int, tuple[str | None, str | None, int]]:
    return {state.cluster_id: (state.label, state.route, state.size) for state in store.summaries("default")}


def test_questions_join_imported_clusters_also_after_a_loss_of_redis(stream: Stream, tmp_path: Path) -> None:
    path = file_of(tmp_path / "intents.jsonl", INTENTS)
    done = imported(stream, path, "--reason", "the list", "--id", "first")
    assert done.code == 0, done.err
    assert [(one["change"], one["clusters_opened"]) for one in done.json["intents"]] == [("new", 1), ("new", 2)]
    assert done.json["operations"] == [1]
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([question("a", "card card card"), question("b", "pin pin pin"), question("c", "loan loan loan")])
        decided = {one["question_id"]: one for one in reader.values(3)}
        assert (decided["qa"]["cluster_id"], decided["qa"]["outcome"]) == ("c1", "joined")
        assert [decided["qa"][name] for name in ("label", "route", "cluster_size")] == ["card arrival", "cards", 1]
        assert (decided["qb"]["cluster_id"], decided["qb"]["label"], decided["qb"]["route"]) == ("c2", "pin", None)
        assert (decided["qc"]["cluster_id"], decided["qc"]["outcome"]) == ("c4", "created")

        store = stream.store()
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        with Reader(stream.bootstrap_servers, stream.topics.operation_topic) as operations:
            record = operations.until(1)[0]
        _, _, operation = decode_operation(record.key, record.value)
        assert (operation.kind, operation.actor, operation.reason, list(operation.after)) == (
            "intents",
            "ann",
            "the list",
            [1, 2, 3],
        )
        with stream.redis() as client:
            client.flushall()
        stream.send([question("d", "card card card"), question("e", "forgot forgot forgot")])
        again = {one["question_id"]: one for one in reader.values(5)[3:]}
        assert [(again[one]["cluster_id"], again[one]["label"]) for one in ("qd", "qe")] == [
            ("c1", "card arrival"),
            ("c3", "pin"),
        ]
        assert again["qd"]["cluster_size"] == 2
    assert imported(stream, path).json["operations"] == []
    exported = told(stream, "export")
    assert exported.out == path.read_text("utf-8")


WITH_THRESHOLDS: list[dict[str, Any]] = [
    {"name": "card arrival", "route": "cards", "threshold": 0.9, "examples": ["card card card arrival"]},
    {"name": "pin", "route": None, "threshold": 0.3, "examples": ["pin pin pin change"]},
    {"name": "loan", "route": None, "threshold": None, "examples": ["loan loan loan"]},
]


def test_questions_join_an_intent_at_its_own_threshold_also_after_a_loss_of_redis(
    stream: Stream, tmp_path: Path
) -> None:
    path = file_of(tmp_path / "intents.jsonl", WITH_THRESHOLDS)
    assert imported(stream, path).json["operations"] == [1]
    asked = {"a": "card card late", "b": "card card card arrival", "c": "pin late bank", "d": "loan loan loan"}
    expected = {"a": ("created", 0.6), "b": ("joined", 0.9), "c": ("joined", 0.3), "d": ("joined", 0.6)}
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        for at, (key, text) in enumerate(asked.items(), 1):
            stream.send([question(key, text)])
            reader.values(at)
        decided = {one["question_id"]: one for one in reader.values(4)}
        told_of = {key: (decided[f"q{key}"]["outcome"], decided[f"q{key}"]["threshold"]) for key in asked}
        assert told_of == expected
        assert 0.3 <= decided["qc"]["similarity"] < 0.6
        assert 0.6 <= decided["qa"]["runner_up"]["similarity"] < 0.9
        store = stream.store()
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        with stream.redis() as client:
            client.flushall()
        stream.send([question("e", "pin late loan")])
        (again,) = reader.values(5)[4:]
        assert (again["cluster_id"], again["threshold"]) == ("c2", 0.3)
    # What joined at a cluster's own threshold would do so at any of the namespace.
    flags = [f"--{name}={value}" for name, value in stream.overrides().items()]
    effect = questream("namespaces", "set", "default", "threshold=0.99", "--dry-run", "--json", *flags).json["effect"]
    assert effect["kept_questions"] > effect["kept_questions_that_would_not_join"] == 0
    assert told(stream, "export").out == path.read_text("utf-8")
    csv = tmp_path / "intents.csv"
    assert told(stream, "export", "--output", str(csv)).code == 0
    assert imported(stream, csv).json["operations"] == []
    plain = file_of(tmp_path / "plain.jsonl", [{"name": "pin", "threshold": None, "examples": []}])
    assert imported(stream, plain).json["operations"] == [2]
    assert store.load("default").thresholds == {1: 0.9}
    decisions = Decisions(store, "default", By("ann"))
    decisions.commit(decisions.undo(2))
    assert store.load("default").thresholds == {1: 0.9, 2: 0.3}


def test_a_dry_run_tells_what_is_new_and_what_overlaps_and_changes_nothing(stream: Stream, tmp_path: Path) -> None:
    overlapping: list[dict[str, Any]] = [
        *INTENTS,
        {"name": "delivery", "route": "post", "examples": ["card card card post"]},
    ]
    path = file_of(tmp_path / "intents.jsonl", overlapping)
    looked = imported(stream, path, "--dry-run").json
    assert ([one["change"] for one in looked["intents"]], looked["operations"]) == (["new"] * 3, [])
    assert {(one["intent"], one["label"]) for one in looked["overlaps"]} == {
        ("card arrival", "delivery"),
        ("delivery", "card arrival"),
    }
    assert stream.store().namespaces() == []


def test_an_import_adds_examples_and_routes_and_takes_nothing_away(stream: Stream, tmp_path: Path) -> None:
    imported(stream, file_of(tmp_path / "first.jsonl", INTENTS))
    more: list[dict[str, Any]] = [
        {"name": "card arrival", "route": "post", "examples": ["card card card where", "bank bank bank card"]},
        {"name": "loan", "route": None, "examples": ["loan loan loan"]},
    ]
    path = file_of(tmp_path / "more.jsonl", more)
    done = imported(stream, path).json
    first, second = done["intents"]
    assert (first["change"], first["clusters_changed"], first["clusters_opened"]) == ("changed", ["c1"], 1)
    assert (second["change"], second["clusters_opened"]) == ("new", 1)
    store = stream.store()
    assert labels(store) == {
        1: ("card arrival", "post", 0),
        2: ("pin", None, 0),
        3: ("pin", None, 0),
        4: ("card arrival", "post", 0),
        5: ("loan", None, 0),
    }
    assert imported(stream, path).json["operations"] == []
    csv = tmp_path / "intents.csv"
    assert told(stream, "export", "--output", str(csv)).code == 0
    assert imported(stream, csv).json["operations"] == []
    decisions = Decisions(store, "default", By("ann"))
    decisions.commit(decisions.undo(2))
    assert labels(store) == {1: ("card arrival", "cards", 0), 2: ("pin", None, 0), 3: ("pin", None, 0)}
    assert told(stream, "export").out == (tmp_path / "first.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"name": " ", "examples": ["a"]}], "line 1: an intent has a name"),
        ([{"name": "a", "examples": [1]}], "line 1: examples must be texts"),
        (
            [{"name": "a", "route": "x", "examples": ["a"]}, {"name": "a", "route": "y"}],
            "line 2: the intent has",
        ),
        ([{"name": "a", "examples": ["same"]}, {"name": "b", "examples": ["same"]}], "line 2: the example is one of"),
        ([{"name": "a", "threshold": 1.7, "examples": ["a"]}], "line 1: the threshold of an intent is a number"),
        ([{"name": "a", "threshold": "much", "examples": ["a"]}], "line 1: the threshold of an intent is a number"),
        (
            [{"name": "a", "threshold": 0.7, "examples": ["a"]}, {"name": "a", "threshold": 0.8, "examples": ["b"]}],
            "line 2: the intent has another threshold",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_its_line(
    stream: Stream, tmp_path: Path, rows: list[dict[str, Any]], problem: str
) -> None:
    refused = imported(stream, file_of(tmp_path / "intents.jsonl", rows))
    assert (refused.code, problem in refused.err, "same" in refused.err) == (ExitCode.FAILED, True, False)
    assert stream.store().namespaces() == []


def test_an_import_asks_before_it_changes(stream: Stream, tmp_path: Path) -> None:
    path = file_of(tmp_path / "intents.jsonl", INTENTS)
    refused = told(stream, "import", str(path))
    assert (refused.code != 0, "say --yes" in refused.err) == (True, True), refused.err
    assert labels(stream.store()) == {}
