"""A consumer that no record stops: what Kafka takes and kafka-python 3.0.12 does not is read all the same.

What it takes of memory is bounded: what is handed on at once, and what compressed batches unpack to.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.future import Future
from kafka.protocol.metadata import MetadataRequest
from kafka.structs import OffsetAndMetadata

from questream.broker.kafka_python.batches import HandedOn, PartitionRecords
from questream.broker.kafka_python.clients import ms
from questream.broker.kafka_python.failures import fenced, translated
from questream.broker.kafka_python.unpacking import UnpackingBudget
from questream.broker.port import GroupMetadata, Message, NextOffset, Offsets, Partition, RebalanceListener
from questream.errors import KafkaUnavailable

_MIB = 1024 * 1024
# Of a topic that is not there the group is joined all the same.
_LEARN_SECONDS = 5.0


class RecordConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python ships no types
    """A KafkaConsumer that reads headers whose names are not UTF-8, and timestamps that do not fit into 64 bits.

    `poll` raises CorruptRecordError with partition and offset, and nothing of their content, for records that cannot be
    read at all: damaged on disk or on the way. UnsupportedCodecError says that they are compressed in a way that this
    process has no package for.

    `max_unpacked_bytes` is what compressed batches may take once they are unpacked, all partitions together. Of a batch
    that alone takes more, each record comes with an Unread in the place of its value. `max_poll_bytes` is about what a
    poll hands on: it ends with the record that reaches it.
    """

    def __init__(
        self, *topics: str, max_unpacked_bytes: int = 64 * _MIB, max_poll_bytes: int = 8 * _MIB, **config: Any
    ) -> None:
        super().__init__(*topics, **config)
        self._handed_on = HandedOn(max_poll_bytes)
        budget = UnpackingBudget(max_unpacked_bytes)
        self._fetcher.PartitionRecords = partial(PartitionRecords, budget, self._handed_on)
        self._append_all = self._fetcher._append
        self._fetcher._append = self._append_within
        self._out_of_range: dict[TopicPartition, int] = {}
        self._reset = self._subscription.request_offset_reset
        self._subscription.request_offset_reset = self._note_reset
        self._validated = self._fetcher._handle_offset_for_leader_epoch_response
        self._fetcher._handle_offset_for_leader_epoch_response = self._note_truncation

    def take_out_of_range(self) -> dict[TopicPartition, int]:
        """Positions that Kafka has no record for, since the last call: kafka-python moves on without a word."""
        taken, self._out_of_range = self._out_of_range, {}
        return taken

    def _note_reset(self, partition: TopicPartition, strategy: Any = None) -> None:
        at = self._subscription.assignment[partition].position
        if strategy is None and at is not None:
            self._out_of_range[partition] = at.offset
        self._reset(partition, strategy)

    def _note_truncation(self, response: Any, requested: Any) -> Any:
        """A log that was cut, or a topic that was made anew, may end below what was read of it."""
        answer = self._validated(response, requested)
        for partition, before in requested.items():
            assigned = self._subscription.assignment.get(partition)
            if assigned and assigned.position is not None and assigned.position.offset < before.offset:
                self._out_of_range[partition] = before.offset
        return answer

    def learn(self, topic: str) -> None:
        """Wait until the partitions of a topic are known, for some seconds at most.

        A member that joins before is given none by kafka-python, and has the whole group join again once it knows them.
        """
        deadline = time.monotonic() + _LEARN_SECONDS
        while self._cluster.partitions_for_topic(topic) is None and (left := deadline - time.monotonic()) > 0:
            try:
                self._net.run(self._manager.wait_for, self._cluster.request_update(), ms(left))
            except kafka_errors.RetriableError:
                continue
            except kafka_errors.KafkaError:
                # The next poll reports it as well.
                return

    def partitions_for_topic(self, topic: str) -> set[int]:
        """As KafkaConsumer's, which asks for all topics of the cluster where it knows none of this name."""
        known: set[int] | None = self._cluster.partitions_for_topic(topic)
        if known is None:
            found = self._net.run(self._ask_for, topic).topics[0]
            known = {partition.partition_index for partition in found.partitions}
        return known

    async def _ask_for(self, topic: str) -> Any:
        """The brokers' metadata of this topic alone, as they are now."""
        if self._manager.least_loaded_node() is None:
            await self._cluster.request_update()
        named = MetadataRequest.MetadataRequestTopic(name=topic)
        return await self._manager.send(MetadataRequest(topics=[named], allow_auto_topic_creation=False))

    def poll(self, timeout_ms: int = 0, max_records: int | None = None, update_offsets: bool = True) -> Any:
        """As KafkaConsumer's, and a partition that is resumed gives again what it had when it was paused."""
        # kafka-python takes up what it has put aside only where no partition is in line, and leaves one in line that is
        # through: the others would wait for as long as that one has news.
        if not self._fetcher._next_partition_records:
            self._fetcher._next_partition_records = None
        self._handed_on.byte_count = 0
        return super().poll(timeout_ms, max_records, update_offsets)

    def others_wait(self, partitions: Collection[TopicPartition]) -> bool:
        """True if records of others than these have come, and wait behind those that are handed out first."""
        fetcher = self._fetcher
        waiting = {fetch.topic_partition for fetch in fetcher._completed_fetches.copy()}
        if fetcher._next_partition_records:
            waiting.add(fetcher._next_partition_records.topic_partition)
        return not waiting <= set(partitions)

    def keep_joining(self) -> None:
        """Have the next poll finish a join that the last one began.

        kafka-python forgets a join that new metadata caused if a poll ends between its two requests: the consumer then
        has no partitions, sends no heartbeats, and waits for ever. And it throws away a join that succeeds while nobody
        polls, and begins another: members that do much between their polls join for ever.
        """
        coordinator = self._coordinator
        if coordinator.rebalance_in_progress() and not coordinator.need_rejoin():
            coordinator.request_rejoin()
        if isinstance(coordinator._join_task, Future):
            coordinator._join_task = _Join(coordinator._join_task)

    def _append_within(self, drained: Any, part: Any, max_records: int, update_offsets: bool) -> int:
        """The number of records taken of so many; all of them, where a poll has as many bytes as it may."""
        count: int = self._append_all(drained, part, max_records, update_offsets)
        return max_records if self._handed_on.is_full else count

    def stream_identity(self, topic: str) -> str:
        """The identity of this group's reading of a topic: `<Kafka cluster>/<topic id>/<group>`.

        The broker is asked each time, as a topic can be made anew under its name; a part that brokers before 2.8 do not
        report is empty.
        Raises TopicAuthorizationFailedError without the right to see the topic, KafkaUnavailable where the broker knows
        none of that name: an identity with parts left out would be another's.
        """
        answer = self._net.run(self._ask_for, topic)
        found = answer.topics[0]
        error = kafka_errors.for_code(found.error_code)
        if error is kafka_errors.TopicAuthorizationFailedError:
            raise error({topic})
        if error is not kafka_errors.NoError:
            raise KafkaUnavailable(f"the broker shows no topic {topic}")
        topic_id = found.topic_id if found.topic_id and found.topic_id.int else ""
        return f"{answer.cluster_id or ''}/{topic_id}/{self.config['group_id']}"


