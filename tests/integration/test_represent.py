"""What people chose to stand for a cluster, on Kafka and Redis: published, kept, put back and undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from questream.errors import ExitCode
from questream.records import decode_cluster_state
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

SETTINGS = {"clusters.threshold": 0.7, "clusters.similarity": "cosine", "judge.features": False}
CARD = "where is my card card card"
LOST = "where is my lost card card"


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url, SETTINGS)


@pytest.fixture
def states(stream: Stream) -> Iterator[Reader]:
    with stream.cluster_states() as reader:
        yield reader


def published(states: Reader) -> str | None:
    """What stands for cluster 1 by the cluster topic."""
    records = [record for record in states.rest() if record.key == b"default/c1"]
    return decode_cluster_state(records[-1].key, records[-1].value).representative if records else None


def test_a_chosen_question_stands_for_its_cluster_and_outlives_redis(stream: Stream, states: Reader) -> None:
    at = [f"--{name}={value}" for name, value in stream.overrides().items()]

    def shown() -> str:
        return str(questream("clusters", "show", "c1", "--json", *at).json["representative"])

    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        (*_, (partition, offset)) = stream.send([question("a", CARD), question("lost", LOST)])
        assert {value["cluster_id"] for value in reader.values(2)} == {"c1"}
        looked = questream("clusters", "represent", "c1", "qlost", "--dry-run", "--json", *at).json
        assert (looked["operation"], shown()) == (None, CARD)
        command = ("clusters", "represent", "c1", "qlost", "--actor", "ann", "--id", "mine", "--json", *at)
        done = questream(*command).json
        assert (done["operation"], done["kind"], done["actor"]) == (1, "represent", "ann")
        place = {"topic": stream.topics.input_topic, "partition": partition, "offset": offset}
        assert done["after"]["c1"]["represented_by"]["place"] == place
        assert (questream(*command).json, shown()) == (done, LOST)
        stream.send([question("b", CARD)])
        reader.values(3)
        wait_until(lambda: published(states) == LOST, "the choice is published")
        with Reader(stream.bootstrap_servers, stream.topics.operation_topic) as operations:
            (told,) = operations.until(1)
            assert b"card" not in told.value

        with stream.redis() as client:
            client.flushall()
        stream.send([question("c", CARD)])
        reader.values(4)
        assert shown() == LOST
        undone = questream("undo", "1", "--json", *at).json
        assert (undone["undoes"], shown()) == (1, CARD)
        wait_until(lambda: published(states) == CARD, "that it was taken back is published")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["c1"], "name them by the ids that `questream clusters members` shows"),
        (["qa", "--text", CARD], "not both"),
        ([], "give its id or its text"),
        (["--text", CARD, "--clusters.keep_texts=false"], "keeps no texts of questions"),
    ],
    ids=["unknown", "both", "neither", "no-texts"],
)
def test_what_cannot_stand_for_a_cluster_is_refused(stream: Stream, arguments: list[str], told: str) -> None:
    at = [f"--{name}={value}" for name, value in stream.overrides().items()]
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([question("a", CARD)])
        reader.values(1)
    refused = questream("clusters", "represent", "c1", *arguments, *at)
    assert (refused.code, told in refused.err) == (ExitCode.FAILED, True), refused.err
