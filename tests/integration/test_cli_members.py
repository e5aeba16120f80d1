"""`questream clusters members`: the questions of a cluster, on Apache Kafka and Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient, TopicPartition

from questream.errors import ExitCode
from questream.records.states import decode_cluster_state
from questream.tools.members import First, Members
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker
from tests.kit.vectors import hash_encoder

SENT = [
    "where is my card",
    "where is my new card",
    "what is the exchange rate",
    "where is my card",
    "where is my card please tell me",
]


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream whose questions about cards are in c1, and no text of which is in Redis."""
    overrides = {"clusters.threshold": 0.5, "clusters.keep_texts": False}
    made = Stream(kafka.bootstrap_servers, topics(), redis_url, overrides)
    with running_worker(made.settings(), hash_encoder()), made.decisions() as reader:
        for number, text in enumerate(SENT):
            made.send([question(number, text)])
            decision = reader.values(number + 1)[-1]
            assert decision["cluster_id"] == ("c2" if number == 2 else "c1")
    return made


def members(stream: Stream, *arguments: str) -> Outcome:
    names = ("kafka.bootstrap_servers", "kafka.input_topic", "kafka.output_topic", "redis.url")
    flags = (f"--{name}={value}" for name, value in stream.overrides().items() if name in names)
    outcome = questream("clusters", "members", *arguments, *flags)
    assert outcome.code == ExitCode.OK, outcome.err
    return outcome


def test_the_questions_of_a_cluster_are_shown_in_the_order_asked_for(stream: Stream) -> None:
    look = ("--decisions", "100", "--json")
    typical = members(stream, "c1", *look).json_lines
    assert [row["text"] for row in typical] == [SENT[3], SENT[1], SENT[4], SENT[0]]
    assert [row["outcome"] for row in typical] == ["joined", "joined", "joined", "created"]
    assert [row["text"] for row in members(stream, "c1", "--doubtful", *look).json_lines] == [
        *(SENT[4], SENT[1], SENT[3], SENT[0])
    ]
    newest = members(stream, "c1", "--newest", "--limit", "2", *look).json_lines
    assert [row["text"] for row in newest] == [SENT[4], SENT[3]]
    assert newest[0]["topic"] == stream.topics.input_topic
    every = members(stream, "c1", "--all", "--json").json_lines
    assert sorted(row["text"] for row in every) == sorted(text for text in SENT if "card" in text)
    found = members(stream, "c1", "--search", "PLEASE", "--json").json_lines
    assert [row["text"] for row in found] == [SENT[4]]
    lines = members(stream, "c2").out.splitlines()
    assert lines[0].split() == ["similarity", "decided", "place", "id", "question"]
    assert "opened it" in lines[1]
    assert SENT[2] in lines[1]


def test_what_a_cluster_keeps_is_shown_without_a_look_at_decisions(stream: Stream) -> None:
    shown = members(stream, "c1", "--json")
    assert [row["text"] for row in shown.json_lines] == [SENT[3], SENT[1], SENT[4]]
    assert "3 of 4 questions" in shown.err
    assert [row["question_id"] for row in shown.json_lines] == ["q3", "q1", "q4"]
    assert [row["decided_at"] for row in shown.json_lines] == [None] * 3
    doubtful = members(stream, "c1", "--doubtful", "--json").json_lines
    assert [row["text"] for row in doubtful] == [SENT[4], SENT[1], SENT[3]]
    newest = members(stream, "c1", "--newest", "--limit", "2", "--json").json_lines
    assert [row["text"] for row in newest] == [SENT[4], SENT[3]]
    assert members(stream, "c2", "--json").json_lines[0]["outcome"] == "created"
    # They are in the cluster topic too, so that a restore brings them back.
    with stream.cluster_states() as reader:
        published = [decode_cluster_state(one.key, one.value) for one in reader.rest() if one.key == b"default/c1"]
    (state,) = stream.store().states("default", [1])
    assert published[-1].kept_members == state.kept_members != ""


def test_a_reference_to_a_record_that_is_another_by_now_shows_no_text(stream: Stream) -> None:
    (state,) = stream.store().states("default", [2])
    other = state.kept_members.rpartition(":")[2].replace(";", "")
    with stream.redis() as redis:
        (key,) = redis.keys("*cluster:2")
        redis.hset(key, "kept", state.kept_members.replace(other, "00000000"))
    assert [row["text"] for row in members(stream, "c2", "--json").json_lines] == [None]


def test_members_of_a_merged_cluster_are_those_of_what_it_became(stream: Stream) -> None:
    assert questream("clusters", "merge", "c1", "c2", f"--redis.url={stream.redis_url}").code == ExitCode.OK
    both = members(stream, "c2", "--all", "--json")
    assert "c2 was merged into c1" in both.err
    assert sorted(row["text"] for row in both.json_lines) == sorted(SENT)
    assert {row["cluster_id"] for row in both.json_lines} == {"c1", "c2"}
    newest = Members(stream.settings(), stream.store(), "default", 100).first(1, First.NEWEST, 10)
    assert [member.question.text for member in newest if member.question] == SENT[::-1]
    assert SENT[0] not in repr(newest[-1])


def test_a_member_whose_record_is_gone_is_shown_by_its_place(stream: Stream) -> None:
    admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
    at = [TopicPartition(stream.topics.input_topic, partition) for partition in (0, 1)]
    known = admin.describe_topics([stream.topics.input_topic])[0]["partitions"]
    admin.delete_records(dict.fromkeys(at[: len(known)], -1))
    admin.close()
    rows = members(stream, "c2", "--json").json_lines
    assert [(row["text"], row["question_id"], row["timestamp"]) for row in rows] == [(None, None, None)]
    assert rows[0]["topic"] == stream.topics.input_topic
    assert "no longer in the input topic" in members(stream, "c2").out
    assert members(stream, "c2", "--search", "rate").out.count("\n") <= 1
