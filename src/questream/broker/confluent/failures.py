"""What an error of librdkafka or of a broker means: the one table of those that no new client would fare better with.

All others pass: elections, coordinators that move, too few replicas in sync, throttling, time-outs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from confluent_kafka import KafkaError, KafkaException

from questream.broker.port import GRANT
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable, Problem, Superseded

Operation = Literal["READ", "WRITE", "DESCRIBE"]

CHECK_LOGIN = "check kafka.options.sasl_mechanism, kafka.options.sasl_plain_username and kafka.sasl_plain_password"
LOGIN_ERRORS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
UNREADABLE = frozenset(
    {
        KafkaError._BAD_MSG,
        KafkaError._BAD_COMPRESSION,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError.INVALID_MSG,
    }
)
UNKNOWN_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)

_RECORD_SIZE = Problem(
    "", "check that max.message.bytes of the output, cluster and dead-letter topics is at least the input topic's"
)
# What more is known of a refusal, and what to do about it.
_KNOWN: dict[int, Problem] = {
    KafkaError.INVALID_TRANSACTION_TIMEOUT: Problem(
        "kafka.transaction_timeout_seconds is above what the broker allows",
        "lower it, or raise the broker's transaction.max.timeout.ms",
    ),
    KafkaError.INVALID_TIMESTAMP: Problem(
        "this machine's clock is further from the broker's than the output, cluster or dead-letter topic's"
        " message.timestamp.after.max.ms and message.timestamp.before.max.ms allow",
        "synchronise the clocks (NTP)",
    ),
    KafkaError.MSG_SIZE_TOO_LARGE: _RECORD_SIZE,
    KafkaError.RECORD_LIST_TOO_LARGE: _RECORD_SIZE,
    KafkaError.TOPIC_EXCEPTION: Problem(
        "the broker has no topics of these names, or takes no records for one of them",
        "check kafka.output_topic, kafka.cluster_topic and kafka.dead_letter_topic",
    ),
    KafkaError.POLICY_VIOLATION: Problem("a policy of the broker refuses these records", "ask its operators"),
    KafkaError.INVALID_RECORD: Problem(
        "a topic that questream publishes to refuses its records",
        "the output and dead-letter topics must not be compacted, nor wait for a schema",
    ),
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: Problem("", "raise the topics' message.format.version to 0.11 or newer"),
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: Problem(
        "", "set kafka.compression to one that the broker takes, or to none"
    ),
    KafkaError.INVALID_SESSION_TIMEOUT: Problem(
        "kafka.session_timeout_seconds is not what the broker allows",
        "choose one from its group.min.session.timeout.ms to its group.max.session.timeout.ms",
    ),
    KafkaError.INVALID_GROUP_ID: Problem("the broker takes no group of this name", "change kafka.group_id"),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: Problem(
        "kafka.group_id names a group that another kind of client uses", "change it, or end those clients"
    ),
    KafkaError.GROUP_MAX_SIZE_REACHED: Problem(
        "the group of kafka.group_id has as many members as the broker's group.max.size",
        "run fewer workers, or raise it",
    ),
    KafkaError.UNSUPPORTED_VERSION: Problem(
        "the broker is too old for this",
        "questream needs Kafka 2.5 or newer, and delivery = at-least-once where there are no transactions",
    ),
    KafkaError._UNSUPPORTED_FEATURE: Problem(
        "the broker is too old for this",
        "questream needs Kafka 2.5 or newer, and delivery = at-least-once where there are no transactions",
    ),
    KafkaError.INVALID_REQUIRED_ACKS: Problem("the broker is no Kafka that waits for all replicas"),
    KafkaError.SECURITY_DISABLED: Problem(
        "the broker has no authorizer", "set kafka.options.security_protocol as it wants"
    ),
    KafkaError.INVALID_CONFIG: Problem("", "check kafka.options"),
    KafkaError.DELEGATION_TOKEN_EXPIRED: Problem("the delegation token has expired", "renew it"),
}
_RIGHTS = {
    KafkaError.GROUP_AUTHORIZATION_FAILED: "READ the consumer group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE transactional ids that begin with kafka.group_id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "do this (cluster authorization failed)",
}
_SUPERSEDED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._UNKNOWN_GROUP,
    }
)
_TIMED_OUT = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._MSG_TIMED_OUT})


@contextmanager
def translated(on_topics: Operation = "READ", topic: str = "") -> Iterator[None]:
    """Turn what a client raises into questream's errors. Its texts are dropped where they may quote what was sent.

    `on_topics` is what is done inside with topics, or with this one: the right that a denial is about.
    """
    try:
        yield
    except KafkaException as error:
        raise meaning_of(error_of(error), on_topics, topic) from error
    except RuntimeError as error:
        # Of a client that was closed.
        raise KafkaUnavailable(f"the client for Kafka failed a call: {type(error).__name__}") from error


@contextmanager
def fenced() -> Iterator[None]:
    """Raise Superseded for a group that has rebalanced since."""
    try:
        yield
    except KafkaException as error:
        if error_of(error).code() not in _SUPERSEDED:
            raise
        raise Superseded(f"another worker has the partitions: {in_words(error_of(error))}") from error


def error_of(error: KafkaException) -> KafkaError:
    """What confluent-kafka has put into its exception."""
    found = error.args[0] if error.args else None
    return found if isinstance(found, KafkaError) else KafkaError(KafkaError._FAIL)


def meaning_of(error: KafkaError, on_topics: Operation, topic: str = "") -> KafkaUnavailable | KafkaRefused:
    """What an error of the client means, without its text."""
    refusal = refusal_of(error, on_topics, topic)
    if refusal is not None:
        return refusal
    if error.code() in UNKNOWN_TOPIC:
        return KafkaUnavailable("a topic does not exist", "create it with: questream topics create")
    kind = KafkaTimeout if error.code() in _TIMED_OUT else KafkaUnavailable
    return kind(f"the broker failed a call: {in_words(error)}")


def refusal_of(error: KafkaError, on_topics: Operation, topic: str = "") -> KafkaRefused | None:
    """The error where the broker's refusal is final, None where it may pass.

    `on_topics` is what was done with topics, or with this one: the right that a denial is about.
    """
    code = error.code()
    if code in LOGIN_ERRORS:
        return KafkaRefused(f"the broker refused the login ({in_words(error)})", CHECK_LOGIN)
    if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        right = f"{on_topics} topic {topic}" if topic else f"{on_topics} a topic"
        return KafkaRefused(f"the right to {right} is missing", GRANT)
    if code in _RIGHTS:
        return KafkaRefused(f"the right to {_RIGHTS[code]} is missing", GRANT)
    if code not in _KNOWN:
        return None
    known = _KNOWN[code]
    what = f"the broker refuses ({in_words(error)})"
    return KafkaRefused(f"{what}: {known.what}" if known.what else what, known.remedy)


def in_words(error: KafkaError) -> str:
    """What kind of error this is, in words: librdkafka's own for its code. Its text may quote what was sent."""
    words = KafkaError(error.code()).str().removeprefix("Broker: ").removeprefix("Local: ")
    return words.strip().rstrip(".").lower()
