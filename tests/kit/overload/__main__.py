"""`python -m tests.kit.overload`: three times what a worker can do, on real Kafka and Redis, with a verdict."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.kit.overload.run import BATCH_QUESTIONS, PARTITIONS, overload
from tests.kit.servers import KafkaServer, RedisServer, create_topics
from tests.kit.stream import Stream

SAMPLES = 60


def main() -> int:
    """Exit code 1 where a promise broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--helpers", type=int, default=7, help="workers that join to drain the lag")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with KafkaServer(folder / "kafka") as kafka, RedisServer(folder / "redis") as redis:
            topics = create_topics(kafka.bootstrap_servers, PARTITIONS)
            stream = Stream(kafka.bootstrap_servers, topics, redis.url, {"batch_questions": BATCH_QUESTIONS})
            every_seconds = max(1.0, given.seconds / SAMPLES)
            watched = overload(stream, folder, given.seconds, given.helpers, every_seconds, on_sample=print)
    broken = watched.broken_promises()
    print(
        f"sent {watched.sent:,}, decided {watched.decided:,}, twice {watched.twice}; "
        f"memory grew by {watched.growth_bytes / 1e6:.1f} MB"
    )
    print(*(broken or ["all promises kept"]), sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
