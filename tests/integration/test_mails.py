"""Mails on a real stream: the question in them is decided, shown and kept, and the record stays as it was sent."""

from __future__ import annotations

from questream.encoder import Encoder
from tests.kit.servers import KafkaServer, RedisServer, create_topics
from tests.kit.stream import Stream, question, running_worker

ASKED = "Where is my new card? I ordered it two weeks ago."
MAILS = [
    ASKED,
    f"Dear support team,\n\n{ASKED}\n\nKind regards,\nAnna Meyer\n\n-- \nNorthwind Ltd.\nPhone: +44 20 7946 0958",
    f"<html><body><p>Hi,</p><p>{ASKED}</p><p>Thanks<br>Ben</p></body></html>",
    f"Ticket #4711\nFrom: Cy <cy@x.example>\nSubject: Help\n\nHello,\n{ASKED}\n\nOn 3 May 2026, Bo wrote:\n> Hi",
]
FRAME = "Hi,\n\nCan I pay in dollars?\n\nKind regards,\nAnna Meyer\n\n-- \nNorthwind Ltd.\nPhone: +44 20 7946 0958"


def test_mails_with_one_question_are_one_cluster_and_two_with_one_frame_are_not(
    kafka: KafkaServer, redis_server: RedisServer, encoder: Encoder
) -> None:
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers), redis_server.new_database())
    stream.send([question(number, text) for number, text in enumerate([*MAILS, FRAME])])
    with running_worker(stream.settings(), encoder), stream.decisions() as decisions:
        decided = {decision["question_id"]: decision for decision in decisions.values(len(MAILS) + 1)}
    of_mails = [decided[f"q{number}"] for number in range(len(MAILS))]
    assert len({decision["cluster_id"] for decision in of_mails}) == 1
    assert [decision["prepared_by"] for decision in of_mails] == [None, "mail-5", "mail-5", "mail-5"]
    # What a mail asks counts more than what it says beside.
    assert min(decision["similarity"] for decision in of_mails) > 0.95
    assert decided["q4"]["cluster_id"] != of_mails[0]["cluster_id"]
    kept = {" ".join((state.representative or "").split()) for state in stream.store().clusters("default")}
    assert kept == {ASKED, "Can I pay in dollars?"}
