"""Rejected, moved and split questions bind later ones: on Kafka and Redis, with two workers, after a loss of Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from questream.errors import QuestreamError
from questream.operations import By, Decisions
from questream.tools.kept_questions import kept_in_order
from questream.tools.members import First
from questream.tools.questions import given_questions, known_questions
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.serving import client_of
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

CARD = "where is my card card card"
LOST = "where is my lost card card"
PIN = "how do i change the pin"


def test_what_people_decide_of_questions_binds_both_workers_and_outlives_redis(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    settings = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, settings)
    encoder = hash_encoder()
    with (
        running_worker(stream.settings(), encoder),
        running_worker(stream.settings(), encoder),
        stream.decisions() as reader,
    ):
        stream.send([question(number, CARD) for number in range(8)])
        reader.values(8)
        stream.send([question("lost", LOST), question("pin", PIN)])
        by_id = {value["question_id"]: value["cluster_id"] for value in reader.values(10)}
        assert by_id["qlost"] == by_id["q0"] != by_id["qpin"]

        store = stream.store()
        decisions = Decisions(store, "default", By("ann", "lost is another matter"))
        with pytest.raises(QuestreamError, match="have no decision"):
            known_questions(stream.settings(), "default", encoder, ["nobody"])
        found = known_questions(stream.settings(), "default", encoder, ["qlost"])
        assert (found[0].text, found[0].place is not None) == (LOST, True)
        rejected = decisions.commit(decisions.reject(found))
        stream.send([question(f"lost-{number}", LOST) for number in ("a", "b", "c", "d")])
        later = {value["question_id"]: value["cluster_id"] for value in reader.values(14)[10:]}
        assert len(set(later.values())) == 1
        assert by_id["q0"] not in later.values()

        target = int(by_id["qpin"][1:])
        text = given_questions(stream.settings(), store, "default", encoder, [LOST], None)
        moved = decisions.commit(decisions.move(text, target))
        pins = known_questions(stream.settings(), "default", encoder, ["qpin"])
        split = decisions.commit(decisions.split(target, pins))
        (part,) = split.after.keys() - {target}
        assert [one.after for one in split.corrections] == [part]
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        with stream.redis() as client:
            client.flushall()
        stream.send([question(f"again-{number}", LOST) for number in ("a", "b", "c", "d")])
        again = [value["cluster_id"] for value in reader.values(18)[14:]]
        assert again == [by_id["qpin"]] * 4
        stream.send([question(f"pin-{number}", PIN) for number in ("a", "b", "c", "d")])
        assert [value["cluster_id"] for value in reader.values(22)[18:]] == [f"c{part}"] * 4
        state = stream.store().cluster("default", int(by_id["q0"][1:]))
        assert state is not None
        assert [(one.kind, one.text) for one in state.ruling.exemplars] == [("cannot", LOST)]
        assert state.operation == rejected.number < moved.number


def test_what_an_operator_merged_takes_the_questions_of_either_until_that_is_undone(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    settings = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, settings)
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        # So unlike, and so many against one, that what both become is near to the many alone.
        stream.send([*(question(number, CARD) for number in range(9)), question("pin", PIN)])
        by_id = {value["question_id"]: value["cluster_id"] for value in reader.values(10)}
        card, pin = by_id["q0"], by_id["qpin"]
        assert card != pin
        store = stream.store()
        decisions = Decisions(store, "default", By("ann", "one matter to us"))
        decisions.commit(decisions.merge(int(card[1:]), int(pin[1:])))
        stream.send([question("pin-later", PIN), question("card-later", CARD)])
        assert [value["cluster_id"] for value in reader.values(12)[10:]] == [card, card]
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        with stream.redis() as client:
            client.flushall()
        stream.send([question("pin-again", PIN)])
        assert reader.values(13)[12]["cluster_id"] == card


def test_a_merge_that_is_undone_draws_no_question_any_more(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    settings = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, settings)
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([*(question(number, CARD) for number in range(9)), question("pin", PIN)])
        by_id = {value["question_id"]: value["cluster_id"] for value in reader.values(10)}
        card, pin = by_id["q0"], by_id["qpin"]
        store = stream.store()
        decisions = Decisions(store, "default", By("ann", "one matter to us"))
        merged = decisions.commit(decisions.merge(int(card[1:]), int(pin[1:])))
        assert [one.kind for one in merged.after[int(card[1:])].exemplars] == ["must", "must"]
        decisions.commit(decisions.undo(merged.number))
        assert [state.ruling.exemplars for state in store.clusters("default")] == [(), ()]
        stream.send([question("pin-later", PIN), question("card-later", CARD)])
        assert [value["cluster_id"] for value in reader.values(12)[10:]] == [pin, card]


def test_a_question_of_kafka_is_moved_through_the_api(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, settings)
    encoder = hash_encoder()
    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question(one, CARD) for one in "abc"])
        reader.values(3)
        stream.send([question("lost", LOST), question("pin", PIN)])
        by_id = {value["question_id"]: value["cluster_id"] for value in reader.values(5)}
        client = client_of(stream.store(), stream.settings(), encoder=encoder)

        def decide(**body: object) -> tuple[int, dict[str, Any]]:
            answer = client.post("/api/v1/namespaces/default/operations/questions", json=body)
            return answer.status_code, answer.json()

        assert decide(op="reject", question_ids=["nobody"])[0] == 422
        looked = decide(op="reject", question_ids=["qlost"], dry_run=True)[1]
        assert [looked[name] for name in ("kind", "operation")] == ["reject", None], looked
        chosen = client.post(
            "/api/v1/namespaces/default/operations",
            json={"op": "represent", "cluster_id": by_id["qa"], "question_id": "qlost", "dry_run": True},
        ).json()
        assert [chosen[one]["representative"] for one in ("after",)] == [LOST]
        assert [one["representative"] for one in chosen["before"]] == [CARD]
        # Nothing else takes it: it is one of its own.
        assert [(one["question_id"], one["from"], one["to"]) for one in looked["corrections"]] == [
            ("qlost", by_id["qlost"], "c3")
        ]
        monkeypatch.setattr("questream.tools.lookup.encoder_of", lambda *_: encoder)
        flags = [f"--{name}={value}" for name, value in stream.overrides().items()]
        effect = questream("clusters", "reject", "qlost", "--dry-run", "--json", *flags).json["effect"]
        state = stream.store().cluster("default", int(by_id["qlost"][1:]))
        assert state is not None
        counts = ("decisions", "decisions_moved", "members", "members_moved", "unread")
        assert [effect[name] for name in counts] == [4, 1, len(kept_in_order(state, First.NEWEST)), 1, 0]
        places = {"before": by_id["qlost"], "after": "c3"}
        assert effect["moving"] == [{"question_id": "qlost", "text": LOST} | places]
        assert {one["text"] for one in effect["staying"]} == {CARD}
        told_by_api = decide(op="reject", question_ids=["qlost"], dry_run=True, questions=10_000)[1]
        assert told_by_api["effect"] == effect
        few = questream("clusters", "reject", "qlost", "--dry-run", "--json", "--questions", "2", *flags)
        assert few.json["effect"]["decisions"] == 1
        told = questream("clusters", "merge", by_id["qa"], by_id["qpin"], "--dry-run", *flags).out
        assert "of 5 questions that were decided there lately 1 would go elsewhere" in told
        assert f"would move: {by_id['qpin']} -> {by_id['qa']}: {PIN}" in told
        # Where all is near enough, the next best is the only other one.
        flags.append("--clusters.threshold=-1")
        shown = questream("clusters", "reject", "qlost", "--dry-run", "--json", *flags).json
        assert [(one["from"], one["to"]) for one in shown["corrections"]] == [(by_id["qlost"], by_id["qpin"])]
        flags.pop()
        shown = questream("clusters", "split", by_id["qlost"], "qlost", "--dry-run", "--json", *flags).json
        assert [(one["from"], one["to"]) for one in shown["corrections"]] == [(by_id["qlost"], "c3")]
        assert [(one["text"], one["after"]) for one in shown["effect"]["moving"]] == [(LOST, "c3")]
        # By what it is about: what is nearer to that goes along.
        about = "where is my lost card"
        shown = questream("clusters", "split", by_id["qlost"], "--text", about, "--dry-run", "--json", *flags).json
        assert [(one["question_id"], one["to"]) for one in shown["corrections"]] == [("qlost", "c3")]
        by_api = decide(op="split", cluster_id=by_id["qlost"], texts=[about], dry_run=True)[1]
        assert [(one["question_id"], one["to"]) for one in by_api["corrections"]] == [("qlost", "c3")]
        # And what is nearer to a question: the others say all the same.
        shown = decide(op="split", cluster_id=by_id["qa"], question_ids=["qa"], nearer=True, dry_run=True)[1]
        assert {"qa"} < {one["question_id"] for one in shown["corrections"]} <= {"qa", "qb", "qc"}
        page = f"/n/default/decide?op=split&c={by_id['qa']}&q=qa&nearer=true"
        assert "Split 1 question off" in client.get(page).text
        # What differs most of what it keeps.
        proposed = questream("clusters", "split", by_id["qlost"], "--dry-run", "--json", *flags).json
        assert [one["question_id"] for one in proposed["corrections"]] == ["qlost"]
        assert (proposed["operation"], proposed["effect"]["unread"]) == (None, 0)
        asked = decide(op="split", cluster_id=by_id["qlost"], dry_run=True)[1]
        assert [one["question_id"] for one in asked["corrections"]] == ["qlost"]
        code, moved = decide(op="move", question_ids=["qlost"], target_id=by_id["qpin"], reason="another matter")
        assert (code, moved["kind"], moved["operation"]) == (200, "move", 1), moved
        # It is no part of that cluster any more.
        shown = decide(op="split", cluster_id=by_id["qa"], texts=[about], dry_run=True)[1]
        assert shown["corrections"] == []
        # Nor is it told of as one that would move with that cluster.
        shown = questream("clusters", "merge", by_id["qa"], by_id["qpin"], "--dry-run", "--json", *flags).json
        both = [
            client.get(f"/api/v1/namespaces/default/clusters/{by_id[one]}/members").json() for one in ("qa", "qpin")
        ]
        assert shown["effect"]["members"] == sum(len(one["members"]) for one in both)
        # What was turned away joins nothing; said again, it is not asked where it would.
        once = ("clusters", "reject", "--text", CARD, "--id", "once", "--json")
        first = questream(*once, *flags).json
        assert questream(*once, *flags).json == first
        stream.send([question("later", LOST)])
        assert by_id["qlost"] == by_id["qa"] != reader.values(6)[5]["cluster_id"] == by_id["qpin"]
