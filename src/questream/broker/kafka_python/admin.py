"""An admin client by kafka-python."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, MemberToRemove, OffsetSpec

from questream.broker.kafka_python.failures import translated
from questream.broker.port import GRANT, Brokers, CreatedTopic, FoundTopic, Isolation, Partition
from questream.errors import KafkaRefused

_COORDINATOR_SECONDS = 10.0
_RETRY_SECONDS = 0.5


class AdminAdapter:
    """`questream.broker.port.Admin` by a KafkaAdminClient."""

    def __init__(self, client: KafkaAdminClient) -> None:
        self._client = client

    @translated("DESCRIBE")
    def cluster_id(self) -> str:
        return str(self._client.describe_cluster()["cluster_id"])

    @translated("DESCRIBE")
    def brokers(self) -> Brokers:
        brokers = self._client.describe_cluster()["brokers"]
        version = self._client.get_broker_version_data(brokers[0]["broker_id"]).broker_version
        return Brokers(len(brokers), tuple(version))

    @translated("DESCRIBE")
    def find_topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        described = {}
        for topic in self._client.describe_topics(list(names)):
            error = kafka_errors.for_code(topic["error_code"])
            if issubclass(error, kafka_errors.AuthorizationError):
                raise KafkaRefused(f"the right to DESCRIBE topic {topic['name']} is missing", GRANT)
            if error is not kafka_errors.UnknownTopicOrPartitionError:
                described[topic["name"]] = topic
        if not described:
            return {}
        # All of the configuration: the embedded broker closes the connection when it is asked for single keys.
        resources = [ConfigResource("TOPIC", name) for name in described]
        configs = self._client.describe_configs(resources, config_filter="all").get("topic", {})
        return {
            name: FoundTopic(
                name=name,
                partitions=len(topic["partitions"]),
                replication_factor=min((len(p["replica_nodes"]) for p in topic["partitions"]), default=0),
                leaderless_partitions=sum(p["leader_id"] < 0 for p in topic["partitions"]),
                configs={key: config["value"] for key, config in configs.get(name, {}).items() if config["value"]},
                operations=None
                if topic["authorized_operations"] is None
                else frozenset(topic["authorized_operations"]),
            )
            for name, topic in described.items()
        }

    @translated("DESCRIBE")
    def broker_message_bytes(self) -> int | None:
        brokers = self._client.describe_cluster()["brokers"]
        if not brokers:
            return None
        broker_id = str(brokers[0]["broker_id"])
        resource = ConfigResource("BROKER", broker_id, {"message.max.bytes": None})
        try:
            answer = self._client.describe_configs([resource], config_filter="all")
        except kafka_errors.KafkaError:
            # Some hosted brokers show no one their own configuration.
            return None
        text = answer.get("broker", {}).get(broker_id, {}).get("message.max.bytes", {}).get("value")
        return int(text) if text else None

    @translated("DESCRIBE")
    def create_topic(
        self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str], *, dry_run: bool = False
    ) -> CreatedTopic:
        asked = {"num_partitions": partitions, "replication_factor": replication_factor, "configs": dict(configs)}
        (reply,) = self._client.create_topics({name: asked}, raise_errors=False, validate_only=dry_run)["topics"]
        error = kafka_errors.for_code(reply["error_code"])
        if error is kafka_errors.NoError:
            created = max(reply.get("num_partitions", -1), partitions)
            return CreatedTopic(created if created > 0 else None)
        if issubclass(error, kafka_errors.AuthorizationError):
            raise KafkaRefused(f"the right to CREATE topic {name} is missing", GRANT)
        return CreatedTopic(problem=reply.get("error_message") or error.__name__)

    @translated("DESCRIBE")
    def wait_for_topics(self, names: Sequence[str]) -> None:
        self._client.wait_for_topics(list(names))

    @translated("DESCRIBE")
    def delete_topics(self, names: Sequence[str]) -> None:
        self._client.delete_topics(list(names))

    @translated("DESCRIBE")
    def delete_group(self, group_id: str) -> None:
        self._client.delete_groups([group_id])

    @translated("DESCRIBE")
    def may_use_group(self, group_id: str) -> bool | None:
        """A member that does not exist is asked to leave.

        Again and again until a coordinator is there: at a cluster's first use of any group the broker makes a topic.
        """
        nobody = [MemberToRemove(member_id="questream-doctor")]
        deadline = time.monotonic() + _COORDINATOR_SECONDS
        while True:
            try:
                self._client.remove_group_members(group_id, nobody)
            except kafka_errors.GroupAuthorizationFailedError:
                return False
            except kafka_errors.UnsupportedVersionError:
                return None
            except kafka_errors.CoordinatorNotAvailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return True

    @translated("DESCRIBE")
    def end_offsets(self, partitions: Collection[Partition], isolation: Isolation) -> dict[Partition, int]:
        specs = {TopicPartition(*partition): OffsetSpec.LATEST for partition in partitions}
        answer = self._client.list_partition_offsets(specs, isolation_level=isolation)
        return {Partition(*partition): at.offset for partition, at in answer.items()}

    @translated("DESCRIBE")
    def newest_timestamp(self, partitions: Collection[Partition]) -> int:
        specs = {TopicPartition(*partition): OffsetSpec.MAX_TIMESTAMP for partition in partitions}
        return max((at.timestamp for at in self._client.list_partition_offsets(specs).values()), default=-1)

    def close(self) -> None:
        self._client.close()
