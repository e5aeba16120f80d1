"""The broker, its topics, the rights to them, and producing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import MemberToRemove, OffsetSpec

from questream.broker.kafka_python.admin import COMPACTION_LAG_MS, FoundTopic, Role, find_topics, problems_of
from questream.broker.kafka_python.clients import admin_config
from questream.broker.kafka_python.connect import connect, open_producer
from questream.errors import KafkaRefused, KafkaUnavailable
from questream.tools.doctor.findings import Check, Finding, Patient, failures

# From 2.5 on the broker fences transactional offsets by the group's generation (KIP-447).
OLDEST_BROKER = (2, 5)
_COORDINATOR_SECONDS = 10.0
_RETRY_SECONDS = 0.5
_TOLERATED_SKEW_SECONDS = 2.0
_LOCAL_HOSTS = ("127.", "localhost:", "[::1]")
_PROTECTED = ("SSL", "SASL_SSL")


def check_broker(patient: Patient) -> Iterator[Finding]:
    """Reachable, which version, how many brokers, and who we are to it."""
    settings = patient.settings
    try:
        patient.admin = connect(KafkaAdminClient, admin_config(settings, "questream-doctor"))
    except (KafkaUnavailable, KafkaRefused) as error:
        yield from failures("broker", error)
        return
    brokers = patient.admin.describe_cluster()["brokers"]
    version = patient.admin.get_broker_version_data(brokers[0]["broker_id"]).broker_version
    told = f"Kafka {'.'.join(map(str, version))} protocol, {len(brokers)} broker{'s' * (len(brokers) != 1)}"
    if version >= OLDEST_BROKER:
        yield Finding("broker", "ok", told)
    else:
        oldest = ".".join(map(str, OLDEST_BROKER))
        yield Finding("broker", "fail", told, f"questream needs Kafka {oldest} or newer")


def check_authentication(patient: Patient) -> Iterator[Finding]:
    """How we log in, and whether anybody can listen."""
    options = patient.settings.kafka.options
    protocol = str(options.get("security_protocol", "PLAINTEXT"))
    user = options.get("sasl_plain_username")
    told = f"{protocol} {options['sasl_mechanism']}" if "sasl_mechanism" in options else protocol
    told += f" as {user}" if user else ""
    servers = patient.settings.kafka.bootstrap_servers
    if protocol in _PROTECTED or all(server.strip().startswith(_LOCAL_HOSTS) for server in servers.split(",")):
        yield Finding("authentication", "ok", told)
    else:
        yield Finding(
            "authentication",
            "warn",
            f"{told}: questions cross the network unencrypted",
            "set kafka.options.security_protocol to SSL or SASL_SSL",
        )


def check_topics(patient: Patient) -> Iterator[Finding]:
    """Each of the four: there, partitions, cleanup policy, record size, rights."""
    kafka = patient.settings.kafka
    names: dict[Role, str] = {
        "input": kafka.input_topic,
        "output": kafka.output_topic,
        "cluster": kafka.cluster_topic,
        "dead-letter": kafka.dead_letter_topic,
    }
    found_input: FoundTopic | None = None
    for role, name in names.items():
        check = f"topic {name}"
        try:
            topic = find_topics(patient.kafka, [name]).get(name)
        except KafkaRefused as error:
            yield from failures(check, error)
            continue
        if topic is None:
            yield Finding(check, "fail", f"the {role} topic does not exist", "questream topics create")
            continue
        found_input = topic if role == "input" else found_input
        yield _judge(check, role, topic, found_input)


def check_group(patient: Patient) -> Iterator[Finding]:
    """The right to read as the consumer group: a member that does not exist is asked to leave."""
    group_id = patient.settings.kafka.group_id
    try:
        _once_there(
            lambda: patient.kafka.remove_group_members(group_id, [MemberToRemove(member_id="questream-doctor")])
        )
    except kafka_errors.GroupAuthorizationFailedError:
        told = f"the right to READ group {group_id} is missing"
        yield Finding("consumer group", "fail", told, "grant it with an ACL")
        return
    except kafka_errors.UnsupportedVersionError:
        yield Finding("consumer group", "ok", f"{group_id}; the broker does not tell the rights to it")
        return
    yield Finding("consumer group", "ok", f"{group_id} may be used")


def check_producing(patient: Patient) -> Iterator[Finding]:
    """A transaction of its own is begun and aborted; nothing is written."""
    settings = patient.settings
    if settings.delivery == "at-least-once":
        yield Finding("transactions", "ok", "not used: delivery is at-least-once")
        return
    transactional_id = f"{settings.kafka.group_id}-doctor"
    try:
        with open_producer(settings, transactional_id) as producer:
            producer.init_transactions()
            producer.begin_transaction()
            producer.abort_transaction()
    except (KafkaRefused, KafkaUnavailable) as error:
        cause = error.__cause__
        # kafka-python tells this one in the text of a plain KafkaError.
        if "InvalidTransactionTimeoutError" in str(cause):
            remedy = "lower kafka.transaction_timeout_seconds, or raise the broker's transaction.max.timeout.ms"
        elif isinstance(cause, kafka_errors.AuthorizationError):
            remedy = f"grant WRITE on transactional ids that begin with {settings.kafka.group_id}-"
        else:
            remedy = "set delivery to at-least-once if the broker has no transactions"
        reason = str(error) if cause is None else type(cause).__name__
        yield Finding("transactions", "fail", f"a transaction of no record failed: {reason}", remedy)
        return
    yield Finding("transactions", "ok", "idempotent and transactional producing work")


def check_record_clock(patient: Patient) -> Iterator[Finding]:
    """Records must not come from the future: latency and what counts as idle are measured by their time."""
    topic = patient.settings.kafka.input_topic
    found = find_topics(patient.kafka, [topic]).get(topic)
    if found is None:
        return
    specs = {TopicPartition(topic, number): OffsetSpec.MAX_TIMESTAMP for number in range(found.partitions)}
    try:
        newest = max((at.timestamp for at in patient.kafka.list_partition_offsets(specs).values()), default=-1)
    except kafka_errors.KafkaError:
        # Brokers before 3.0 do not know the question, the embedded one closes the connection.
        yield Finding("clock of records", "ok", "the broker does not tell")
        return
    if newest < 0:
        yield Finding("clock of records", "ok", "no record yet")
        return
    ahead_seconds = newest / 1000 - time.time()
    if ahead_seconds <= _TOLERATED_SKEW_SECONDS:
        yield Finding("clock of records", "ok", "no record of the input topic is from the future")
    else:
        yield Finding(
            "clock of records",
            "warn",
            f"a record of {topic} is {ahead_seconds:.0f} s ahead of this machine's clock",
            "synchronise the clocks (NTP) of this machine and of those that produce",
        )


def _judge(check: str, role: Role, topic: FoundTopic, found_input: FoundTopic | None) -> Finding:
    policy = topic.configs.get("cleanup.policy", "cleanup policy not told")
    partitions = f"{topic.partitions} partition{'s' * (topic.partitions != 1)}"
    told = f"{role}, {partitions}, {policy}, {topic.replication_factor}x"
    problems = problems_of(role, topic, found_input)
    if problems:
        remedies = [problem.remedy for problem in problems if problem.remedy is not None]
        return Finding(check, "fail", "; ".join([told, *(p.what for p in problems)]), "; ".join(remedies) or None)
    lag_ms = int(topic.configs.get("min.compaction.lag.ms", COMPACTION_LAG_MS))
    if role == "cluster" and lag_ms < COMPACTION_LAG_MS:
        return Finding(
            check,
            "warn",
            f"{told}; compaction may remove a state that was just published: a Redis lost then is restored from less",
            f"set its min.compaction.lag.ms to {COMPACTION_LAG_MS}",
        )
    return Finding(check, "ok", told)


def _once_there(call: Callable[[], object]) -> None:
    """Call again until a coordinator is there: at a cluster's first use of any group the broker makes a topic."""
    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            call()
        except kafka_errors.CoordinatorNotAvailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


KAFKA_CHECKS = (
    Check("broker", check_broker),
    Check("authentication", check_authentication, needs=("broker",)),
    Check("topics", check_topics, needs=("broker",)),
    Check("consumer group", check_group, needs=("broker",)),
    Check("transactions", check_producing, needs=("broker",), limit_seconds=30.0),
    Check("clock of records", check_record_clock, needs=("topics",)),
)
