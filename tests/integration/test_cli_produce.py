"""`questream produce` on Apache Kafka: files as people have them, and what becomes of a line that cannot be sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from questream.errors import ExitCode
from tests.integration.test_cli_kafka import MakeTopics, decision, end_of, flags, fresh_topics, read_all, send
from tests.kit.command import questream
from tests.kit.servers import KafkaServer


def values(kafka: KafkaServer, topic: str, count: int) -> list[Any]:
    return [json.loads(message.value) for message in read_all(kafka, topic, count)]


def configure(kafka: KafkaServer, topic: str, **configs: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        admin.alter_configs([ConfigResource("TOPIC", topic, {n.replace("_", "."): v for n, v in configs.items()})])
    finally:
        admin.close()


def test_a_spreadsheet_s_table_is_sent_with_its_times_fields_and_headers(
    kafka: KafkaServer, topics: MakeTopics, tmp_path: Path
) -> None:
    mine, now = topics(), int(time.time())
    path = tmp_path / "tickets.csv"
    rows = ["sep=;", "Key;Subject;Body;At;Team", f"7;Card;Where?;{now};red", f"8;PIN;How?;{now + 1};"]
    path.write_bytes("\r".join(rows).encode("utf-16"))
    chosen = ["--text-column={subject}: {body}", "--id-column=key", "--timestamp-column=at", "--field=*"]
    done = questream("produce", str(path), "--json", *chosen, "--header=team", *flags(kafka, mine))
    assert (done.code, done.json["sent"], done.err) == (0, 2, "")
    first, second = read_all(kafka, mine.input_topic, 2)
    assert json.loads(first.value) == {"id": "7", "text": "Card: Where?", "Team": "red"}
    assert (first.key, first.headers, second.headers) == (b"7", [("team", b"red")], [])
    assert (first.timestamp, second.timestamp) == (now * 1000, now * 1000 + 1000)


@pytest.mark.parametrize(
    "content",
    ['[{"text": "one"},\n {"text": "two"}]', '{"text": "one"}\n{"text": "two"}\n', "one\n\ntwo\n", "text\none\ntwo"],
)
def test_stdin_is_a_file_too(kafka: KafkaServer, topics: MakeTopics, content: str) -> None:
    mine = topics()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUESTREAM_")}
    done = subprocess.run(
        [sys.executable, "-m", "questream", "produce", "-", *flags(kafka, mine)],
        input=content.encode(),
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    read = values(kafka, mine.input_topic, 2)
    assert [one["text"] for one in read] == ["one", "two"]
    assert all(one["id"].startswith("stdin-") for one in read)


def test_nothing_is_sent_after_a_line_that_cannot_be(kafka: KafkaServer, topics: MakeTopics, tmp_path: Path) -> None:
    mine = topics()
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "one"}\n{"text": "  "}\n{"text": "three"}\n')
    refused = questream("produce", str(path), *flags(kafka, mine))
    assert refused.code == ExitCode.FAILED
    assert "q.jsonl, line 2: a worker would refuse it: a question must have a visible character" in refused.err
    assert end_of(kafka, mine.input_topic) == 0
    asked = questream("produce", str(path), "--skip-bad", "--json", *flags(kafka, mine))
    assert (asked.code, asked.json["sent"], asked.json["skipped"]) == (0, 2, 1)
    assert "line 2" in asked.err
    assert [one["text"] for one in values(kafka, mine.input_topic, 2)] == ["one", "three"]


def test_a_record_that_the_topic_does_not_take_is_named_and_nothing_after_it_is_sent(
    kafka: KafkaServer, topics: MakeTopics, tmp_path: Path
) -> None:
    mine = topics()
    configure(kafka, mine.input_topic, max_message_bytes="2000")
    path = tmp_path / "q.txt"
    path.write_text("one\n" + "x" * 3000 + "\nthree\n")
    refused = questream("produce", str(path), *flags(kafka, mine))
    assert refused.code == ExitCode.FAILED
    assert "q.txt, line 2: its record has about" in refused.err
    assert "1 questions before it were sent" in refused.err
    assert end_of(kafka, mine.input_topic) == 1


def test_a_time_that_the_topic_does_not_take_or_keep_is_told(
    kafka: KafkaServer, topics: MakeTopics, tmp_path: Path
) -> None:
    mine = topics()
    configure(kafka, mine.input_topic, retention_ms="604800000")
    path = tmp_path / "q.csv"
    path.write_text("text,ts\none,2020-01-01\n")
    old = questream("produce", str(path), *flags(kafka, mine))
    assert (old.code, "--no-timestamps" in old.err) == (0, True)
    configure(kafka, mine.input_topic, message_timestamp_before_max_ms="1000")
    refused = questream("produce", str(path), *flags(kafka, mine))
    assert "line 2: its time is further before now than" in refused.err
    assert questream("produce", str(path), "--no-timestamps", *flags(kafka, mine)).code == 0


def test_no_command_creates_a_topic_where_the_broker_would(
    kafka_factory: Callable[..., KafkaServer], tmp_path: Path
) -> None:
    kafka = kafka_factory(properties={"auto.create.topics.enable": "true"})
    topics = fresh_topics()
    path = tmp_path / "q.txt"
    path.write_text("Where is my card?\n")
    for arguments in (
        ["produce", str(path)],
        ["tail"],
        ["tail", "--text"],
        ["dead-letters", "list"],
        ["dead-letters", "replay"],
    ):
        outcome = questream(*arguments, *flags(kafka, topics))
        assert outcome.code == ExitCode.UNREACHABLE, arguments
        assert "does not exist; create it with: questream topics create" in outcome.err, arguments
    assert questream("run", "--model.name=nowhere", *flags(kafka, topics)).code != 0
    questream("doctor", *flags(kafka, topics), "--redis.url=redis://127.0.0.1:1")
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        assert not set(admin.list_topics()) & set(topics.settings().values())
    finally:
        admin.close()


def test_tail_shows_texts_and_routes_on_request_alone(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.input_topic, [(b"q1", b'{"text": "my \\u001bsecret card"}', []), (b"q2", b"{", [])])

    def decided(number: int, offset: int) -> bytes:
        source = {"topic": mine.input_topic, "partition": 0, "offset": offset}
        return json.dumps(json.loads(decision(f"q{number}")) | {"route": "team", "source": source}).encode()

    send(kafka, mine.output_topic, [(b"q", decided(at + 1, at), []) for at in range(3)])
    tail = ["tail", "--from-beginning", "--max", "3", *flags(kafka, mine)]
    plain = questream(*tail)
    assert (plain.code, "secret" in plain.out, "team" in plain.out) == (0, False, False)
    lines = questream(*tail, "--text", "--route").out.splitlines()
    assert [line.split("  card [31m arrival  ")[1].split("  ")[0] for line in lines] == ["team"] * 3
    assert [line.split("  team  ")[1] for line in lines] == ["my  secret card", *["(no longer in the input topic)"] * 2]
    assert [one["text"] for one in questream(*tail, "--text", "--json").json_lines] == [
        "my \x1bsecret card",
        None,
        None,
    ]
