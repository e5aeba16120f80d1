"""The health of the stream: the lag of its group, and the doctor's findings."""

from __future__ import annotations

from dataclasses import dataclass

from questream.broker.connect import open_reader
from questream.broker.reading import partitions_of
from questream.settings import Settings
from questream.tools.doctor import Finding, diagnose


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """A partition of the input topic: its end, and the offset that the group committed, None before the first."""

    partition: int
    end: int
    committed: int | None

    @property
    def lag(self) -> int:
        """Offsets that the group has still to pass."""
        return max(0, self.end - (self.committed or 0))


def read_lag(settings: Settings) -> list[PartitionLag]:
    """Each partition of the input topic. The group is only looked at. Raises KafkaUnavailable or KafkaRefused."""
    with open_reader(settings, group_id=settings.kafka.group_id) as consumer:
        partitions = partitions_of(consumer, settings.kafka.input_topic)
        ends = consumer.end_offsets(partitions)
        return [PartitionLag(one.partition, ends[one], consumer.committed(one)) for one in partitions]


def find_all(settings: Settings) -> list[Finding]:
    """The doctor's findings, in its order."""
    return list(diagnose(settings))
