"""Rights to grant where the broker denies one: the words of every message about it."""

from __future__ import annotations

from collections.abc import Iterable

from kafka import errors as kafka_errors

from questream.broker.port import GRANT
from questream.broker.refusals import Operation
from questream.errors import Problem


def missing_right(error: kafka_errors.AuthorizationError, on_topics: Operation) -> Problem:
    """The right that an error says is missing, and what to do about it.

    `on_topics` is what was done with the topics, which the error does not say.
    """
    names = ", ".join(_names(error))
    if isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        right = f"{on_topics} topic {names}" if names else f"{on_topics} a topic"
    elif isinstance(error, kafka_errors.GroupAuthorizationFailedError):
        right = f"READ group {names}" if names else "READ the consumer group"
    elif isinstance(error, kafka_errors.TransactionalIdAuthorizationFailedError):
        right = "WRITE transactional ids that begin with kafka.group_id"
    else:
        right = f"do this ({type(error).__name__})"
    return Problem(f"the right to {right} is missing", GRANT)


def _names(error: kafka_errors.AuthorizationError) -> list[str]:
    """kafka-python gives a name, a set of names, or nothing; all of them come from the settings."""
    named = error.args[0] if error.args else ()
    if isinstance(named, str):
        return [named]
    return sorted(map(str, named)) if isinstance(named, Iterable) else []