class _Join:
    """The future of a join, which passes for done only where it failed: a caller then waits for its end."""

    def __init__(self, ended: Any) -> None:
        self._ended = ended
        self.add_callback = ended.add_callback
        self.add_errback = ended.add_errback

    @property
    def is_done(self) -> bool:
        return bool(self._ended.failed())


class ConsumerAdapter:
    """`questream.broker.port.Consumer` by a RecordConsumer."""

    def __init__(self, client: RecordConsumer) -> None:
        self._client = client

    @translated()
    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        self._client.subscribe(topics=[topic], listener=_Listener(listener))
        self._client.learn(topic)

    def assign(self, partitions: Collection[Partition]) -> None:
        self._client.assign(_all(partitions))

    def assignment(self) -> set[Partition]:
        return _partitions(self._client.assignment())

    def group_metadata(self) -> GroupMetadata:
        membership: GroupMetadata = self._client.group_metadata()
        return membership

    @translated()
    def partitions(self, topic: str) -> list[Partition]:
        return [Partition(topic, number) for number in sorted(self._client.partitions_for_topic(topic) or ())]

    @translated()
    def poll(self, timeout: float, max_records: int | None = None) -> dict[Partition, list[Message]]:
        self._client.keep_joining()
        polled = self._client.poll(ms(timeout), max_records)
        return {Partition(*partition): messages for partition, messages in polled.items()}

    def others_wait(self, partitions: Collection[Partition]) -> bool:
        return self._client.others_wait(_all(partitions))

    def seek(self, partition: Partition, offset: int) -> None:
        self._client.seek(TopicPartition(*partition), offset)

    @translated()
    def position(self, partition: Partition, timeout: float | None = None) -> int | None:
        position: int | None = self._client.position(TopicPartition(*partition), ms(timeout))
        return position

    def pause(self, partitions: Collection[Partition]) -> None:
        self._client.pause(*_all(partitions))

    def resume(self, partitions: Collection[Partition]) -> None:
        self._client.resume(*_all(partitions))

    def paused(self) -> set[Partition]:
        return _partitions(self._client.paused())

    def take_out_of_range(self) -> dict[Partition, int]:
        return {Partition(*partition): offset for partition, offset in self._client.take_out_of_range().items()}

    @translated()
    def beginning_offsets(
        self, partitions: Collection[Partition], timeout: float | None = None
    ) -> dict[Partition, int]:
        return _offsets(self._client.beginning_offsets(_all(partitions), ms(timeout)))

    @translated()
    def end_offsets(self, partitions: Collection[Partition], timeout: float | None = None) -> dict[Partition, int]:
        return _offsets(self._client.end_offsets(_all(partitions), ms(timeout)))

    def log_end(self, partition: Partition) -> int | None:
        end: int | None = self._client.highwater(TopicPartition(*partition))
        return end

    @translated()
    def offset_at(self, partition: Partition, timestamp_ms: int, timeout: float | None = None) -> int | None:
        (found,) = self._client.offsets_for_times({TopicPartition(*partition): timestamp_ms}, ms(timeout)).values()
        return None if found is None else found.offset

    @translated()
    def committed(self, partition: Partition, timeout: float | None = None) -> NextOffset | None:
        found = self._client.committed(TopicPartition(*partition), metadata=True, timeout_ms=ms(timeout))
        return None if found is None or found.offset < 0 else NextOffset(found.offset, found.metadata or "")

    @translated()
    @fenced()
    def commit(self, offsets: Offsets, timeout: float | None = None) -> None:
        self._client.commit(with_metadata(offsets), ms(timeout))

    @translated()
    def stream_identity(self, topic: str) -> str:
        return self._client.stream_identity(topic)

    def close(self, timeout: float) -> None:
        self._client.close(autocommit=False, timeout_ms=ms(timeout))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    def __init__(self, listener: RebalanceListener) -> None:
        self._listener = listener

    def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 - the listener's signature
        self._listener.revoked()

    def on_partitions_lost(self, lost: Any) -> None:  # noqa: ARG002 - the listener's signature
        self._listener.lost()

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002 - the listener's signature
        self._listener.assigned()


def with_metadata(offsets: Offsets) -> dict[TopicPartition, OffsetAndMetadata]:
    """An offset to commit, for kafka-python."""
    noted = {at: offset.metadata if isinstance(offset, NextOffset) else "" for at, offset in offsets.items()}
    return {TopicPartition(*at): OffsetAndMetadata(int(offset), noted[at], -1) for at, offset in offsets.items()}


def _all(partitions: Collection[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


def _partitions(found: Collection[TopicPartition]) -> set[Partition]:
    return {Partition(*partition) for partition in found}


def _offsets(found: Mapping[TopicPartition, int]) -> dict[Partition, int]:
    return {Partition(*partition): offset for partition, offset in found.items()}
