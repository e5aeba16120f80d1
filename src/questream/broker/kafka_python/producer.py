"""A producer by kafka-python: transactions, and records of which anything may be null."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.serializer import Serializer

from questream.broker.kafka_python.consumer import with_metadata
from questream.broker.kafka_python.failures import fenced, meaning_of, translated
from questream.broker.kafka_python.patches import NULL, is_null
from questream.broker.port import GroupMetadata, Offsets, OnDelivery, Outgoing, Place
from questream.errors import KafkaUnavailable, RecordsTooLarge, Superseded

_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
# As long as its sender may take to see that it has to end; it ends by itself.
_CLOSE_SECONDS = 5.0


class KeySerializer(Serializer):  # type: ignore[misc]  # kafka-python ships no types
    """The `key_serializer` of a producer that is given NULL."""

    def serialize(self, topic: str, headers: Any, data: Any) -> bytes | None:  # noqa: ARG002 - the serializer's signature
        """The key's bytes, or None."""
        return None if is_null(data) else data


class ProducerAdapter:
    """`questream.broker.port.Producer` by a KafkaProducer with a KeySerializer."""

    def __init__(self, client: KafkaProducer) -> None:
        self._client = client

    @translated("WRITE")
    def init_transactions(self) -> None:
        self._client.init_transactions()

    @translated("WRITE")
    def begin_transaction(self) -> None:
        self._client.begin_transaction()

    def send(self, record: Outgoing, on_delivery: OnDelivery) -> None:
        key = NULL if record.key is None and record.value is None else record.key
        headers = [(name, NULL if value is None else value) for name, value in record.headers]
        try:
            future = self._client.send(
                record.topic, record.value, key, headers, partition=record.partition, timestamp_ms=record.timestamp_ms
            )
        except kafka_errors.KafkaError as error:
            raise _meaning_of_delivery(error, record.topic) from error
        future.add_callback(lambda written: on_delivery(Place(written.partition, written.offset)))
        future.add_errback(lambda error: on_delivery(_meaning_of_delivery(error, record.topic)))

    @translated("WRITE")
    @fenced()
    def send_offsets(self, offsets: Offsets, group: GroupMetadata | str) -> None:
        if not isinstance(group, str) and group.generation_id < 0:
            # Kafka takes no generation for no membership, and fences nothing.
            raise Superseded("another worker has the partitions: this one is no member of the group")
        self._client.send_offsets_to_transaction(with_metadata(offsets), group)

    @translated("WRITE")
    @fenced()
    def flush(self, timeout: float | None = None) -> None:
        self._client.flush(timeout)

    @translated("WRITE")
    @fenced()
    def commit_transaction(self) -> None:
        self._client.commit_transaction()

    @translated("WRITE")
    def abort_transaction(self) -> None:
        self._client.abort_transaction()

    @translated("WRITE")
    def require_topic(self, topic: str) -> None:
        try:
            self._client.partitions_for(topic)
        except kafka_errors.KafkaTimeoutError:
            raise KafkaUnavailable(f"topic {topic} does not exist", "create it with: questream topics create") from None

    @property
    def held_back_seconds(self) -> float:
        # kafka-python 3.0.12 shows averages of it alone.
        connections = list(self._client._sender._client._manager._conns.values())
        until = max((connection._throttle_time for connection in connections), default=0.0)
        return max(0.0, until - time.monotonic())

    def close(self) -> None:
        # The client's own close flushes first, and closes nothing where that fails: its sender would go on trying, and
        # send old records behind newer ones of another producer.
        sender = self._client._sender
        sender.force_close()
        sender.join(_CLOSE_SECONDS)
        # It complains of what it could not send, which hides the error that came before.
        with suppress(kafka_errors.KafkaError):
            self._client.close(timeout=0)


def _meaning_of_delivery(error: Exception, topic: str) -> Exception:
    if isinstance(error, _TOO_LARGE):
        return RecordsTooLarge([0], topic)
    return meaning_of(error, "WRITE") if isinstance(error, kafka_errors.KafkaError | OSError) else error
