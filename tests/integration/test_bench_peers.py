"""`questream bench peers` with the one peer that needs no package of its own, and what peers are made of."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka.cluster import ClusterMetadata
from kafka.errors import LeaderNotAvailableError

from questream.errors import QuestreamError
from questream.lab.bench.peers.centroids import Centroids
from questream.lab.bench.peers.consumer import subscribed
from questream.lab.bench.peers.job import Job
from questream.lab.bench.peers.measure import PeerProcess
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics

# How long a broker misses a member that was killed.
SOON = ("--kafka.session_timeout_seconds=6",)


def test_the_tutorial_way_is_measured_through_a_kill_and_what_is_missing_is_named(
    kafka: KafkaServer, redis_url: str, tmp_path: Path
) -> None:
    picture = tmp_path / "peers.png"
    servers = ("--plot", str(picture), "--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    ran = questream("bench", "peers", "--peer=tutorial", "--peer=quix", "--questions=60", *servers, *SOON, "--json")
    assert ran.code == 0, ran.err
    tutorial, quix = ran.json
    assert tutorial["problem"] is None, ran.err
    assert tutorial["questions"] == 60
    assert tutorial["lost"] == 0
    assert 0 < tutorial["clusters"] <= 60
    assert tutorial["questions_per_second"] > 0
    assert tutorial["silent_seconds"] > 0
    assert quix["missing"] == "quixstreams"
    assert quix["questions"] is None
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_tutorial_way_joins_its_group_only_once_it_knows_its_topic(
    kafka: KafkaServer, topics: Callable[..., Topics], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    update = ClusterMetadata.update_metadata
    late = time.monotonic() + 2
    names = topics(2)

    def update_late(cluster: Any, metadata: Any) -> None:
        for topic in metadata.topics:
            if topic.name == names.input_topic and time.monotonic() < late:
                topic.error_code = LeaderNotAvailableError.errno
        update(cluster, metadata)

    monkeypatch.setattr(ClusterMetadata, "update_metadata", update_late)
    job = Job(kafka.bootstrap_servers, names.input_topic, names.input_topic, names.output_topic, "", 0.8, 8, 6.0)
    with closing(subscribed(job)) as consumer:
        while not consumer.assignment():
            consumer.poll(100)
    # What a member logs that joined before, and has to join again.
    assert "No partition metadata" not in caplog.text


def test_peers_are_named_and_need_a_kafka() -> None:
    assert "there are questream, tutorial, quix" in questream("bench", "peers", "--peer", "nobody").err
    assert "--bootstrap-servers" in questream("bench", "peers").err


def test_centroids_join_what_is_near_and_move_with_it() -> None:
    centroids = Centroids(threshold=0.8)
    angles = np.radians([0, 30, 50, 120, 15])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # At 50 degrees the mean of 0 and 30 is 35 away, nearer than either by itself would have let it be.
    assert centroids.assign(vectors[:3]) == ["c1", "c1", "c1"]
    assert centroids.assign(vectors[3:]) == ["c2", "c1"]


def test_centroids_grow_beyond_their_first_room() -> None:
    vectors = np.eye(1500, dtype=np.float32)
    centroids = Centroids(threshold=0.5)
    assert centroids.assign(vectors) == [f"c{number}" for number in range(1, 1501)]
    assert centroids.assign(vectors[[0, 1023, 1499]]) == ["c1", "c1024", "c1500"]


@pytest.mark.parametrize("threshold", [-1.0, 1.0])
def test_a_vector_is_near_itself_at_any_threshold(threshold: float) -> None:
    vectors = np.eye(2, dtype=np.float32)[[0, 0]]
    assert Centroids(threshold).assign(vectors) == ["c1", "c1"]


def test_ctrl_c_leaves_the_program_of_a_peer_to_the_benchmark() -> None:
    process = PeerProcess([sys.executable, "-c", "import sys; sys.stdin.read()"], Job("", "", "", "", "", 0.8, 8, 6.0))
    os.kill(process.pid, signal.SIGINT)
    process.close()
    with pytest.raises(QuestreamError, match="code 0"):
        process.check()
