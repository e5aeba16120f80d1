"""`questream export` on a real Kafka and Redis, which holds no text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient, TopicPartition

from questream.clustering.levels import Levels, Node, leaf
from questream.clustering.stored_levels import StoredLevels
from questream.errors import ExitCode
from questream.operations import By, Decisions, merge_clusters
from questream.records.files import read_questions
from tests.fault.test_crash import TOPICS, text
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker
from tests.kit.vectors import hash_encoder

QUESTIONS, ALONE = 96, 3


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """Questions of a dozen topics, and three that stand alone; all decided."""
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, {"clusters.keep_texts": "false"})
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    stream.send(question(QUESTIONS + i, f"alone{i} nobody{i} asks{i} this{i}") for i in range(ALONE))
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        reader.until(QUESTIONS + ALONE)
    return stream


def export(stream: Stream, *arguments: str) -> Outcome:
    return questream("export", *arguments, *(f"--{key}={value}" for key, value in stream.overrides().items()))


def topic_of(row: dict[str, Any]) -> str:
    return str(row["text"]).split()[0]


def test_clusters_are_told_as_they_stand_today_with_the_texts_of_the_input_topic(
    stream: Stream, tmp_path: Path
) -> None:
    path = tmp_path / "groups.jsonl"
    assert export(stream, str(path)).err == f"{QUESTIONS} questions written\n"
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert {row["id"]: row["text"] for row in rows} == {f"q{i}": text(i) for i in range(QUESTIONS)}
    gold = {topic_of(row): row["gold"] for row in rows}
    assert len(gold) == len(set(gold.values())) == TOPICS
    assert all(gold[topic_of(row)] == row["gold"] for row in rows)
    assert [(one.text, one.gold) for one in read_questions(path)] == [(row["text"], row["gold"]) for row in rows]
    assert len(export(stream, "--min-questions", "1").out.splitlines()) == QUESTIONS + ALONE
    assert export(stream, "--min-questions", "9").out == ""


def test_what_operators_decided_is_what_the_groups_are(stream: Stream) -> None:
    store = stream.store()
    ids = sorted({int(row["gold"][1:]) for row in export(stream).json_lines})
    merge_clusters(store, "default", ids[1], ids[0])
    store.label("default", ids[1], "arrival", None)
    store.label("default", ids[2], "pin", None)
    store.label("default", ids[3], "pin", "team-b")
    rows = export(stream, "--labelled").json_lines
    assert {(row["gold"], row["label"]) for row in rows} == {(f"c{ids[0]}", "arrival"), (f"c{ids[2]}", "pin")}
    assert len({topic_of(row) for row in rows}) == 4
    every = {row["gold"]: row.get("label") for row in export(stream).json_lines}
    assert len(every) == TOPICS - 2
    assert every[f"c{ids[4]}"] is None


def test_groups_are_intents_where_these_are_asked_for(stream: Stream) -> None:
    store = stream.store()
    ids = sorted({int(row["gold"][1:]) for row in export(stream).json_lines})
    store.label("default", ids[5], "pin", None)
    epoch, intent, topic = store.store_epoch("default") or "", Node(1, 1), Node(2, 1)
    kept = {leaf(ids[0]): intent, leaf(ids[1]): intent, leaf(ids[2]): Node(1, 2)}
    found = Levels({**kept, intent: topic, Node(1, 2): topic}, (3, 2))
    assert store.write_levels("default", epoch, StoredLevels(found, 1000, version=store.levels("default").version))
    decisions = Decisions(store, "default", By("ann"))
    decisions.commit(decisions.label_level("i1", "arrival", None))

    def told(*arguments: str) -> dict[str, str | None]:
        return {row["gold"]: row.get("label") for row in export(stream, *arguments).json_lines}

    assert told() == {f"c{one}": "pin" if one == ids[5] else None for one in ids}
    alone = {f"c{one}": "pin" if one == ids[5] else None for one in ids[3:]}
    assert told("--level", "intent") == {"i1": "arrival", "i2": None, **alone}
    assert told("--level", "topic") == {"t1": None, **alone}
    assert told("--level", "intent", "--labelled") == {"i1": "arrival", f"c{ids[5]}": "pin"}
    # As one intent, and with all that is in both.
    decisions.commit(decisions.label_level("i2", "arrival", None))
    assert told("--level", "intent", "--min-questions", str(2 * QUESTIONS // TOPICS + 1)) == {"i1": "arrival"}


def test_what_the_input_topic_no_longer_holds_is_counted(stream: Stream) -> None:
    admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
    try:
        admin.delete_records({TopicPartition(stream.topics.input_topic, 0): 5})
    finally:
        admin.close()
    outcome = export(stream, "--min-questions", "1")
    assert outcome.code == ExitCode.OK, outcome.err
    assert len(outcome.json_lines) == QUESTIONS + ALONE - 5
    assert "\n5 questions are no longer in questions-" in outcome.err
