"""The meaning of errors of the broker: the one table of those that no new client would fare better with.

All others pass: elections, coordinators that move, too few replicas in sync, throttling, time-outs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors as kafka_errors

from questream.broker import refusals
from questream.broker.kafka_python.rights import missing_right
from questream.broker.refusals import Operation
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable, Problem, Superseded

LOGIN_ERRORS = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)

# The details of a refusal, and its remedy.
_KNOWN: dict[type[kafka_errors.KafkaError], Problem] = {
    kafka_errors.InvalidTransactionTimeoutError: refusals.TRANSACTION_TIMEOUT,
    kafka_errors.InvalidTimestampError: refusals.CLOCK,
    kafka_errors.MessageSizeTooLargeError: refusals.RECORD_SIZE,
    kafka_errors.RecordListTooLargeError: refusals.RECORD_SIZE,
    kafka_errors.InvalidTopicError: refusals.TOPIC,
    kafka_errors.PolicyViolationError: refusals.POLICY,
    kafka_errors.InvalidRecordError: refusals.RECORD,
    kafka_errors.UnsupportedForMessageFormatError: refusals.MESSAGE_FORMAT,
    kafka_errors.UnsupportedCompressionTypeError: refusals.COMPRESSION,
    kafka_errors.InvalidSessionTimeoutError: refusals.SESSION_TIMEOUT,
    kafka_errors.InvalidGroupIdError: refusals.GROUP_ID,
    kafka_errors.InconsistentGroupProtocolError: refusals.GROUP_PROTOCOL,
    kafka_errors.GroupMaxSizeReachedError: refusals.GROUP_SIZE,
    kafka_errors.UnsupportedVersionError: refusals.VERSION,
    kafka_errors.InvalidRequiredAcksError: refusals.ACKS,
    kafka_errors.SecurityDisabledError: refusals.NO_AUTHORIZER,
    kafka_errors.UnsupportedCodecError: Problem(
        "the records of a topic are compressed in a way that no package here can read",
        "install lz4, python-snappy and zstandard beside questream",
    ),
    kafka_errors.KafkaConfigurationError: refusals.OPTIONS,
    kafka_errors.DelegationTokenExpiredError: refusals.TOKEN_EXPIRED,
}
_SUPERSEDED = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.FencedInstanceIdError,
)
_TAKEN_OVER = (kafka_errors.ProducerFencedError, kafka_errors.InvalidProducerEpochError)
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
    """The meaning of an error of the client, without its text."""
    refusal = refusal_of(error, on_topics)
    if refusal is not None:
        return refusal
    if issubclass(_kind_of(error) or type(error), _TAKEN_OVER):
        return refusals.taken_over()
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return refusals.no_topic()
    if isinstance(error, kafka_errors.CorruptRecordError):
        # `batches` names no more than its place.
        return KafkaUnavailable(f"a record cannot be read: {error}")
    kind = KafkaTimeout if isinstance(error, kafka_errors.KafkaTimeoutError) else KafkaUnavailable
    return kind(f"the broker failed a call: {describe_error(error)}")


def refusal_of(error: BaseException, on_topics: Operation) -> KafkaRefused | None:
    """The error where the broker's refusal is final, None where it may pass.

    `on_topics` is what was done with topics: the right that a denial is about.
    """
    kind = _kind_of(error)
    if kind is None:
        return None
    if issubclass(kind, LOGIN_ERRORS):
        return refusals.login_refused(describe_error(kind()))
    if issubclass(kind, kafka_errors.AuthorizationError):
        denied = error if isinstance(error, kafka_errors.AuthorizationError) else kind()
        return KafkaRefused(*missing_right(denied, on_topics))
    known = next((problem for parent, problem in _KNOWN.items() if issubclass(kind, parent)), None)
    if known is None:
        return None
    return refusals.refused(describe_error(kind()), known)


def describe_error(error: BaseException) -> str:
    """The kind of an error, in Kafka's words for its code. Its text may quote what was sent."""
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
