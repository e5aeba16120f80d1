"""The seven topics: what they must be like, creating them, and comparing those that exist with what they must be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from questream.broker.port import GRANT, Admin, FoundTopic
from questream.errors import KafkaRefused, Problem, RecordsTooLarge
from questream.settings import Settings

Role = Literal["input", "output", "cluster", "dead-letter", "event", "operation", "correction"]
Outcome = Literal["created", "would be created", "exists", "failed"]

# The bytes that a record gains on its way: error headers, or a decision around passed-through headers.
HEADROOM_BYTES = 65_536
# Of the batch that ends a transaction in each topic of it: where it does not fit, the transaction never ends.
_MARKER_BYTES = 78
# Two workers may publish a cluster in either order; until the newest state comes again, it must be in the topic,
# or a Redis that is lost within those seconds is restored from an older one.
COMPACTION_LAG_MS = 600_000
_COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(COMPACTION_LAG_MS)}
_NEEDED_OPERATIONS: dict[Role, frozenset[str]] = {
    "input": frozenset({"READ", "DESCRIBE"}),
    "output": frozenset({"WRITE", "DESCRIBE"}),
    "cluster": frozenset({"READ", "WRITE", "DESCRIBE"}),
    "dead-letter": frozenset({"WRITE", "DESCRIBE"}),
    "event": frozenset({"READ", "WRITE", "DESCRIBE"}),
    "operation": frozenset({"READ", "WRITE", "DESCRIBE"}),
    "correction": frozenset({"WRITE", "DESCRIBE"}),
}
# Longer than a receiver of webhooks may be away.
_EVENTS_KEPT = {"cleanup.policy": "delete", "retention.ms": str(90 * 86_400_000)}
# For ever, and not compacted: streams that share the topic have operations of the same namespace and number.
_KEPT_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it should be; -1 leaves partitions or replication to the broker's defaults."""

    role: Role
    name: str
    partitions: int = -1
    replication_factor: int = -1
    configs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicReport:
    """The action on a topic, and its problems."""

    role: Role
    name: str
    outcome: Outcome
    partitions: int | None
    problems: tuple[Problem, ...] = ()


def wanted_topics(
    settings: Settings, partitions: int, replication_factor: int, input_message_bytes: int | None
) -> list[WantedTopic]:
    """The topics of these settings; what goes out may be longer than the `input_message_bytes` that come in."""
    kafka = settings.kafka
    room = {} if input_message_bytes is None else {"max.message.bytes": str(input_message_bytes + HEADROOM_BYTES)}
    return [
        WantedTopic("input", kafka.input_topic, partitions, replication_factor),
        WantedTopic("output", kafka.output_topic, partitions, replication_factor, room),
        WantedTopic("cluster", kafka.cluster_topic, partitions, replication_factor, {**_COMPACTED, **room}),
        WantedTopic("dead-letter", kafka.dead_letter_topic, 1, replication_factor, room),
        # One partition: events are few, and the process that reads it is the one that publishes events.
        WantedTopic("event", kafka.event_topic, 1, replication_factor, _EVENTS_KEPT),
        # One partition: operations are read in their order.
        WantedTopic("operation", kafka.operation_topic, 1, replication_factor, _KEPT_FOR_EVER),
        # As many partitions as decisions have: who joins the two by key finds both in the same one.
        WantedTopic("correction", kafka.correction_topic, partitions, replication_factor, {**_KEPT_FOR_EVER, **room}),
    ]


def message_bytes_limit(admin: Admin, found_input: FoundTopic | None) -> int | None:
    """Longest record that the input topic takes: its own limit, or the broker's; None where that may not be read."""
    return admin.broker_message_bytes() if found_input is None else found_input.max_message_bytes


