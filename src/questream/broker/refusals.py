"""The meaning of a broker's refusals and their remedies, in the words that every adapter uses.

An adapter's table says which errors of its client these are; here is nothing of any client.
"""

from __future__ import annotations

from typing import Literal

from questream.errors import KafkaHungUp, KafkaRefused, KafkaUnavailable, Problem, SettingsError

Operation = Literal["READ", "WRITE", "DESCRIBE"]

TRANSACTION_TIMEOUT = Problem(
    "kafka.transaction_timeout_seconds is above what the broker allows",
    "lower it, or raise the broker's transaction.max.timeout.ms",
)
CLOCK = Problem(
    "this machine's clock is further from the broker's than the output, cluster or dead-letter topic's"
    " message.timestamp.after.max.ms and message.timestamp.before.max.ms allow",
    "synchronise the clocks (NTP)",
)
RECORD_SIZE = Problem(
    "", "check that max.message.bytes of the output, cluster and dead-letter topics is at least the input topic's"
)
TOPIC = Problem(
    "the broker has no topics of these names, or takes no records for one of them",
    "check kafka.output_topic, kafka.cluster_topic and kafka.dead_letter_topic",
)
POLICY = Problem("a policy of the broker refuses these records", "ask its operators")
RECORD = Problem(
    "a topic that questream publishes to refuses its records",
    "the output and dead-letter topics must not be compacted, nor wait for a schema",
)
MESSAGE_FORMAT = Problem("", "raise the topics' message.format.version to 0.11 or newer")
COMPRESSION = Problem("", "set kafka.compression to one that the broker takes, or to none")
SESSION_TIMEOUT = Problem(
    "kafka.session_timeout_seconds is not what the broker allows",
    "choose one from its group.min.session.timeout.ms to its group.max.session.timeout.ms",
)
GROUP_ID = Problem("the broker takes no group of this name", "change kafka.group_id")
GROUP_PROTOCOL = Problem(
    "kafka.group_id names a group that another kind of client uses", "change it, or end those clients"
)
GROUP_SIZE = Problem(
    "the group of kafka.group_id has as many members as the broker's group.max.size",
    "run fewer workers, or raise it",
)
VERSION = Problem(
    "the broker is too old for this",
    "questream needs Kafka 2.5 or newer, and delivery = at-least-once where there are no transactions",
)
ACKS = Problem("the broker is no Kafka that waits for all replicas")
NO_AUTHORIZER = Problem("the broker has no authorizer", "set kafka.options.security_protocol as it wants")
OPTIONS = Problem("", "check kafka.options")
TOKEN_EXPIRED = Problem("the delegation token has expired", "renew it")

_CHECK_LOGIN = "check kafka.options.sasl_mechanism, kafka.options.sasl_plain_username and kafka.sasl_plain_password"


def refused(words: str, known: Problem) -> KafkaRefused:
    """A final refusal of the kind that `words` name."""
    what = f"the broker refuses ({words})"
    return KafkaRefused(f"{what}: {known.what}" if known.what else what, known.remedy)


def login_refused(words: str) -> KafkaRefused:
    """The broker refused the login."""
    return KafkaRefused(f"the broker refused the login ({words})", _CHECK_LOGIN)


def no_topic() -> KafkaUnavailable:
    """A topic does not exist."""
    return KafkaUnavailable("a topic does not exist", "create it with: questream topics create")


def taken_over() -> KafkaUnavailable:
    """A producer with the same transactional id has begun since, or the broker ended a transaction that took long."""
    return KafkaUnavailable(
        "another producer has the transactional id of this one, or its transaction outlasted"
        " kafka.transaction_timeout_seconds",
        "where that goes on, give each worker a kafka.worker_id of its own",
    )


def hung_up(servers: str, *, has_login: bool) -> KafkaHungUp:
    """The broker closed the connection, and did not say why; `has_login`: one is in the settings."""
    if has_login:
        # A broker may close before its answer to a wrong login can be read.
        return KafkaHungUp(f"the broker at {servers} closed the connection during the login", _CHECK_LOGIN)
    return KafkaHungUp(
        f"the broker at {servers} closed the connection",
        "if its listener wants TLS or a login, set kafka.options.security_protocol to SSL, SASL_SSL or SASL_PLAINTEXT",
    )


def no_answer(servers: str, seconds: float, why: str) -> KafkaUnavailable:
    """No broker answered in time."""
    return KafkaUnavailable(
        f"no broker answered at {servers} within {seconds:g} s ({why})",
        "check kafka.bootstrap_servers and kafka.options.security_protocol, and that the broker runs",
    )


def unusable_certificate(why: str = "") -> SettingsError:
    """A key or certificate of the settings cannot be used."""
    what = "the key or certificate that kafka.options.ssl_keyfile, ssl_certfile and ssl_cafile name cannot be used"
    return SettingsError(f"{what} ({why})" if why else what, "check them and kafka.ssl_password")
