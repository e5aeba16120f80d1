"""Mails on a real stream: the question in them is decided, shown and kept, and the record stays as it was sent."""

from __future__ import annotations

import time

import pytest

from questream.encoder import Encoder
from questream.prepared import about_in
from questream.preparing.repeated import LEAST_MAILS
from questream.server.decisions import Texts
from questream.tools.following import recent
from questream.tools.lookup import question_of
from questream.tools.members import First, Members
from questream.tools.questions import chosen_question
from questream.tools.stored_sentences import sentences_stored
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
    assert [decision["prepared_by"] for decision in of_mails] == [None, "mail-6", "mail-6", "mail-6"]
    # What a mail asks counts more than what it says beside.
    assert min(decision["similarity"] for decision in of_mails) > 0.95
    assert decided["q4"]["cluster_id"] != of_mails[0]["cluster_id"]
    kept = {" ".join((state.representative or "").split()) for state in stream.store().clusters("default")}
    assert kept == {ASKED, "Can I pay in dollars?"}


# In words that no example and no list has.
OF_THE_FORM = "Kiosk Aldermoor, desk Vantry."


def in_a_form(asked: str) -> str:
    return f"Dear support team,\n\n{OF_THE_FORM}\n{asked}\n\nKind regards,\nAnna Meyer"


@pytest.mark.parametrize("namespace", ["default", "shop"])
def test_what_a_worker_learned_of_a_form_the_next_one_knows(
    kafka: KafkaServer, redis_server: RedisServer, encoder: Encoder, namespace: str
) -> None:
    """The line of a form that stands in all mails says nothing, once that is known: also in the first mail there."""
    stream = Stream(
        kafka.bootstrap_servers,
        create_topics(kafka.bootstrap_servers),
        redis_server.new_database(),
        {"input.namespace_header": "tenant"},
    )
    sent = 0

    def send(*asked: str) -> None:
        nonlocal sent
        headers = [("tenant", namespace.encode())]
        stream.send([question(sent + at, in_a_form(one), headers=headers) for at, one in enumerate(asked)])
        sent += len(asked)

    send(*(f"Can I pay {number} dollars?" for number in range(2 * LEAST_MAILS)))
    store = stream.store()
    with running_worker(stream.settings(), encoder), stream.decisions() as decisions:
        decisions.values(sent)
        deadline = time.monotonic() + 30
        while not store.sentence_counts(namespace).repeated:
            assert time.monotonic() < deadline
            send("Can I pay by card?")
            time.sleep(0.5)
    send("Where is my parcel?")
    with running_worker(stream.settings(), encoder), stream.decisions() as decisions:
        (decided,) = [one for one in decisions.values(sent) if one["question_id"] == f"q{sent - 1}"]
    (state,) = [one for one in store.clusters(namespace) if one.cluster_id == int(decided["cluster_id"][1:])]
    assert state.representative is not None
    assert OF_THE_FORM in state.representative
    assert about_in(state.representative) == "Where is my parcel?"
    # What is asked beside the workers is prepared by what they know.
    settings = stream.settings()
    asked = question_of(in_a_form("Where is my parcel?"), settings, sentences_stored(settings), namespace)
    assert asked == state.representative
    assert chosen_question(settings, namespace, None, in_a_form("Where is my parcel?")).text == asked
    # So is what is read again of the topic.
    assert Texts(settings, sentences_stored(settings))(decided) == asked
    (seen,) = recent(settings, namespace, 1, with_texts=True, sentences_of=sentences_stored(settings))
    assert seen.text == asked
    (member,) = Members(settings, store, namespace, 1000).first(state.cluster_id, First.NEWEST, 1)
    assert member.question is not None
    assert member.question.text == asked
