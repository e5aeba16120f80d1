"""The commands that speak to Kafka, on Apache Kafka itself."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ResourcePattern,
    ResourceType,
)

from questream.domain import Record, Source
from questream.errors import BadRecord, ExitCode
from questream.lab.calibration.sample import newest_of_topic
from questream.records import QuestionDecoder, dead_letter_headers
from questream.settings import InputSettings, KafkaSettings, Settings
from tests.conftest import built
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics, create_topics
from tests.kit.servers.kafka import PASSWORD
from tests.kit.servers.process import needed_program

MakeTopics = Callable[..., Topics]


@pytest.fixture
def admin(kafka: KafkaServer) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    yield client
    client.close()


def flags(kafka: KafkaServer, topics: Topics) -> list[str]:
    """The flags that lead a command to a test's own topics and group."""
    return [
        f"--kafka.bootstrap_servers={kafka.bootstrap_servers}",
        f"--kafka.group_id=group-{topics.input_topic}",
        *(f"--kafka.{name}={topic}" for name, topic in topics.settings().items()),
    ]


def as_guest(kafka: KafkaServer, password: str = PASSWORD) -> list[str]:
    return [
        f"--kafka.bootstrap_servers={kafka.sasl_bootstrap_servers}",
        "--kafka.options.security_protocol=SASL_PLAINTEXT",
        "--kafka.options.sasl_mechanism=PLAIN",
        "--kafka.options.sasl_plain_username=guest",
        f"--kafka.sasl_plain_password={password}",
    ]


def fresh_topics() -> Topics:
    """Names of topics that nobody has created."""
    suffix = uuid.uuid4().hex[:10]
    return Topics(f"q-{suffix}", f"d-{suffix}", f"c-{suffix}", f"x-{suffix}", f"e-{suffix}")


def read_all(kafka: KafkaServer, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic, by partition and offset."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=500 if count == 0 else 20_000,
    )
    try:
        found: list[Any] = []
        while len(found) < count:
            found.append(next(consumer))
        return sorted(found, key=lambda message: (message.partition, message.offset))
    finally:
        consumer.close()


