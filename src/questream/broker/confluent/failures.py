"""The meaning of errors of librdkafka and of brokers: the one table of those that no new client would fare better with.

All others pass: elections, coordinators that move, too few replicas in sync, throttling, time-outs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from questream.broker import refusals
from questream.broker.port import GRANT
from questream.broker.refusals import Operation
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable, Problem, Superseded

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

# The details of a refusal, and its remedy.
_KNOWN: dict[int, Problem] = {
    KafkaError.INVALID_TRANSACTION_TIMEOUT: refusals.TRANSACTION_TIMEOUT,
    KafkaError.INVALID_TIMESTAMP: refusals.CLOCK,
    KafkaError.MSG_SIZE_TOO_LARGE: refusals.RECORD_SIZE,
    KafkaError.RECORD_LIST_TOO_LARGE: refusals.RECORD_SIZE,
    KafkaError.TOPIC_EXCEPTION: refusals.TOPIC,
    KafkaError.POLICY_VIOLATION: refusals.POLICY,
    KafkaError.INVALID_RECORD: refusals.RECORD,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: refusals.MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: refusals.COMPRESSION,
    KafkaError.INVALID_SESSION_TIMEOUT: refusals.SESSION_TIMEOUT,
    KafkaError.INVALID_GROUP_ID: refusals.GROUP_ID,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: refusals.GROUP_PROTOCOL,
    KafkaError.GROUP_MAX_SIZE_REACHED: refusals.GROUP_SIZE,
    KafkaError.UNSUPPORTED_VERSION: refusals.VERSION,
    KafkaError._UNSUPPORTED_FEATURE: refusals.VERSION,
    KafkaError.INVALID_REQUIRED_ACKS: refusals.ACKS,
    KafkaError.SECURITY_DISABLED: refusals.NO_AUTHORIZER,
    KafkaError.INVALID_CONFIG: refusals.OPTIONS,
    KafkaError.DELEGATION_TOKEN_EXPIRED: refusals.TOKEN_EXPIRED,
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
_TAKEN_OVER = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
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
    except SystemError as error:
        # confluent-kafka raises a fatal error of the client and goes on to call for outcomes, the first of which fails.
        if not isinstance(error.__cause__, KafkaException):
            raise
        raise meaning_of(error_of(error.__cause__), on_topics, topic) from error
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
        raise Superseded(f"another worker has the partitions: {describe_error(error_of(error))}") from error


def error_of(error: KafkaException) -> KafkaError:
    """The error inside an exception of confluent-kafka."""
    found = error.args[0] if error.args else None
    return found if isinstance(found, KafkaError) else KafkaError(KafkaError._FAIL)


def meaning_of(error: KafkaError, on_topics: Operation, topic: str = "") -> KafkaUnavailable | KafkaRefused:
    """The meaning of an error of the client, without its text."""
    refusal = refusal_of(error, on_topics, topic)
    if refusal is not None:
        return refusal
    if error.code() in _TAKEN_OVER:
        return refusals.taken_over()
    if error.code() in UNKNOWN_TOPIC:
        return refusals.no_topic()
    kind = KafkaTimeout if error.code() in _TIMED_OUT else KafkaUnavailable
    return kind(f"the broker failed a call: {describe_error(error)}")


def refusal_of(error: KafkaError, on_topics: Operation, topic: str = "") -> KafkaRefused | None:
    """The error where the broker's refusal is final, None where it may pass.

    `on_topics` is what was done with topics, or with this one: the right that a denial is about.
    """
    code = error.code()
    if code in LOGIN_ERRORS:
        return refusals.login_refused(describe_error(error))
    if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        right = f"{on_topics} topic {topic}" if topic else f"{on_topics} a topic"
        return KafkaRefused(f"the right to {right} is missing", GRANT)
    if code in _RIGHTS:
        return KafkaRefused(f"the right to {_RIGHTS[code]} is missing", GRANT)
    if code not in _KNOWN:
        return None
    return refusals.refused(describe_error(error), _KNOWN[code])


def describe_error(error: KafkaError) -> str:
    """The kind of an error, in librdkafka's words for its code. Its text may quote what was sent."""
    words = KafkaError(error.code()).str().removeprefix("Broker: ").removeprefix("Local: ")
    return words.strip().rstrip(".").lower()
