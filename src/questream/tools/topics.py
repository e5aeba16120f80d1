"""The topics of a stream: created where they are missing, and compared with what they must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from questream.broker.connect import open_admin
from questream.broker.port import Admin
from questream.broker.topics import (
    TopicReport,
    WantedTopic,
    check_missing,
    create_missing,
    message_bytes_limit,
    wanted_topics,
)
from questream.settings import Settings


@dataclass(frozen=True, slots=True)
class TopicReports:
    """A report for each topic; `input_message_bytes` is None where the broker does not show that limit."""

    topics: list[TopicReport]
    input_message_bytes: int | None

    @property
    def all_usable(self) -> bool:
        """True if no topic has a problem."""
        return not any(topic.problems for topic in self.topics)


def create_topics(settings: Settings, partitions: int, replication_factor: int = -1) -> TopicReports:
    """Create the missing topics, and compare the others; a `replication_factor` of -1 is the broker's default.

    Raises KafkaUnavailable or KafkaRefused.
    """
    return _reports(create_missing, settings, partitions, replication_factor)


def check_topics(settings: Settings, partitions: int, replication_factor: int = -1) -> TopicReports:
    """A dry run of `create_topics`: the broker is asked, and nothing is created."""
    return _reports(check_missing, settings, partitions, replication_factor)


def _reports(
    call: Callable[[Admin, Sequence[WantedTopic]], list[TopicReport]],
    settings: Settings,
    partitions: int,
    replication_factor: int,
) -> TopicReports:
    with open_admin(settings) as admin:
        found_input = admin.find_topics([settings.kafka.input_topic]).get(settings.kafka.input_topic)
        limit = message_bytes_limit(admin, found_input)
        return TopicReports(call(admin, wanted_topics(settings, partitions, replication_factor, limit)), limit)
