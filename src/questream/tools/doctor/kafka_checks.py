"""The broker, its topics, the rights to them, and producing."""

from __future__ import annotations

import time
from collections.abc import Iterator

from questream.broker.connect import open_admin, open_producer
from questream.broker.port import FoundTopic, Partition
from questream.broker.topics import COMPACTION_LAG_MS, Role, problems_of
from questream.errors import KafkaRefused, KafkaUnavailable
from questream.tools.doctor.findings import Check, CheckContext, Finding, failures

# From 2.5 on the broker fences transactional offsets by the group's generation (KIP-447).
OLDEST_BROKER = (2, 5)
_TOLERATED_SKEW_SECONDS = 2.0
_LOCAL_HOSTS = ("127.", "localhost:", "[::1]")
_PROTECTED = ("SSL", "SASL_SSL")


def check_broker(context: CheckContext) -> Iterator[Finding]:
    """Reachable, which version, how many brokers, and who we are to it."""
    settings = context.settings
    try:
        context.admin = context.opened.enter_context(open_admin(settings))
    except (KafkaUnavailable, KafkaRefused) as error:
        yield from failures("broker", error)
        return
    brokers = context.admin.brokers()
    if brokers.version is None or brokers.version >= OLDEST_BROKER:
        yield Finding("broker", "ok", str(brokers))
    else:
        oldest = ".".join(map(str, OLDEST_BROKER))
        yield Finding("broker", "fail", str(brokers), f"questream needs Kafka {oldest} or newer")


def check_authentication(context: CheckContext) -> Iterator[Finding]:
    """Check the login, and that the connection is encrypted."""
    options = context.settings.kafka.options
    protocol = str(options.get("security_protocol", "PLAINTEXT"))
    user = options.get("sasl_plain_username")
    text = f"{protocol} {options['sasl_mechanism']}" if "sasl_mechanism" in options else protocol
    text += f" as {user}" if user else ""
    servers = context.settings.kafka.bootstrap_servers
    if protocol in _PROTECTED or all(server.strip().startswith(_LOCAL_HOSTS) for server in servers.split(",")):
        yield Finding("authentication", "ok", text)
    else:
        yield Finding(
            "authentication",
            "warn",
            f"{text}: questions cross the network unencrypted",
            "set kafka.options.security_protocol to SSL or SASL_SSL",
        )


def check_topics(context: CheckContext) -> Iterator[Finding]:
    """Each that workers use: there, partitions, cleanup policy, record size, rights."""
    kafka = context.settings.kafka
    names: dict[Role, str] = {
        "input": kafka.input_topic,
        "output": kafka.output_topic,
        "cluster": kafka.cluster_topic,
        "dead-letter": kafka.dead_letter_topic,
        "operation": kafka.operation_topic,
        "correction": kafka.correction_topic,
    }
    found_input: FoundTopic | None = None
    for role, name in names.items():
        check = f"topic {name}"
        try:
            topic = context.kafka.find_topics([name]).get(name)
        except KafkaRefused as error:
            yield from failures(check, error)
            continue
        if topic is None:
            yield _missing(check, role)
            continue
        found_input = topic if role == "input" else found_input
        yield _judge(check, role, topic, found_input)


def _missing(check: str, role: Role) -> Finding:
    if role == "operation":
        text = "the operation topic does not exist: operations are kept in Redis alone"
        return Finding(check, "warn", text, "questream topics create")
    if role == "correction":
        text = (
            "the correction topic does not exist: operations that move questions wait in Redis, and those behind them"
        )
        return Finding(check, "warn", text, "questream topics create")
    return Finding(check, "fail", f"the {role} topic does not exist", "questream topics create")


def check_events(context: CheckContext) -> Iterator[Finding]:
    """Check that the event topic keeps events for a receiver as long as the settings say. No worker needs the topic."""
    settings = context.settings
    name = settings.kafka.event_topic
    try:
        topic = context.kafka.find_topics([name]).get(name)
    except KafkaRefused:
        # A worker need not see it.
        return
    if topic is None:
        return
    check, policy = f"topic {name}", topic.configs.get("cleanup.policy", "cleanup policy unknown")
    kept_ms, patience_ms = int(topic.configs.get("retention.ms", -1)), int(settings.webhooks.patience_seconds * 1000)
    if "compact" in policy:
        text = f"event, {policy}: the events of a cluster replace each other"
        yield Finding(check, "warn", text, "set its cleanup.policy to delete")
    elif 0 <= kept_ms < patience_ms:
        text = f"event, {policy}: events are kept for {kept_ms} ms, webhooks.patience_seconds are {patience_ms} ms"
        yield Finding(check, "warn", text, f"set its retention.ms to {patience_ms} or more")
    else:
        yield Finding(check, "ok", f"event, {policy}")


def check_group(context: CheckContext) -> Iterator[Finding]:
    """The right to read as the consumer group."""
    group_id = context.settings.kafka.group_id
    match context.kafka.may_use_group(group_id):
        case True:
            yield Finding("consumer group", "ok", f"{group_id} may be used")
        case False:
            text = f"the right to READ group {group_id} is missing"
            yield Finding("consumer group", "fail", text, "grant it with an ACL")
        case None:
            yield Finding("consumer group", "ok", f"{group_id}; the broker does not report the rights to it")


def check_producing(context: CheckContext) -> Iterator[Finding]:
    """A transaction of its own is begun and aborted; nothing is written."""
    settings = context.settings
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
        remedy = "set delivery to at-least-once if the broker has no transactions"
        yield from failures("transactions", error, remedy)
        return
    yield Finding("transactions", "ok", "idempotent and transactional producing work")


def check_record_clock(context: CheckContext) -> Iterator[Finding]:
    """Records must not come from the future: latency and what counts as idle are measured by their time."""
    topic = context.settings.kafka.input_topic
    found = context.kafka.find_topics([topic]).get(topic)
    if found is None:
        return
    try:
        newest = context.kafka.newest_timestamp([Partition(topic, number) for number in range(found.partitions)])
    except (KafkaUnavailable, KafkaRefused):
        # Brokers before 3.0 do not know the question, the embedded one closes the connection.
        yield Finding("clock of records", "ok", "the broker does not report it")
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
    policy = topic.configs.get("cleanup.policy", "cleanup policy unknown")
    partitions = f"{topic.partitions} partition{'s' * (topic.partitions != 1)}"
    text = f"{role}, {partitions}, {policy}, {topic.replication_factor}x"
    problems = problems_of(role, topic, found_input)
    if problems:
        remedies = [problem.remedy for problem in problems if problem.remedy is not None]
        return Finding(check, "fail", "; ".join([text, *(p.what for p in problems)]), "; ".join(remedies) or None)
    lag_ms = int(topic.configs.get("min.compaction.lag.ms", COMPACTION_LAG_MS))
    if role == "cluster" and lag_ms < COMPACTION_LAG_MS:
        return Finding(
            check,
            "warn",
            f"{text}; compaction may remove a state that was just published: a Redis lost then is restored from less",
            f"set its min.compaction.lag.ms to {COMPACTION_LAG_MS}",
        )
    return Finding(check, "ok", text)


KAFKA_CHECKS = (
    Check("broker", check_broker),
    Check("authentication", check_authentication, needs=("broker",)),
    Check("topics", check_topics, needs=("broker",)),
    Check("events", check_events, needs=("broker",)),
    Check("consumer group", check_group, needs=("broker",)),
    Check("transactions", check_producing, needs=("broker",), limit_seconds=30.0),
    Check("clock of records", check_record_clock, needs=("topics",)),
)