def create_missing(admin: Admin, wanted: Sequence[WantedTopic]) -> list[TopicReport]:
    """Create those that do not exist, wait until they can be used, and compare the others with what they must be.

    Raises KafkaRefused without the right to create, KafkaUnavailable.
    """
    reports = _reports(admin, wanted, "created")
    admin.wait_for_topics([report.name for report in reports if report.outcome == "created"])
    return reports


def check_missing(admin: Admin, wanted: Sequence[WantedTopic]) -> list[TopicReport]:
    """A dry run of `create_missing`: the broker is asked whether it would take each new topic."""
    return _reports(admin, wanted, "would be created")


def require_room(topics: Iterable[FoundTopic]) -> None:
    """Raises KafkaRefused for a topic that is published to and takes nothing, not even the end of a transaction."""
    for topic in topics:
        limit = topic.max_message_bytes
        if limit is not None and limit < _MARKER_BYTES:
            raise KafkaRefused(
                f"topic {topic.name} takes no record: its max.message.bytes is {limit}", RecordsTooLarge.REMEDY
            )


def problems_of(role: Role, topic: FoundTopic, found_input: FoundTopic | None) -> list[Problem]:
    """The problems that keep the topic from its role."""
    problems = []
    policy = topic.configs.get("cleanup.policy")
    if role == "cluster" and policy is not None and policy != "compact":
        problems.append(
            Problem(f"cleanup.policy is {policy}", "set it to compact, or cluster states are lost with time")
        )
    if role != "cluster" and policy is not None and "compact" in policy:
        problems.append(
            Problem(f"cleanup.policy is {policy}", "set it to delete, or records of one key replace each other")
        )
    if role in ("operation", "correction"):
        problems += _kept_problems(topic)
    limit, input_limit = topic.max_message_bytes, found_input.max_message_bytes if found_input else None
    is_sized = role not in ("input", "event", "operation")
    if is_sized and limit is not None and input_limit is not None and limit < input_limit:
        problems.append(
            Problem(
                f"max.message.bytes is {limit}, the input topic's {input_limit}",
                f"set it to at least {input_limit + HEADROOM_BYTES}, or the longest records stop the stream",
            )
        )
    if topic.leaderless_partitions:
        problems.append(Problem(f"{topic.leaderless_partitions} of {topic.partitions} partitions have no leader"))
    missing = _NEEDED_OPERATIONS[role] - topic.operations if topic.operations is not None else frozenset()
    if missing:
        problems.append(Problem(f"the right to {' and '.join(sorted(missing))} is missing", GRANT))
    return problems


def _kept_problems(topic: FoundTopic) -> list[Problem]:
    """The configs by which the broker deletes operations and corrections with time."""
    kept = {name: topic.configs.get(name, "-1") for name in ("retention.ms", "retention.bytes")}
    return [
        Problem(f"{name} is {value}", "set it to -1, or what people decided is deleted with time")
        for name, value in kept.items()
        if value != "-1"
    ]


def _reports(admin: Admin, wanted: Sequence[WantedTopic], outcome: Outcome) -> list[TopicReport]:
    found = admin.find_topics([topic.name for topic in wanted])
    found_input = next((found.get(topic.name) for topic in wanted if topic.role == "input"), None)
    return [
        _compare(topic, found[topic.name], found_input) if topic.name in found else _create(admin, topic, outcome)
        for topic in wanted
    ]


def _compare(wanted: WantedTopic, found: FoundTopic, found_input: FoundTopic | None) -> TopicReport:
    problems = problems_of(wanted.role, found, found_input)
    return TopicReport(wanted.role, wanted.name, "exists", found.partitions, tuple(problems))


def _create(admin: Admin, topic: WantedTopic, outcome: Outcome) -> TopicReport:
    created = admin.create_topic(
        topic.name, topic.partitions, topic.replication_factor, topic.configs, dry_run=outcome != "created"
    )
    if created.problem is not None:
        return TopicReport(topic.role, topic.name, "failed", None, (Problem(created.problem),))
    return TopicReport(topic.role, topic.name, outcome, created.partitions)
