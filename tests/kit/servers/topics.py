"""Topics as a worker expects them, under names that no other test uses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

_DELETED_SECONDS = 40.0
KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": "600000"}


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one stream; the field names are those of the settings `kafka.*`."""

    input_topic: str
    output_topic: str
    cluster_topic: str
    dead_letter_topic: str
    # Named, and created by who needs them.
    event_topic: str = field(default_factory=lambda: f"events-{uuid.uuid4().hex[:10]}")
    operation_topic: str = field(default_factory=lambda: f"operations-{uuid.uuid4().hex[:10]}")
    correction_topic: str = field(default_factory=lambda: f"corrections-{uuid.uuid4().hex[:10]}")

    def settings(self) -> dict[str, str]:
        """Setting name to topic name, to spread into `KafkaSettings(...)`."""
        return asdict(self)


def create_topics(bootstrap_servers: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> Topics:
    """Create one stream's topics under fresh names; input and output with `partitions`, the cluster topic compacted.

    `configs` are those of every topic, on top of what each has. The topic of events is named, and created by who needs
    it.
    """
    suffix = uuid.uuid4().hex[:10]
    names = ("questions", "decisions", "clusters", "dead-letters", "events", "operations", "corrections")
    topics = Topics(*(f"{name}-{suffix}" for name in names))
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        admin.create_topics(
            [
                # -1: as often as the broker does it by itself.
                NewTopic(name, count, -1, topic_configs={**kept, **(configs or {})})
                for name, count, kept in (
                    (topics.input_topic, partitions, {}),
                    (topics.output_topic, partitions, {}),
                    (topics.cluster_topic, 1, COMPACTED),
                    (topics.dead_letter_topic, 1, {}),
                    (topics.operation_topic, 1, KEPT),
                    (topics.correction_topic, partitions, KEPT),
                )
            ],
            wait_for_metadata=True,
        )
    finally:
        admin.close()
    return topics


def make_topic_anew(bootstrap_servers: str, topic: str, partitions: int) -> None:
    """Delete a topic, and create it again under its name, which is taken until the broker has deleted it."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        admin.delete_topics([topic])
        deadline = time.monotonic() + _DELETED_SECONDS
        while True:
            try:
                admin.create_topics([NewTopic(topic, partitions, -1)], wait_for_metadata=True)
            except KafkaError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return
