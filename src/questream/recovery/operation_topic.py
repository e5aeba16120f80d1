"""The published operations, read where a store has to be compared with them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from questream.broker.connect import open_admin, open_reader
from questream.broker.reading import all_read, partitions_of, read_up_to
from questream.domain import Operation
from questream.errors import BadRecord
from questream.records import decode_operation
from questream.settings import Settings
from questream.store.protocol import OPERATIONS_KEPT

logger = logging.getLogger(__name__)

# The time in which the broker aborts a transaction after its own timeout.
_ABORT_SECONDS = 15.0


@dataclass(slots=True)
class PublishedOperations:
    """The last operations of a namespace that were published, by number, and the number of the last one."""

    by_number: dict[int, Operation] = field(default_factory=dict)
    newest: int = 0

    def ordered(self) -> list[Operation]:
        """The oldest first, as many as a store keeps."""
        return [self.by_number[number] for number in sorted(self.by_number)[-OPERATIONS_KEPT:]]


class _Topic:
    """A topic that may not be there; safe from any thread."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self.name = name

    def exists(self) -> bool:
        """True if there is such a topic. Raises KafkaRefused, KafkaUnavailable."""
        with open_admin(self._settings) as admin:
            return self.name in admin.find_topics([self.name])


class CorrectionTopic(_Topic):
    """The topic of the questions that operations move."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.kafka.correction_topic)


class OperationTopic(_Topic):
    """Reads the operation topic. `given_up` ends the wait for an open transaction."""

    def __init__(self, settings: Settings, given_up: Callable[[], bool] = lambda: False) -> None:
        super().__init__(settings, settings.kafka.operation_topic)
        self._given_up = given_up
        self._stream = settings.kafka.cluster_topic

    def published(self, standstill_seconds: float | None = None) -> dict[str, PublishedOperations]:
        """The operations published before the call on clusters of this stream, by namespace; none without a topic.

        An open transaction is waited for, since its operations may yet count: until the broker has aborted it, or
        for `standstill_seconds`. Raises KafkaUnavailable where the wait was not long enough, KafkaRefused.
        """
        found: dict[str, PublishedOperations] = {}
        if not self.exists():
            return found
        if standstill_seconds is None:
            standstill_seconds = self._settings.kafka.transaction_timeout_seconds + _ABORT_SECONDS
        own = self._settings
        with open_reader(own) as reader, open_reader(own, isolation="read_uncommitted") as witness:
            partitions = partitions_of(witness, self.name)
            ends, starts = witness.end_offsets(partitions), witness.beginning_offsets(partitions)
            reader.assign(partitions)
            for partition in partitions:
                reader.seek(partition, starts[partition])
            for message in all_read(read_up_to(reader, ends, standstill_seconds, self._given_up)):
                try:
                    namespace, stream, operation = decode_operation(message.key, message.value)
                except BadRecord:
                    place = {"partition": message.partition, "offset": message.offset}
                    logger.warning("a record of the operation topic cannot be read and is passed over", extra=place)
                    continue
                if stream == self._stream:
                    _keep(found.setdefault(namespace, PublishedOperations()), operation)
        return found


def _keep(published: PublishedOperations, operation: Operation) -> None:
    if operation.kind == "delete":
        # Operations before it were on clusters that are no more.
        published.by_number.clear()
    published.by_number[operation.number] = operation
    published.newest = max(published.newest, operation.number)
    if len(published.by_number) > 2 * OPERATIONS_KEPT:
        published.by_number = {one.number: one for one in published.ordered()}
