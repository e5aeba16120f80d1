"""An admin client by librdkafka."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its types name not all that it exports
    AclOperation,
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from questream.broker.confluent.failures import UNKNOWN_TOPIC, error_of, refusal_of, translated
from questream.broker.port import GRANT, Brokers, CreatedTopic, FoundTopic, Isolation, Partition
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable

ANSWER_SECONDS = 10.0
_TOPIC_SECONDS = 30.0
_RETRY_SECONDS = 0.1
_LEVELS = {
    "read_committed": IsolationLevel.READ_COMMITTED,
    "read_uncommitted": IsolationLevel.READ_UNCOMMITTED,
}
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # of confluent-kafka
_NEWEST: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]  # of confluent-kafka
_HIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_NO_LEADER = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})


class AdminAdapter:
    """`questream.broker.port.Admin` by an AdminClient of confluent-kafka."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    @translated("DESCRIBE")
    def cluster_id(self) -> str:
        return str(self._cluster().cluster_id)

    @translated("DESCRIBE")
    def brokers(self) -> Brokers:
        # librdkafka keeps to itself which version of the protocol it speaks.
        return Brokers(len(self._cluster().nodes), None)

    @translated("DESCRIBE")
    def find_topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        described = described_topics(self._client, names)
        if not described:
            return {}
        configs = self._configs([ConfigResource(ResourceType.TOPIC, name) for name in described])
        return {name: _found(name, topic, configs.get(name, {})) for name, topic in described.items()}

    @translated("READ")
    def topic_id(self, topic: str) -> str:
        """The id of a topic, written as a UUID is; empty where the broker gives none. Raises KafkaUnavailable."""
        found = described_topics(self._client, [topic]).get(topic)
        if found is None:
            raise KafkaUnavailable(f"the broker shows no topic {topic}")
        if found.topic_id is None:
            return ""
        # As text it has Kafka's own form, base64 without padding.
        written = uuid.UUID(bytes=base64.urlsafe_b64decode(f"{found.topic_id}=="))
        return str(written) if written.int else ""

    @translated("DESCRIBE")
    def broker_message_bytes(self) -> int | None:
        nodes = self._cluster().nodes
        if not nodes:
            return None
        try:
            configs = self._configs([ConfigResource(ResourceType.BROKER, str(nodes[0].id))])
        except KafkaException:
            # Some hosted brokers show no one their own configuration.
            return None
        text = configs.get(str(nodes[0].id), {}).get("message.max.bytes")
        return int(text) if text else None

    @translated("DESCRIBE")
    def create_topic(
        self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str], *, dry_run: bool = False
    ) -> CreatedTopic:
        topic = NewTopic(name, partitions, replication_factor, config=dict(configs))
        waiting = self._client.create_topics([topic], validate_only=dry_run, request_timeout=ANSWER_SECONDS)
        try:
            waiting[name].result()
        except KafkaException as error:
            cause = error_of(error)
            if cause.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                raise KafkaRefused(f"the right to CREATE topic {name} is missing", GRANT) from error
            return CreatedTopic(problem=cause.str() or cause.name())
        return CreatedTopic(partitions if partitions > 0 else None)

    @translated("DESCRIBE")
    def wait_for_topics(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + _TOPIC_SECONDS
        while not self._are_usable(names):
            if time.monotonic() > deadline:
                raise KafkaTimeout("the broker failed a call: topics that were created do not appear")
            time.sleep(_RETRY_SECONDS)

    @translated("DESCRIBE")
    def delete_topics(self, names: Sequence[str]) -> None:
        for waiting in self._client.delete_topics(list(names), request_timeout=ANSWER_SECONDS).values():
            waiting.result()

    @translated("DESCRIBE")
    def delete_group(self, group_id: str) -> None:
        for waiting in self._client.delete_consumer_groups([group_id], request_timeout=ANSWER_SECONDS).values():
            waiting.result()

    @translated("DESCRIBE")
    def may_use_group(self, group_id: str) -> bool | None:
        """The broker reports the rights to a group that does not exist, too."""
        waiting = self._client.describe_consumer_groups(
            [group_id], include_authorized_operations=True, request_timeout=ANSWER_SECONDS
        )
        try:
            operations = waiting[group_id].result().authorized_operations
        except KafkaException as error:
            code = error_of(error).code()
            if code == KafkaError.GROUP_AUTHORIZATION_FAILED:
                return False
            if code in (KafkaError.UNSUPPORTED_VERSION, KafkaError.GROUP_ID_NOT_FOUND):
                return None
            raise
        return None if operations is None else AclOperation.READ in operations

    @translated("DESCRIBE")
    def end_offsets(self, partitions: Collection[Partition], isolation: Isolation) -> dict[Partition, int]:
        found = self._listed(partitions, _LATEST, isolation)
        return {at: result.offset for at, result in found.items()}

    @translated("DESCRIBE")
    def newest_timestamp(self, partitions: Collection[Partition]) -> int:
        found = self._listed(partitions, _NEWEST, "read_uncommitted")
        return max((result.timestamp for result in found.values()), default=-1)

    def close(self) -> None:
        """Its threads end when nothing refers to it any more."""
        del self._client

    def _cluster(self) -> Any:
        return self._client.describe_cluster(request_timeout=ANSWER_SECONDS).result()

    def _configs(self, resources: list[ConfigResource]) -> dict[str, dict[str, str]]:
        waiting = self._client.describe_configs(resources, request_timeout=ANSWER_SECONDS)
        found = {}
        for resource, answer in waiting.items():
            try:
                entries = answer.result()
            except KafkaException as error:
                # A topic may have been deleted since it was found.
                if error_of(error).code() in _HIDDEN | UNKNOWN_TOPIC:
                    continue
                raise
            found[str(resource.name)] = {key: entry.value for key, entry in entries.items() if entry.value}
        return found

    def _listed(self, partitions: Collection[Partition], spec: Any, isolation: Isolation) -> dict[Partition, Any]:
        asked = {TopicPartition(*at): spec for at in partitions}
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            waiting = self._client.list_offsets(
                asked, isolation_level=_LEVELS[isolation], request_timeout=ANSWER_SECONDS
            )
            try:
                return {Partition(at.topic, at.partition): answer.result() for at, answer in waiting.items()}
            except KafkaException as error:
                # A topic that was just made has leaders that do not know it yet.
                if error_of(error).code() not in _NO_LEADER or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_SECONDS)

    def _are_usable(self, names: Sequence[str]) -> bool:
        described = described_topics(self._client, names)
        return len(described) == len(set(names)) and all(
            _has_leader(partition) for topic in described.values() for partition in topic.partitions
        )


def described_topics(client: AdminClient, names: Sequence[str]) -> dict[str, Any]:
    """The topics that exist, as librdkafka describes them. Raises KafkaRefused if one may not be seen."""
    if not names:
        return {}
    waiting = client.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=ANSWER_SECONDS
    )
    found = {}
    for name, answer in waiting.items():
        try:
            found[name] = answer.result()
        except KafkaException as error:
            cause = error_of(error)
            if cause.code() in UNKNOWN_TOPIC:
                continue
            refusal = refusal_of(cause, "DESCRIBE", name)
            if refusal is None:
                raise
            raise refusal from error
    return found


def _has_leader(partition: Any) -> bool:
    return partition.leader is not None and partition.leader.id >= 0


def _found(name: str, topic: Any, configs: dict[str, str]) -> FoundTopic:
    operations = topic.authorized_operations
    return FoundTopic(
        name=name,
        partitions=len(topic.partitions),
        replication_factor=min((len(partition.replicas) for partition in topic.partitions), default=0),
        leaderless_partitions=sum(not _has_leader(partition) for partition in topic.partitions),
        configs=configs,
        operations=None if operations is None else frozenset(operation.name for operation in operations),
    )
