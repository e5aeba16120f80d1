"""Fetch what the servers need before any test waits for it: `python -m tests.kit.servers`."""

from __future__ import annotations

import sys

from tests.kit.servers.kafka.classes import archive_classes
from tests.kit.servers.kafka.jars import cache_folder, kafka_jars
from tests.kit.servers.process import MissingServer


def main() -> None:
    """Fetch Apache Kafka; what is missing is reported, and left to the tests to skip or fail on."""
    sys.stdout.write(f"Apache Kafka for the tests, kept in {cache_folder()} (fetched once, 43 MB)\n")
    try:
        archive_classes(kafka_jars())
    except MissingServer as missing:
        sys.stdout.write(f"not available: {missing}\n")


if __name__ == "__main__":
    main()
