"""Two streams with topics of their own on one Redis: nothing of one gets into the other."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from questream.errors import ExitCode, NamespaceOfAnotherStream
from questream.stream.worker import Worker
from tests.kit.command import Outcome, questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

QUESTIONS = 8


@pytest.fixture
def make_streams(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Callable[..., list[Stream]]:
    """Streams on one broker and one Redis database, each with one more setting."""
    return lambda *options: [Stream(kafka.bootstrap_servers, topics(), redis_url, more) for more in options]


def run(stream: Stream, *command: str) -> Outcome:
    return questream(*command, *(f"--{key}={value}" for key, value in stream.overrides().items()))


def decide(stream: Stream, word: str) -> list[str]:
    """The clusters of a few different questions, all of whose states are published at the end."""
    stream.send(question(i, f"where is {word} {i}?") for i in range(QUESTIONS))
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as reader:
        clusters = [decision["cluster_id"] for decision in reader.values(QUESTIONS)]
        wait_until(
            lambda: not worker._store.unpublished(stream.settings().clusters.namespace, 0, 1),
            "all states are published",
        )
    return clusters


def test_streams_with_a_prefix_each_share_a_redis_without_mixing(make_streams: Callable[..., list[Stream]]) -> None:
    streams = make_streams({}, {"redis.prefix": "support"}, {"redis.prefix": "bank.eu"})
    for stream, word in zip(streams, ("card", "parcel", "loan"), strict=True):
        # Each begins at the first number: what the others have opened is not there.
        assert decide(stream, word) == [f"c{number}" for number in range(1, QUESTIONS + 1)]
    client = streams[0].redis()
    assert {name.split(b":")[0] for name in client.scan_iter()} == {b"questream", b"support", b"bank.eu"}
    for stream, word in zip(streams, ("card", "parcel", "loan"), strict=True):
        verified = run(stream, "verify")
        assert (verified.code, verified.out.splitlines()[-1]) == (
            ExitCode.OK,
            f"{QUESTIONS} clusters in 1 namespaces and {QUESTIONS} decisions compared, no differences",
        )
        listed = [json.loads(line) for line in run(stream, "clusters", "list", "--json").out.splitlines()]
        assert {row["representative"].split()[2] for row in listed} == {word}


def test_a_stream_with_other_topics_is_refused_by_run_and_doctor(make_streams: Callable[..., list[Stream]]) -> None:
    first, second = make_streams({}, {})
    decide(first, "card")
    with pytest.raises(NamespaceOfAnotherStream, match=r"redis\.prefix"):
        Worker(second.settings(), hash_encoder()).run()
    found = {finding["check"]: finding for finding in run(second, "doctor", "--json").json}
    assert found["redis stream"]["status"] == "fail"
    assert first.topics.input_topic in found["redis stream"]["told"]
    assert "clusters.shared" in found["redis stream"]["remedy"]
    assert "redis stream" not in {f["check"] for f in run(first, "doctor", "--json").json if f["status"] == "fail"}


def test_verify_passes_over_the_namespaces_of_other_streams(make_streams: Callable[..., list[Stream]]) -> None:
    first, second = make_streams({}, {"clusters.namespace": "bank"})
    decide(first, "card")
    decide(second, "loan")
    for stream in (first, second):
        verified = run(stream, "verify")
        assert verified.code == ExitCode.OK, verified.out
        assert verified.out.startswith(f"{QUESTIONS} clusters in 1 namespaces")