def end_of(kafka: KafkaServer, topic: str) -> int:
    """How many offsets all partitions of a topic have taken."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        return sum(consumer.end_offsets(partitions).values())
    finally:
        consumer.close()


def send(kafka: KafkaServer, topic: str, records: Sequence[tuple[bytes | None, bytes | None, Any]]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    try:
        futures = [producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in records]
        for future in futures:
            future.get(timeout=20)
    finally:
        producer.close()


def config(admin: KafkaAdminClient, topic: str, name: str) -> str:
    resource = ConfigResource("TOPIC", topic, {name: None})
    value: str = admin.describe_configs([resource], config_filter="all")["topic"][topic][name]["value"]
    return value


# topics create


def test_the_topics_are_created_as_the_worker_needs_them(kafka: KafkaServer, admin: KafkaAdminClient) -> None:
    topics = fresh_topics()
    outcome = questream("topics", "create", "--partitions", "3", "--json", *flags(kafka, topics))
    assert outcome.code == 0, outcome.err
    assert [(report["role"], report["outcome"], report["partitions"]) for report in outcome.json] == [
        ("input", "created", 3),
        ("output", "created", 3),
        ("cluster", "created", 3),
        ("dead-letter", "created", 1),
        ("event", "created", 1),
        ("operation", "created", 1),
        ("correction", "created", 3),
    ]
    for topic in (topics.operation_topic, topics.correction_topic):
        assert config(admin, topic, "retention.ms") == "-1"
    assert config(admin, topics.cluster_topic, "cleanup.policy") == "compact"
    assert config(admin, topics.cluster_topic, "min.compaction.lag.ms") == "600000"
    assert config(admin, topics.output_topic, "cleanup.policy") == "delete"
    longest = int(config(admin, topics.input_topic, "max.message.bytes"))
    for topic in (topics.output_topic, topics.cluster_topic, topics.dead_letter_topic):
        assert int(config(admin, topic, "max.message.bytes")) > longest


def test_creating_topics_twice_changes_nothing(kafka: KafkaServer) -> None:
    topics = fresh_topics()
    questream("topics", "create", "--partitions", "2", *flags(kafka, topics))
    outcome = questream("topics", "create", "--partitions", "5", "--json", *flags(kafka, topics))
    assert outcome.code == 0
    assert {report["outcome"] for report in outcome.json} == {"exists"}
    assert outcome.json[0]["partitions"] == 2


def test_a_dry_run_creates_nothing(kafka: KafkaServer, admin: KafkaAdminClient) -> None:
    topics = fresh_topics()
    outcome = questream("topics", "create", "--dry-run", "--json", *flags(kafka, topics))
    assert outcome.code == 0
    assert {report["outcome"] for report in outcome.json} == {"would be created"}
    assert not set(topics.settings().values()) & set(admin.list_topics())


def test_a_dry_run_tells_what_the_broker_would_refuse(kafka: KafkaServer) -> None:
    outcome = questream(
        *("topics", "create", "--dry-run", "--replication-factor", "3", "--json"), *flags(kafka, fresh_topics())
    )
    assert outcome.code == ExitCode.FAILED
    assert "replication factor" in outcome.json[0]["problems"][0].lower()


def test_a_topic_that_cannot_be_used_is_told_with_its_remedy(kafka: KafkaServer, admin: KafkaAdminClient) -> None:
    topics = fresh_topics()
    admin.create_topics(
        {
            topics.cluster_topic: {"num_partitions": 1},
            topics.dead_letter_topic: {"num_partitions": 1, "configs": {"max.message.bytes": "1000"}},
            topics.output_topic: {"num_partitions": 1, "configs": {"cleanup.policy": "compact"}},
        }
    )
    questream("topics", "create", *flags(kafka, topics))
    outcome = questream("topics", "create", "--json", *flags(kafka, topics))
    assert outcome.code == ExitCode.FAILED
    problems = {report["role"]: " ".join(report["problems"]) for report in outcome.json}
    assert problems["input"] == ""
    assert "set it to delete" in problems["output"]
    assert "set it to compact" in problems["cluster"]
    assert "max.message.bytes is 1000" in problems["dead-letter"]


def test_without_the_right_to_create_the_command_says_so(kafka: KafkaServer) -> None:
    outcome = questream("topics", "create", *flags(kafka, fresh_topics()), *as_guest(kafka))
    assert outcome.code == ExitCode.REFUSED
    assert "right to" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert PASSWORD not in outcome.err


def test_a_wrong_password_is_a_refusal_and_is_not_shown(kafka: KafkaServer) -> None:
    outcome = questream(
        *("topics", "create", "--kafka.options.bootstrap_timeout_ms=1500"), *as_guest(kafka, "not-the-password")
    )
    assert outcome.code == ExitCode.REFUSED, outcome.err
    assert "kafka.sasl_plain_password" in outcome.err
    assert "not-the-password" not in outcome.err


def test_speaking_plain_to_a_listener_with_login_is_told_from_a_dead_broker(kafka: KafkaServer) -> None:
    outcome = questream(
        *("topics", "create", "--kafka.options.bootstrap_timeout_ms=1500"),
        f"--kafka.bootstrap_servers={kafka.sasl_bootstrap_servers}",
    )
    assert outcome.code == ExitCode.REFUSED
    assert "kafka.options.security_protocol" in outcome.err


# produce


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("questions.txt", "Where is my card?\n\nI lost my PIN\n"),
        ("questions.csv", 'id,text\na,Where is my card?\nb,"I lost\nmy PIN"\n'),
        ("questions.jsonl", '{"id": "a", "text": "Where is my card?"}\n{"id": 2, "text": "I lost my PIN"}\n'),
    ],
)
def test_the_questions_of_a_file_reach_the_input_topic_keyed_by_their_id(
    name: str, content: str, kafka: KafkaServer, topics: MakeTopics, tmp_path: Path
) -> None:
    mine = topics(2)
    path = tmp_path / name
    path.write_text(content)
    outcome = questream("produce", str(path), "--json", *flags(kafka, mine))
    assert (outcome.code, outcome.json["sent"]) == (0, 2)
    decoder = QuestionDecoder(InputSettings(), "default")
    read = [
        (message.key.decode(), decoder.decode(Record(Source("t", 0, 0, 0), message.key, message.value)))
        for message in read_all(kafka, mine.input_topic, 2)
    ]
    assert all(key == question.id for key, question in read)
    assert {question.text.replace("\n", " ") for _, question in read} == {"Where is my card?", "I lost my PIN"}


def test_the_namespace_goes_where_the_worker_reads_it(kafka: KafkaServer, topics: MakeTopics, tmp_path: Path) -> None:
    mine = topics()
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\n")
    outcome = questream(
        *("produce", str(path), "--namespace", "bank", "--input.namespace_header=tenant"), *flags(kafka, mine)
    )
    assert outcome.code == 0
    (message,) = read_all(kafka, mine.input_topic, 1)
    assert message.headers == [("tenant", b"bank")]


def test_a_rate_spreads_the_questions_evenly(kafka: KafkaServer, topics: MakeTopics, tmp_path: Path) -> None:
    mine = topics()
    path = tmp_path / "questions.txt"
    path.write_text("".join(f"question {number}\n" for number in range(6)))
    outcome = questream("produce", str(path), "--rate", "5", "--json", *flags(kafka, mine))
    assert outcome.code == 0
    # From the first, which waits for nothing, to the sixth; tests/unit/test_producing_pace.py has the times between.
    assert outcome.json["seconds"] >= 1.0
    assert len(read_all(kafka, mine.input_topic, 6)) == 6


def test_a_mistake_in_the_file_is_told_by_its_line_without_the_text(
    kafka: KafkaServer, topics: MakeTopics, tmp_path: Path
) -> None:
    mine = topics()
    path = tmp_path / "questions.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "my secret question"\n')
    outcome = questream("produce", str(path), *flags(kafka, mine))
    assert outcome.code == ExitCode.FAILED
    assert "line 2" in outcome.err
    assert "my secret question" not in outcome.err
    assert end_of(kafka, mine.input_topic) == 0


def test_producing_to_a_topic_that_does_not_exist_says_how_to_create_it(kafka: KafkaServer, tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\n")
    outcome = questream(*("produce", str(path), "--kafka.call_deadline_seconds=3"), *flags(kafka, fresh_topics()))
    assert outcome.code == ExitCode.UNREACHABLE
    assert "questream topics create" in outcome.err


# tail


def decision(question_id: str, outcome: str = "joined") -> bytes:
    return json.dumps(
        {
            "question_id": question_id,
            "namespace": "default",
            "cluster_id": "c17",
            "similarity": 0.8123,
            "outcome": outcome,
            "cluster_size": 42,
            "label": "card\x1b[31m arrival",
            "decided_at": "2026-11-24T03:27:21.704Z",
        }
    ).encode()


def test_tail_shows_a_line_for_each_decision(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(
        kafka,
        mine.output_topic,
        [(b"q1", decision("q1"), []), (b"q2", b"no decision", []), (b"q3", decision("q3"), [])],
    )
    outcome = questream("tail", "--from-beginning", "--max", "3", *flags(kafka, mine))
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert re.fullmatch(r"03:27:21  c17 +joined +0\.812  size 42 +default  q1  card \[31m arrival", lines[0])
    assert lines[1].endswith("q3  card [31m arrival")
    assert "no decision at" in outcome.err


def test_tail_as_json_gives_each_decision_as_it_is(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.output_topic, [(b"q1", decision("q1"), []), (b"q2", decision("q2"), [])])
    outcome = questream("tail", "--from-beginning", "--max", "2", "--json", *flags(kafka, mine))
    assert [line["question_id"] for line in outcome.json_lines] == ["q1", "q2"]
    assert outcome.json_lines[0] == json.loads(decision("q1"))


def test_tail_begins_with_the_next_decision(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics(2)
    send(kafka, mine.output_topic, [(b"old", decision("old"), [])])
    outcomes: list[Outcome] = []
    reader = threading.Thread(
        target=lambda: outcomes.append(questream("tail", "--max", "1", "--json", *flags(kafka, mine)))
    )
    reader.start()
    # Sent again and again: whenever it begins to follow, the old one is not what it sees first.
    while reader.is_alive():
        send(kafka, mine.output_topic, [(b"new", decision("new"), [])])
        reader.join(0.2)
    assert [line["question_id"] for line in outcomes[0].json_lines] == ["new"]


def test_tail_of_a_topic_that_does_not_exist_creates_none(kafka: KafkaServer, admin: KafkaAdminClient) -> None:
    topics = fresh_topics()
    outcome = questream("tail", "--max", "1", *flags(kafka, topics))
    assert outcome.code == ExitCode.UNREACHABLE
    assert "does not exist" in outcome.err
    assert topics.output_topic not in admin.list_topics()


# dead letters


def dead_letter(offset: int, value: bytes | None, reason: str = "empty_text", topic: str = "questions") -> Any:
    record = Record(Source(topic, 0, offset, 0), b"key", value, (("mine", b"kept"),))
    return (b"key", value, dead_letter_headers(record, BadRecord("decode", reason, "why"), 1))


def dead_letters_of(kafka: KafkaServer, mine: Topics) -> list[Any]:
    outcome = questream("dead-letters", "list", "--json", *flags(kafka, mine))
    assert outcome.code == 0, outcome.err
    return outcome.json_lines


def test_dead_letters_are_listed_without_their_values(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(5, b"what was asked", topic=mine.input_topic)])
    outcome = questream("dead-letters", "list", *flags(kafka, mine))
    assert outcome.code == 0
    assert f"{mine.input_topic}/0/5" in outcome.out
    assert "empty_text" in outcome.out
    assert "what was asked" not in outcome.out
    assert "what was asked" in questream("dead-letters", "list", "--show-values", *flags(kafka, mine)).out


def test_dead_letters_are_listed_by_reason(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(1, b"x", "not_utf8"), dead_letter(2, b"x", "empty_text")])
    outcome = questream("dead-letters", "list", "--json", "--reason", "not_utf8", *flags(kafka, mine))
    assert [row["origin"]["offset"] for row in outcome.json_lines] == [1]


def test_a_replay_sends_key_value_and_headers_back_as_they_were(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(5, b"\xff\x00 anything", topic=mine.input_topic)])
    outcome = questream("dead-letters", "replay", "--json", *flags(kafka, mine))
    assert (outcome.code, outcome.json["sent"]) == (0, 1)
    (message,) = read_all(kafka, mine.input_topic, 1)
    assert (message.key, message.value, message.headers) == (b"key", b"\xff\x00 anything", [("mine", b"kept")])


def test_a_replay_takes_a_record_that_was_null_through_and_through(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    _, _, headers = dead_letter(5, None, "null_value", mine.input_topic)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    producer.send(mine.dead_letter_topic, key=b"k", value=None, headers=headers).get(timeout=20)
    producer.close()
    assert questream("dead-letters", "replay", *flags(kafka, mine)).code == 0
    (message,) = read_all(kafka, mine.input_topic, 1)
    assert (message.key, message.value) == (b"k", None)


def test_a_second_replay_sends_only_what_is_new(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(n, b"%d" % n, topic=mine.input_topic) for n in range(3)])
    sent = [questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json["sent"] for _ in range(2)]
    assert sent == [3, 0]
    send(kafka, mine.dead_letter_topic, [dead_letter(3, b"3", topic=mine.input_topic)])
    assert questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json["sent"] == 1
    assert [message.value for message in read_all(kafka, mine.input_topic, 4)] == [b"0", b"1", b"2", b"3"]
    assert [row["replayed"] for row in dead_letters_of(kafka, mine)] == [True] * 4


def test_a_replay_by_reason_leaves_the_others_for_a_later_one(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    reasons = ["not_utf8", "empty_text", "not_utf8", "empty_text"]
    letters = [dead_letter(n, b"%d" % n, reason, mine.input_topic) for n, reason in enumerate(reasons)]
    send(kafka, mine.dead_letter_topic, letters)
    first = questream("dead-letters", "replay", "--reason", "empty_text", "--json", *flags(kafka, mine)).json
    assert (first["sent"], first["other_reason"]) == (2, 2)
    assert [row["replayed"] for row in dead_letters_of(kafka, mine)] == [False, True, False, True]
    assert questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json["sent"] == 2
    assert [message.value for message in read_all(kafka, mine.input_topic, 4)] == [b"1", b"3", b"0", b"2"]


def test_a_dry_run_of_a_replay_sends_and_settles_nothing(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(1, b"x", topic=mine.input_topic)])
    outcome = questream("dead-letters", "replay", "--dry-run", *flags(kafka, mine))
    assert outcome.code == 0
    assert "1 dead letters would be sent back" in outcome.out
    assert end_of(kafka, mine.input_topic) == 0
    assert dead_letters_of(kafka, mine)[0]["replayed"] is False


def test_a_replay_sends_nothing_to_a_topic_that_only_a_header_names(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine, other = topics(), topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(1, b"x", topic=other.input_topic), (None, b"no letter", [])])
    outcome = questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json
    assert (outcome["sent"], outcome["other_topic"], outcome["no_origin"]) == (0, 1, 1)
    assert end_of(kafka, other.input_topic) == 0


def test_a_replay_that_fails_has_sent_nothing_and_can_be_repeated(
    kafka: KafkaServer, topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = topics()
    send(kafka, mine.dead_letter_topic, [dead_letter(n, b"%d" % n, topic=mine.input_topic) for n in range(3)])

    def fail(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        # The last call before the commit: all records are under way by then.
        broken.setattr(KafkaProducer, "send_offsets_to_transaction", fail)
        assert questream("dead-letters", "replay", *flags(kafka, mine)).code == ExitCode.FAILED
    assert questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json["sent"] == 3
    time.sleep(0.5)
    assert [message.value for message in read_all(kafka, mine.input_topic, 3)] == [b"0", b"1", b"2"]


def test_a_transaction_s_markers_do_not_hold_up_the_list(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"t-{mine.input_topic}")
    producer.init_transactions()
    for number in range(2):
        producer.begin_transaction()
        key, value, headers = dead_letter(number, b"x", topic=mine.input_topic)
        producer.send(mine.dead_letter_topic, key=key, value=value, headers=headers)
        producer.commit_transaction()
    producer.close()
    assert len(dead_letters_of(kafka, mine)) == 2
    assert questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json["sent"] == 2
    assert questream("dead-letters", "replay", "--json", *flags(kafka, mine)).json["sent"] == 0


def grant(admin: KafkaAdminClient, kind: Any, name: str, operation: Any) -> None:
    pattern = ResourcePattern(kind, name)
    admin.create_acls([ACL("User:guest", "*", operation, ACLPermissionType.ALLOW, pattern)])


def test_reading_needs_no_more_than_the_right_to_read(
    kafka: KafkaServer, topics: MakeTopics, admin: KafkaAdminClient
) -> None:
    mine = topics()
    send(kafka, mine.output_topic, [(b"q1", decision("q1"), [])])
    arguments = ["tail", "--from-beginning", "--max", "1", *flags(kafka, mine), *as_guest(kafka)]
    assert questream(*arguments).code != 0
    grant(admin, ResourceType.TOPIC, mine.output_topic, ACLOperation.READ)
    deadline = time.monotonic() + 10
    while (outcome := questream(*arguments)).code != 0:
        assert time.monotonic() < deadline, outcome.err
    assert "q1" in outcome.out


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1 that vouches for itself, as PEM files."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    openssl = built(lambda: needed_program("openssl", "install openssl"))
    asked = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", *asked, *names, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return key, chain


def test_tls_with_a_login_passes_through_and_its_password_comes_from_a_file(
    kafka_factory: Callable[..., KafkaServer], tmp_path: Path
) -> None:
    key, chain = certificate(tmp_path)

    def one_line(pem: Path) -> str:
        return pem.read_text().strip().replace("\n", "\\n")

    kafka = kafka_factory(
        properties={
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,SASL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "listener.name.sasl.ssl.keystore.type": "PEM",
            "listener.name.sasl.ssl.keystore.key": one_line(key),
            "listener.name.sasl.ssl.keystore.certificate.chain": one_line(chain),
        }
    )
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    config = tmp_path / "questream.toml"
    config.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.sasl_bootstrap_servers}"\nsasl_plain_password_file = "{password}"\n'
        '[kafka.options]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_plain_username = "owner"\n'
        f'ssl_cafile = "{chain}"\n'
    )
    outcome = questream("topics", "create", "--json", "--config", str(config))
    assert outcome.code == 0, outcome.err
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\n")
    assert questream("produce", str(path), "--json", "--config", str(config)).json["sent"] == 1
    # A broker whose certificate nobody vouches for is not spoken to.
    short = "--kafka.options.bootstrap_timeout_ms=1500"
    stranger = questream("topics", "create", short, "--config", str(config), "--kafka.options.ssl_cafile=")
    assert stranger.code == ExitCode.UNREACHABLE
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.err
    missing = questream("topics", "create", short, "--config", str(config), "--kafka.options.ssl_cafile=/nowhere")
    assert missing.code == ExitCode.USAGE
    assert "No such file" in missing.err


def test_calibrate_samples_the_newest_questions_of_the_namespace(kafka: KafkaServer) -> None:
    topics = create_topics(kafka.bootstrap_servers, partitions=2)
    settings = Settings(
        kafka=KafkaSettings.model_validate({"bootstrap_servers": kafka.bootstrap_servers, **topics.settings()}),
        input=InputSettings(namespace_field="tenant"),
    )
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for number in range(12):
        tenant = "other" if number == 7 else "default"
        value = b"{broken" if number == 4 else json.dumps({"text": f"question {number}", "tenant": tenant}).encode()
        # The partitions are read one after the other, whatever came first.
        producer.send(topics.input_topic, value, partition=number % 2, timestamp_ms=1_700_000_000_000 + number)
    producer.flush()
    producer.close()
    assert newest_of_topic(settings, 9) == [f"question {number}" for number in range(1, 12) if number not in (4, 7)]
    assert newest_of_topic(settings, 3) == ["question 9", "question 10", "question 11"]
