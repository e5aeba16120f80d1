"""What an error of the broker means: the one table of those that no new client would fare better with.

All others pass: elections, coordinators that move, too few replicas in sync, throttling, time-outs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka_errors

from questream.broker.kafka_python.rights import Operation, missing_right
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable, Problem, Superseded

CHECK_LOGIN = "check kafka.options.sasl_mechanism, kafka.options.sasl_plain_username and kafka.sasl_plain_password"
LOGIN_ERRORS = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)

_RECORD_SIZE = Problem(
    "", "check that max.message.bytes of the output, cluster and dead-letter topics is at least the input topic's"
)
# What more is known of a refusal, and what to do about it.
_KNOWN: dict[type[kafka_errors.KafkaError], Problem] = {
    kafka_errors.InvalidTransactionTimeoutError: Problem(
        "kafka.transaction_timeout_seconds is above what the broker allows",
        "lower it, or raise the broker's transaction.max.timeout.ms",
    ),
    kafka_errors.InvalidTimestampError: Problem(
        "this machine's clock is further from the broker's than the output, cluster or dead-letter topic's"
        " message.timestamp.after.max.ms and message.timestamp.before.max.ms allow",
        "synchronise the clocks (NTP)",
    ),
    kafka_errors.MessageSizeTooLargeError: _RECORD_SIZE,
    kafka_errors.RecordListTooLargeError: _RECORD_SIZE,
    kafka_errors.InvalidTopicError: Problem(
        "the broker has no topics of these names, or takes no records for one of them",
        "check kafka.output_topic, kafka.cluster_topic and kafka.dead_letter_topic",
    ),
    kafka_errors.PolicyViolationError: Problem("a policy of the broker refuses these records", "ask its operators"),
    kafka_errors.InvalidRecordError: Problem(
        "a topic that questream publishes to refuses its records",
        "the output and dead-letter topics must not be compacted, nor wait for a schema",
    ),
    kafka_errors.UnsupportedForMessageFormatError: Problem(
        "", "raise the topics' message.format.version to 0.11 or newer"
    ),
    kafka_errors.UnsupportedCompressionTypeError: Problem(
        "", "set kafka.compression to one that the broker takes, or to none"
    ),
    kafka_errors.InvalidSessionTimeoutError: Problem(
        "kafka.session_timeout_seconds is not what the broker allows",
        "choose one from its group.min.session.timeout.ms to its group.max.session.timeout.ms",
    ),
    kafka_errors.InvalidGroupIdError: Problem("the broker takes no group of this name", "change kafka.group_id"),
    kafka_errors.InconsistentGroupProtocolError: Problem(
        "kafka.group_id names a group that another kind of client uses", "change it, or end those clients"
    ),
    kafka_errors.GroupMaxSizeReachedError: Problem(
        "the group of kafka.group_id has as many members as the broker's group.max.size",
        "run fewer workers, or raise it",
    ),
    kafka_errors.UnsupportedVersionError: Problem(
        "the broker is too old for this",
        "questream needs Kafka 2.5 or newer, and delivery = at-least-once where there are no transactions",
    ),
    kafka_errors.InvalidRequiredAcksError: Problem("the broker is no Kafka that waits for all replicas"),
    kafka_errors.SecurityDisabledError: Problem(
        "the broker has no authorizer", "set kafka.options.security_protocol as it wants"
    ),
    kafka_errors.UnsupportedCodecError: Problem(
        "the records of a topic are compressed in a way that no package here can read",
        "install lz4, python-snappy and zstandard beside questream",
    ),
    kafka_errors.KafkaConfigurationError: Problem("", "check kafka.options"),
    kafka_errors.DelegationTokenExpiredError: Problem("the delegation token has expired", "renew it"),
}
_SUPERSEDED = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.FencedInstanceIdError,
)
_NAMED = re.compile(r"\b[A-Z][A-Za-z]+Error\b")


@contextmanager
def translated(on_topics: Operation = "READ") -> Iterator[None]:
    """Turn what a client raises into questream's errors. Its texts are dropped where they may quote what was sent.

    `on_topics` is what is done inside with topics: the right that a denial is about.
    """
    try:
        yield
    except (kafka_errors.KafkaError, OSError) as error:
        raise meaning_of(error, on_topics) from error


@contextmanager
def fenced() -> Iterator[None]:
    """Raise Superseded for a group that has rebalanced since."""
    try:
        yield
    except _SUPERSEDED as error:
        raise Superseded(f"another worker has the partitions: {type(error).__name__}") from error


def meaning_of(error: BaseException, on_topics: Operation) -> KafkaUnavailable | KafkaRefused:
    """What an error of the client means, without its text."""
    refusal = refusal_of(error, on_topics)
    if refusal is not None:
        return refusal
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return KafkaUnavailable("a topic does not exist", "create it with: questream topics create")
    if isinstance(error, kafka_errors.CorruptRecordError):
        # `batches` says no more than where it stands.
        return KafkaUnavailable(f"a record cannot be read: {error}")
    kind = KafkaTimeout if isinstance(error, kafka_errors.KafkaTimeoutError) else KafkaUnavailable
    return kind(f"the broker failed a call: {in_words(error)}")


def refusal_of(error: BaseException, on_topics: Operation) -> KafkaRefused | None:
    """The error where the broker's refusal is final, None where it may pass.

    `on_topics` is what was done with topics: the right that a denial is about.
    """
    kind = _kind_of(error)
    if kind is None:
        return None
    if issubclass(kind, LOGIN_ERRORS):
        return KafkaRefused(f"the broker refused the login ({in_words(kind())})", CHECK_LOGIN)
    if issubclass(kind, kafka_errors.AuthorizationError):
        denied = error if isinstance(error, kafka_errors.AuthorizationError) else kind()
        return KafkaRefused(*missing_right(denied, on_topics))
    known = next((problem for parent, problem in _KNOWN.items() if issubclass(kind, parent)), None)
    if known is None:
        return None
    what = f"the broker refuses ({in_words(kind())})"
    return KafkaRefused(f"{what}: {known.what}" if known.what else what, known.remedy)


def in_words(error: BaseException) -> str:
    """What kind of error this is, in words: Kafka's own for its codes. Its text may quote what was sent."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeError):
        return "no host has such a name"
    description = getattr(error, "description", None)
    if isinstance(error, kafka_errors.BrokerResponseError) and description:
        return str(description).strip().rstrip(".")
    # `RequestTimedOutError`: request timed out.
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z]|$)|[A-Z][a-z]+|[0-9]+", type(error).__name__.removesuffix("Error"))
    return " ".join(parts).lower()


def _kind_of(error: BaseException) -> type[kafka_errors.KafkaError] | None:
    """The kind of the broker's error: kafka-python names some of them only in the text of a plain KafkaError."""
    if type(error) is not kafka_errors.KafkaError:
        return type(error) if isinstance(error, kafka_errors.KafkaError) else None
    named = [getattr(kafka_errors, name, None) for name in _NAMED.findall(str(error))]
    kinds = [kind for kind in named if isinstance(kind, type) and issubclass(kind, kafka_errors.BrokerResponseError)]
    return kinds[-1] if kinds else None
