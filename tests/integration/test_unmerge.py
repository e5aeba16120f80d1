"""What a worker merged is two clusters again when somebody says so: on Kafka and Redis, and after a loss of Redis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.operations import By, Decisions
from questream.operations.unmerging import joined_since
from tests.kit.command import questream
from tests.kit.schemas import schema_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.serving import client_of
from tests.kit.stream import Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

CARD = "where is my card card card"
LOST = "where is my lost card card"
# The two are apart, and near enough to merge.
SETTINGS = {
    "clusters.threshold": 0.95,
    "clusters.merge_threshold": 0.7,
    "clusters.similarity": "cosine",
    "judge.features": False,
}


def test_an_operator_takes_a_workers_merge_back_for_good(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, SETTINGS)
    store, redis_flag = stream.store(), f"--redis.url={redis_url}"
    operations = Reader(stream.bootstrap_servers, stream.topics.operation_topic)
    with (
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as reader,
        operations as published,
    ):
        stream.send([question(one, CARD) for one in "abc"])
        reader.values(3)
        stream.send([question("lost", LOST)])
        apart = reader.values(4)[3]["cluster_id"]
        assert apart != "c1"
        # Clusters merge once either moves.
        stream.send([question("next", CARD)])
        wait_until(lambda: len(list(store.clusters("default"))) == 1, "a worker has merged the two")

        preview = questream("clusters", "unmerge", apart, "--dry-run", "--json", redis_flag)
        assert (preview.code, preview.json["parted"], preview.json["operation"]) == (0, apart, None)
        assert len(list(store.clusters("default"))) == 1
        done = questream(
            "clusters", "unmerge", apart, "--actor", "ann", "--reason", "lost is another", "--json", redis_flag
        )
        assert (done.code, done.json["kind"], done.json["parted"], done.json["undoes"]) == (0, "unmerge", apart, None)
        (record,) = published.until(1)
        schema_of("operation").validate(published.values(1)[0])
        assert (record.key, published.values(1)[0]["parted"]) == (b"default", apart)

        def sizes() -> dict[str, int]:
            return {f"c{state.cluster_id}": state.size for state in store.clusters("default")}

        assert sizes() == {"c1": 4, apart: 1}
        stream.send([question("again", LOST), question("card", CARD)])
        assert [value["cluster_id"] for value in reader.values(7)[5:]] == [apart, "c1"]
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published")
        known = store.operations("default", 10)

        with stream.redis() as client:
            client.flushall()
        stream.send([question("later", LOST), question("last", CARD)])
        assert [value["cluster_id"] for value in reader.values(9)[7:]] == [apart, "c1"]
        assert sizes() == {"c1": 6, apart: 3}
        assert store.operations("default", 10) == known
        # What a merge absorbed is in Redis alone; the merge that takes the undo back needs none of it.
        again = questream("undo", str(done.json["operation"]), "--json", redis_flag)
        assert (again.code, again.json["survivor"], sizes()) == (0, "c1", {"c1": 9})
        assert [value["operation"] for value in published.values(2)] == [1, 2]


PIN = "how do i change the pin"


def taken_back(by: str, stream: Stream, encoder: Encoder, operation: int, parted: str, **more: object) -> Any:
    """What the command, the API or a tool answers that takes a merge back; `more` is what a request has."""
    if by in ("undo", "clusters unmerge"):
        flags = [f"--{name}={value}" for name, value in stream.overrides().items()]
        flags += ["--dry-run"] if more else []
        done = questream(*by.split(), parted if by != "undo" else str(operation), "--json", *flags)
        assert (done.code, done.err) == (0, "")
        return done.json
    client = client_of(stream.store(), stream.settings(), encoder=encoder)
    where = "/api/v1/namespaces/default/operations"
    if by == "POST undo":
        answer = client.post(f"{where}/{operation}/undo", json=more)
    else:
        answer = client.post(where, json={"op": "unmerge", "cluster_id": parted, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("by", ["undo", "clusters unmerge", "POST undo", "POST unmerge"])
def test_questions_that_joined_since_go_to_the_nearer_part(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, SETTINGS | {"clusters.threshold": 0.3})
    encoder, store = hash_encoder(), stream.store()
    monkeypatch.setattr("questream.tools.lookup.encoder_of", lambda *_: encoder)

    def sizes() -> dict[str, int]:
        return {f"c{state.cluster_id}": state.size for state in store.clusters("default")}

    with running_worker(stream.settings(), encoder), stream.decisions() as reader:
        stream.send([question("card-a", CARD)])
        reader.values(1)
        stream.send([question("pin-a", PIN)])
        card, pin = (value["cluster_id"] for value in reader.values(2))
        decisions = Decisions(store, "default", By("ann"))
        merged = decisions.commit(decisions.merge(int(card[1:]), int(pin[1:])))
        assert merged.survivor == int(card[1:])
        stream.send([question("pin-later", PIN), question("card-later", CARD)])
        assert {value["cluster_id"] for value in reader.values(4)[2:]} == {card}
        wait_until(lambda: not store.unpublished("default", 0.0, 10), "the outbox is published")
        wait_until(lambda: len(joined_since(store, "default", int(pin[1:]))) == 2, "both are known to be published")

        seen = taken_back(by, stream, encoder, merged.number, pin, dry_run=True, questions=100)
        assert sizes() == {card: 4}
        counts = ("decisions", "decisions_moved", "unread", "clusters", "relabelled")
        assert [seen["effect"][name] for name in counts] == [4, 2, 0, 2, 0]
        # Which of the four the survivor keeps depends on the order of the partitions.
        assert 0 < seen["effect"]["members_moved"] < seen["effect"]["members"]
        assert {one["text"] for one in seen["effect"]["moving"]} == {PIN}
        assert {(one["before"], one["after"]) for one in seen["effect"]["moving"]} == {(card, pin)}
        assert [(one["question_id"], one["to"]) for one in seen["corrections"]] == [("qpin-later", pin)]
        done = taken_back(by, stream, encoder, merged.number, pin)
        assert [(one["question_id"], one["to"]) for one in done["corrections"]] == [("qpin-later", pin)]
        assert sizes() == {card: 2, pin: 2}
        with Reader(stream.bootstrap_servers, stream.topics.correction_topic) as corrections:
            (record,) = corrections.until(1)
            told = corrections.values(1)[0]
            assert (record.key, told["question_id"]) == (b"qpin-later", "qpin-later")
            assert (told["from"], told["to"], told["operation"]) == (card, pin, done["operation"])
        wait_until(lambda: not store.unpublished("default", 0.0, 10), "the outbox is published")
        with stream.redis() as client:
            client.flushall()
        stream.send([question("pin-last", PIN)])
        assert reader.values(5)[4]["cluster_id"] == pin
        assert sizes() == {card: 2, pin: 3}


def test_without_the_model_what_joined_since_stays_and_that_is_said(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_model(*_: object) -> None:
        raise QuestreamError("the settings have another model")

    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, SETTINGS | {"clusters.threshold": 0.3})
    store = stream.store()
    monkeypatch.setattr("questream.tools.lookup.encoder_of", without_model)
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([question("card", CARD), question("pin", PIN)])
        reader.values(2)
        decisions = Decisions(store, "default", By("ann"))
        decisions.commit(decisions.merge(1, 2))
        stream.send([question("later", PIN)])
        reader.values(3)
        wait_until(lambda: len(joined_since(store, "default", 2)) == 1, "it is known to be published")
        flags = [f"--{name}={value}" for name, value in stream.overrides().items()]
        done = questream("clusters", "unmerge", "c2", "--json", *flags)
        assert (done.code, done.json["parted"], done.json["corrections"]) == (0, "c2", [])
        assert "stay where they were decided: the settings have another model" in done.err


@pytest.mark.parametrize("asked", [LOST, CARD], ids=["of the returned", "of the survivor"])
def test_a_decision_is_published_with_both_parts_of_a_merge_that_was_taken_back(
    asked: str, kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    created = topics()
    # Where its topic is missing an operation waits, and a loss of Redis forgets it.
    waiting = dataclasses.replace(created, operation_topic=f"missing-{created.operation_topic}")
    stream = Stream(kafka.bootstrap_servers, waiting, redis_url, SETTINGS)
    store = stream.store()

    def sizes() -> dict[int, int]:
        return {state.cluster_id: state.size for state in store.clusters("default")}

    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([question(one, CARD) for one in "abc"])
        reader.values(3)
        stream.send([question("lost", LOST)])
        reader.values(4)
        stream.send([question("next", CARD)])
        wait_until(lambda: len(sizes()) == 1, "a worker has merged the two")
        wait_until(lambda: not store.unpublished("default", 0.0, 1), "all states are published")
        decisions = Decisions(store, "default", By("ann"))
        decisions.commit(decisions.unmerge(2))
        stream.send([question("again", asked)])
        reader.values(6)
        told = sizes()
        with stream.redis() as client:
            client.flushall()
        stream.send([question("last", CARD)])
        reader.values(7)
        assert sizes() == {**told, 1: told[1] + 1}
