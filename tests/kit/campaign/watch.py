"""Looks on: how far each partition has been decided, as a read_committed reader of the output sees it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tests.kit.stream import Stream

LATELY = 400


class Watch:
    """Follows the output topic in a thread of its own; a context manager."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decided_below: dict[int, int] = {}
        self._begins: Mapping[int, int] = {}
        # Namespace, cluster, partition and offset of what was decided last.
        self._lately: deque[tuple[str, int, int, int, str]] = deque(maxlen=LATELY)
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def asked(self) -> dict[int, int]:
        """The end offset of each partition of the input."""
        with contextlib.closing(self._consumer()) as consumer:
            return _ends(consumer, self._stream.topics.input_topic)

    def begin_anew(self, begins: Mapping[int, int]) -> None:
        """From now on nothing of the input is decided but what lies at or above these offsets of the output."""
        with self._changed:
            self._begins = begins
            self._decided_below.clear()
            self._lately.clear()

    def lately(self, namespace: str) -> list[tuple[int, int, int, str]]:
        """Cluster, partition, offset and id of the questions of a namespace that were decided last."""
        with self._changed:
            return [(number, p, offset, asked) for name, number, p, offset, asked in self._lately if name == namespace]

    def seconds_until_decided(self, beyond: Mapping[int, int], limit_seconds: float) -> float | None:
        """Seconds until each partition has a decision at or beyond these offsets; None if that does not come."""
        started = time.monotonic()
        with self._changed:
            reached = self._changed.wait_for(
                lambda: all(self._decided_below.get(p, 0) > offset for p, offset in beyond.items()), limit_seconds
            )
        return time.monotonic() - started if reached else None

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self._stream.bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )

    def _follow(self) -> None:
        consumer = self._consumer()
        topic = self._stream.topics.output_topic
        consumer.assign([TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))])
        while not self._ended.is_set():
            with contextlib.suppress(KafkaError):
                for records in consumer.poll(timeout_ms=200).values():
                    self._note(records)
        consumer.close(autocommit=False)

    def _note(self, records: Sequence[Any]) -> None:
        with self._changed:
            for record in records:
                if record.offset < self._begins.get(record.partition, 0):
                    continue
                decision = json.loads(record.value)
                source = decision["source"]
                partition = source["partition"]
                if decision["cluster_id"] is not None:
                    at = partition, source["offset"]
                    self._lately.append(
                        (decision["namespace"], int(decision["cluster_id"][1:]), *at, decision["question_id"])
                    )
                self._decided_below[partition] = max(self._decided_below.get(partition, 0), source["offset"] + 1)
            self._changed.notify_all()


def _ends(consumer: KafkaConsumer, topic: str) -> dict[int, int]:
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    return {partition.partition: end for partition, end in consumer.end_offsets(partitions).items()}
