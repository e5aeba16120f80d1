"""A producer by librdkafka: transactions, and records of which anything may be null."""

from __future__ import annotations

import time
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from questream.broker.confluent.clients import Config
from questream.broker.confluent.failures import TOO_LARGE, UNKNOWN_TOPIC, error_of, fenced, meaning_of, translated
from questream.broker.port import GroupMetadata, NextOffset, Offsets, OnDelivery, Outgoing, Place
from questream.errors import KafkaTimeout, KafkaUnavailable, RecordsTooLarge, Superseded

_ANSWER_SECONDS = 10.0
_QUEUE_POLL_SECONDS = 0.05


class Membership(GroupMetadata, Protocol):
    """The metadata of this adapter's consumers."""

    opaque: bytes


class Throttle:
    """The last delays by the brokers' quotas; for any thread."""

    def __init__(self) -> None:
        self._until = 0.0

    def take(self, event: Any) -> None:
        """Take a `throttle_cb` of librdkafka."""
        self._until = time.monotonic() + event.throttle_time

    @property
    def seconds(self) -> float:
        """For how long from now on."""
        return max(0.0, self._until - time.monotonic())


class ProducerAdapter:
    """`questream.broker.port.Producer` by a Producer of confluent-kafka, whose `throttle_cb` is that of `throttle`.

    `give_up_seconds` is how long a full queue, or a call that is tried again, is waited for; `config` is that of the
    producer, for a group that is only named.
    """

    def __init__(self, client: Producer, throttle: Throttle, give_up_seconds: float, config: Config) -> None:
        self._client: Producer | None = client
        self._throttle = throttle
        self._give_up_seconds = give_up_seconds
        self._config = config

    @translated("WRITE")
    def init_transactions(self) -> None:
        self._live.init_transactions(self._give_up_seconds)

    @translated("WRITE")
    def begin_transaction(self) -> None:
        self._live.begin_transaction()

    def send(self, record: Outgoing, on_delivery: OnDelivery) -> None:
        topic = record.topic

        def delivered(error: KafkaError | None, message: Message) -> None:
            on_delivery(_place(message) if error is None else _meaning_of_delivery(error, topic))

        partition = -1 if record.partition is None else record.partition
        timestamp = record.timestamp_ms or 0
        headers: Any = list(record.headers)
        deadline: float | None = None
        client = self._live
        while True:
            try:
                client.produce(topic, record.value, record.key, partition, delivered, None, timestamp, headers)
            except BufferError:
                # The queue is full, of outcomes too: those are called for here.
                deadline = deadline or time.monotonic() + self._give_up_seconds
                if time.monotonic() > deadline:
                    raise KafkaTimeout("the broker failed a call: records wait to be sent for too long") from None
                client.poll(_QUEUE_POLL_SECONDS)
            except KafkaException as error:
                raise _meaning_of_delivery(error_of(error), topic) from error
            else:
                return

    @translated("WRITE")
    @fenced()
    def send_offsets(self, offsets: Offsets, group: GroupMetadata | str) -> None:
        if not isinstance(group, str) and group.generation_id < 0:
            # Offsets of no generation would pass as those of a group without members.
            raise Superseded("another worker has the partitions: this one is no member of the group")
        metadata = self._metadata_of(group)
        self._live.send_offsets_to_transaction(with_metadata(offsets), metadata, self._give_up_seconds)

    @translated("WRITE")
    @fenced()
    def flush(self, timeout: float | None = None) -> None:
        if self._live.flush(self._give_up_seconds if timeout is None else timeout):
            raise KafkaTimeout("the broker failed a call: records were not acknowledged in time")

    @translated("WRITE")
    @fenced()
    def commit_transaction(self) -> None:
        self._live.commit_transaction(self._give_up_seconds)

    @translated("WRITE")
    def abort_transaction(self) -> None:
        self._live.abort_transaction(self._give_up_seconds)

    @translated("WRITE")
    def require_topic(self, topic: str) -> None:
        found = self._live.list_topics(topic, _ANSWER_SECONDS).topics.get(topic)
        error = None if found is None else found.error
        if found is None or (error is not None and error.code() in UNKNOWN_TOPIC):
            raise KafkaUnavailable(f"topic {topic} does not exist", "create it with: questream topics create")
        if error is not None:
            raise meaning_of(error, "WRITE", topic)

    @property
    def held_back_seconds(self) -> float:
        return self._throttle.seconds

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            # Its own `close` would wait for what was not sent. Without a reference to it, it ends.
            client.purge()

    @property
    def _live(self) -> Producer:
        if self._client is None:
            raise KafkaUnavailable("the producer is closed")
        return self._client

    def _metadata_of(self, group: GroupMetadata | str) -> Any:
        if not isinstance(group, str):
            return group.opaque  # type: ignore[attr-defined]  # of this adapter's consumers alone
        # A consumer that has not joined has the metadata of a group without members.
        nobody = Consumer(self._config | {"group.id": group})
        try:
            return nobody.consumer_group_metadata()
        finally:
            nobody.close()


def with_metadata(offsets: Offsets) -> list[TopicPartition]:
    """An offset to commit, for librdkafka."""
    return [
        TopicPartition(*at, int(offset), offset.metadata if isinstance(offset, NextOffset) else "")
        for at, offset in offsets.items()
    ]


def _place(message: Message) -> Place:
    partition, offset = message.partition(), message.offset()
    return Place(-1 if partition is None else partition, -1 if offset is None else offset)


def _meaning_of_delivery(error: KafkaError, topic: str) -> Exception:
    return RecordsTooLarge([0], topic) if error.code() in TOO_LARGE else meaning_of(error, "WRITE", topic)
