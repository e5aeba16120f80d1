"""Events of clusters, found in the output topic of Apache Kafka itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from questream.errors import ExitCode
from questream.records.times import format_time
from tests.integration.test_cli_kafka import flags, fresh_topics, send
from tests.kit.command import Outcome, questream
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.watching import decided
from tests.unit.test_events import MINUTE_MS, after, steady

MakeTopics = Callable[..., Topics]
Sent = list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]


def decisions(stream: list[tuple[int, str]], key: str = "asker") -> Sent:
    """The stream as records of the output topic, each with a key of its own."""
    return [(message.key, message.value, []) for message in decided(stream, key=key)]


def test_events_are_told_from_all_partitions_in_the_order_of_time(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics(3)
    stream = steady()
    burst = after(stream, "c99", 6, MINUTE_MS)
    send(kafka, mine.output_topic, [*decisions(stream + burst), (b"x", b"no decision", [])])
    told = questream("events", "list", "--json", *flags(kafka, mine)).json_lines
    for document in told:
        schema_of("cluster-event").validate(document)
    assert [one["time"] for one in told] == sorted(one["time"] for one in told)
    (emerged,) = [one for one in told if one["subject"] == "c99"]
    assert (emerged["type"], emerged["data"]["count"]) == ("questream.cluster.emerging", 4)
    assert emerged["time"] == format_time(burst[3][0])
    shown = questream("events", "list", "--limit", "1", "--namespace", "acme", *flags(kafka, mine)).out
    assert "c99     emerging  4 askers where 0.0 were expected" in shown
    assert questream("events", "list", "--namespace", "other", *flags(kafka, mine)).out == ""


def test_one_key_that_asks_on_and_on_raises_nothing_unless_each_question_counts(
    kafka: KafkaServer, topics: MakeTopics
) -> None:
    mine = topics()
    stream = steady()
    sent = decisions(stream + after(stream, "c99", 6, MINUTE_MS))
    shouted: Sent = [(b"one" if b'"c99"' in (value or b"") else key, value, []) for key, value, _ in sent]
    send(kafka, mine.output_topic, shouted)
    assert "c99" not in questream("events", "list", *flags(kafka, mine)).out
    assert "c99" in questream("events", "list", "--asker", "question", *flags(kafka, mine)).out


def test_tail_tells_what_happens_after_the_past_was_learnt(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    stream = steady()
    send(kafka, mine.output_topic, decisions(stream))
    outcomes: list[Outcome] = []
    reader = threading.Thread(
        target=lambda: outcomes.append(questream("events", "tail", "--max", "1", "--json", *flags(kafka, mine)))
    )
    reader.start()
    # A burst each time, of another cluster: whenever it begins to follow, it is told the next one.
    for number in range(100, 400):
        if not reader.is_alive():
            break
        stream += after(stream, f"c{number}", 6, MINUTE_MS)
        send(kafka, mine.output_topic, decisions(stream[-6:], f"burst {number}"))
        reader.join(0.2)
    reader.join(20)
    (document,) = outcomes[0].json_lines
    assert document["type"] == "questream.cluster.emerging"


def test_a_topic_that_does_not_exist_is_told(kafka: KafkaServer) -> None:
    outcome = questream("events", "list", *flags(kafka, fresh_topics()))
    assert outcome.code == ExitCode.UNREACHABLE
    assert "does not exist" in outcome.err
