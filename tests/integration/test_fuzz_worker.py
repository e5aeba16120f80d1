"""A few of the hostile records that `make fuzz` sends through a worker; another seed each time."""

from __future__ import annotations

import secrets
from pathlib import Path

from tests.kit.fuzz.worker import TOPIC_CONFIGS, fuzz_worker
from tests.kit.servers import KafkaServer, create_topics
from tests.kit.stream import Stream


def test_hostile_records_pass_a_worker_untouched(kafka: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    topics = create_topics(kafka.bootstrap_servers, 3, TOPIC_CONFIGS)
    stream = Stream(kafka.bootstrap_servers, topics, redis_url)
    outcomes = fuzz_worker(stream, tmp_path, secrets.randbelow(2**31), 0, 3_000, seconds=150)
    # By seed 545 with a standard deviation of 23, less a few that the encoder refuses.
    assert outcomes["decided"] > 300
    assert outcomes["not_json"] > 100
