"""The benchmarks on real servers: that they count right and leave nothing behind, not how fast the machine is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from kafka import KafkaAdminClient, KafkaProducer

from questream.bench.clusters import (
    MemoryFigures,
    bytes_per_cluster,
    fill_namespace,
    measure_assignment,
    measure_memory,
)
from questream.bench.pipeline import measure_against_encoder, measure_latency, measure_throughput
from questream.bench.questions import SyntheticQuestions
from questream.bench.servers import drop_namespace, own_namespace, own_stream
from questream.bench.traffic import Reader
from questream.bench.worker_process import WorkerProcess, wait_until
from questream.encoder import Encoder
from questream.errors import ModelError, QuestreamError
from questream.settings import Settings, load_settings
from questream.store.protocol import Identity
from questream.store.redis import open_store
from tests.servers import KafkaServer

DIMENSION = 32
QUESTIONS = SyntheticQuestions(1500, DIMENSION, topics=200)
IDENTITY = Identity("precomputed", "1", DIMENSION, "centred", "average", 0.55)


@pytest.fixture
def settings(kafka: KafkaServer, redis_url: str) -> Settings:
    return load_settings(
        Path(os.devnull),
        {
            "kafka.bootstrap_servers": kafka.bootstrap_servers,
            "kafka.session_timeout_seconds": 6,
            "redis.url": redis_url,
        },
    )


@contextmanager
def nothing_left(settings: Settings) -> Iterator[None]:
    """Fails if a topic of a benchmark, or any key, is there at the end."""
    yield
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    try:
        assert not [topic for topic in admin.list_topics() if topic.startswith("questream-bench")]
    finally:
        admin.close()
    with redis_client(settings) as client:
        assert client.keys("*") == []


@contextmanager
def redis_client(settings: Settings) -> Iterator[Any]:
    with redis.Redis.from_url(settings.redis.url.get_secret_value()) as client:
        yield client


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_throughput_counts_every_question_once_and_leaves_nothing_behind(settings: Settings, delivery: str) -> None:
    with nothing_left(settings):
        figures = measure_throughput(
            settings.model_copy(update={"delivery": delivery}), QUESTIONS, QUESTIONS.texts(), warm_up=500
        )
    assert figures.decisions == 1000
    assert figures.duplicates == 0
    assert 0 < figures.questions <= 1000
    assert figures.questions_per_second == pytest.approx(figures.questions / figures.seconds)
    assert 0 < figures.clusters <= 1500
    assert figures.stage_microseconds["publish"] > 0


def test_several_workers_all_take_part(settings: Settings) -> None:
    with nothing_left(settings):
        figures = measure_throughput(settings, QUESTIONS, QUESTIONS.texts(), warm_up=500, workers=2)
    assert figures.workers == 2
    assert figures.decisions == 1000
    assert figures.duplicates == 0
    assert (figures.stale_retries == 0) == (figures.decisions_per_retry is None)


def test_the_encoder_takes_turns_with_the_pipeline(settings: Settings) -> None:
    with nothing_left(settings):
        figures = measure_against_encoder(settings, QUESTIONS, QUESTIONS.texts()[:600], rounds=2)
    assert len(figures.rounds) == 2
    assert figures.throughput.decisions == 2 * 600
    # Looking vectors up is quicker than Kafka and Redis are.
    assert 0 < figures.ratio < 1


def test_latency_is_taken_from_when_a_question_was_due(settings: Settings) -> None:
    with nothing_left(settings):
        figures = measure_latency(settings, QUESTIONS, QUESTIONS.texts()[:300], rate=100, seconds=3)
    assert figures.questions == 300
    assert figures.answered_per_second < 100
    assert 0 < figures.p50 <= figures.p95 <= figures.p99 <= figures.longest


@pytest.mark.parametrize("clusters", [0, 300, 6000])
def test_assignment_runs_against_as_many_clusters_as_asked(settings: Settings, clusters: int) -> None:
    with nothing_left(settings):
        figures, load = measure_assignment(settings, DIMENSION, clusters, runs=2)
    assert {f.blas_threads for f in figures} == {1, max(f.blas_threads for f in figures)}
    for figure in figures:
        assert (figure.clusters, figure.runs, figure.questions) == (clusters, 2, 256)
        assert 0 < figure.assign_median <= figure.assign_p95
        assert 0 < figure.commit_median <= figure.commit_p95
        assert 0 < figure.opened_per_run < 256
    assert load.clusters == clusters


def test_memory_is_that_of_a_whole_worker(settings: Settings) -> None:
    with nothing_left(settings):
        figures = measure_memory(settings, DIMENSION, 1000)
    if figures.resident_mib is None or figures.peak_mib is None:
        pytest.skip("this system does not tell a process's memory")
    assert 30 < figures.resident_mib <= figures.peak_mib < 2000


def test_memory_per_cluster_is_the_growth_between_the_ends() -> None:
    figures = [MemoryFigures(4, clusters, mib, mib) for clusters, mib in ((1024, 101.0), (0, 100.0), (2048, 104.0))]
    assert bytes_per_cluster(figures) == 2048
    assert bytes_per_cluster(figures[:1]) is None
    assert bytes_per_cluster([*figures, MemoryFigures(4, 4096, None, None)]) is None


def test_a_filled_namespace_has_a_cluster_at_each_centre(settings: Settings) -> None:
    centres = QUESTIONS.centres()
    store = open_store(settings.redis)
    with nothing_left(settings), own_namespace(settings) as namespace:
        fill_namespace(store, namespace, IDENTITY, centres)
        mirror = store.load(namespace)
        np.testing.assert_array_equal(mirror.sums[np.argsort(mirror.ids)], centres)
        assert mirror.mean_questions == 1000


def test_dropping_a_namespace_leaves_others_alone(settings: Settings) -> None:
    store = open_store(settings.redis)
    for name in ("bench", "bench.2"):
        fill_namespace(store, name, IDENTITY, QUESTIONS.centres()[:3])
    drop_namespace(settings.redis, "bench")
    assert store.namespaces() == ["bench.2"]
    with redis_client(settings) as client:
        assert all(b"{bench.2}" in key or key == b"questream:namespaces" for key in client.keys("*"))
    assert store.load("bench.2").count == 3


def test_the_reader_tells_records_beyond_the_first_of_a_question(settings: Settings) -> None:
    with own_stream(settings, 2) as own, Reader(own) as reader:
        producer = KafkaProducer(bootstrap_servers=own.kafka.bootstrap_servers)
        for key in (b"a", b"b", b"a"):
            producer.send(own.kafka.output_topic, key=key, value=b"{}")
        producer.close()
        wait_until(lambda: reader.records == 3, "three records were read", 20)
        assert reader.decided == 2
        assert reader.duplicates == 1


@dataclass(frozen=True)
class BrokenSource:
    """A model that is not there."""

    def open(self) -> Encoder:
        raise ModelError("no such model")


def test_a_worker_that_ends_is_told_and_not_waited_for(settings: Settings) -> None:
    worker = WorkerProcess(settings, BrokenSource())
    try:
        with pytest.raises(QuestreamError, match="a worker ended with code 1"):
            wait_until(lambda: worker.is_ready, "it was ready", 60)
    finally:
        worker.close()


def test_made_up_questions_are_the_same_in_every_process() -> None:
    again = SyntheticQuestions(QUESTIONS.count, DIMENSION, QUESTIONS.topics)
    assert again.texts() == QUESTIONS.texts()
    np.testing.assert_array_equal(again.vectors(), QUESTIONS.vectors())
    assert len(set(QUESTIONS.texts())) == QUESTIONS.count
    np.testing.assert_allclose(np.linalg.norm(QUESTIONS.vectors(), axis=1), 1.0, atol=1e-5)


def test_made_up_questions_lie_around_their_topics() -> None:
    recipe = SyntheticQuestions(2000, 384, topics=50)
    nearest = (recipe.vectors() @ recipe.centres().T).argmax(axis=1)
    told = [f"How do I get matter {topic} settled, please? Case {row}." for row, topic in enumerate(nearest)]
    assert told == recipe.texts()
    shares = np.bincount(nearest, minlength=50) / 2000
    # Zipf: half as often at twice the rank.
    assert shares[0] == pytest.approx(2 * shares[1], rel=0.25)


def test_the_table_gives_the_vectors_of_the_texts_asked_for() -> None:
    texts, vectors = QUESTIONS.texts(), QUESTIONS.vectors()
    np.testing.assert_array_equal(QUESTIONS.open().encode([texts[7], texts[3], texts[7]]), vectors[[7, 3, 7]])


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUESTREAM_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, "-m", "questream", "bench", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_command_measures_on_servers_of_its_own(tmp_path: Path) -> None:
    done = command(
        *("pipeline", "--only", "precomputed", "--only", "assign", "--only", "latency", "--json"),
        *("--questions", "600", "--warm-up", "300", "--seconds", "2", "--rate", "50"),
        *("--clusters", "0,100", "--dimensions", "16", "--runs", "1"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["machine"]["cores"] >= 1
    assert told["broker"].startswith("embedded")
    assert [figures["delivery"] for figures in told["precomputed"]] == ["exactly-once", "at-least-once"]
    assert {figures["clusters"] for figures in told["assignment"]} == {0, 100}
    assert told["latency"][0]["asked_per_second"] == 50
    assert told["model"] is None


def test_the_command_prints_tables_of_all_that_it_measured() -> None:
    done = command("assign", "--clusters", "0,200", "--dimensions", "16", "--runs", "1")
    assert done.returncode == 0, done.stderr
    for said in ("Assignment of 256 questions and its commit", "all clusters read from the store", "bytes for each"):
        assert said in done.stdout


def test_the_encoder_is_measured_against_the_library(minilm: Path) -> None:
    done = command("encoder", "--count", "16", "--json", "--model.name", str(minilm))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["texts"] == 16
    assert told["cosine_min"] > 0.999


@pytest.mark.parametrize(
    "arguments", [("assign", "--clusters", "many"), ("pipeline", "--workers", "0"), ("pipeline", "--only", "nothing")]
)
def test_the_command_refuses_what_it_cannot_measure(arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""


def test_the_command_says_which_server_does_not_answer() -> None:
    done = command("assign", "--redis-url", "redis://:hidden@127.0.0.1:9/0")
    assert done.returncode == 3
    assert "Redis" in done.stderr
    assert "hidden" not in done.stderr
