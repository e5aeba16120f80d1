"""A question's states between two topics, a type for each: what a step of the worker takes, and what it gives."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from questream.domain import Decision, Question, Record, Vector
from questream.encoder import Encoder, Tokens
from questream.errors import BadRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that gets no decision: a dead letter, or passed over.

    `by_reference`: its dead letter refers to it, since no topic takes it as it is.
    """

    record: Record
    error: BadRecord
    by_reference: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """A question that waits for its decision; its vector is made of `tokens` by `encoder`, its namespace's model.

    `store_epoch` is the one that the ledger of its partition was read under; `fresh`: that ledger ended before it.
    """

    question: Question
    tokens: Tokens
    encoder: Encoder
    store_epoch: str
    fresh: bool

    @property
    def record(self) -> Record:
        """The record that holds it."""
        return self.question.record


@dataclass(frozen=True, slots=True)
class Embedded:
    """A pending question with its vector (d,)."""

    pending: Pending
    vector: Vector

    @property
    def record(self) -> Record:
        """The record that holds it."""
        return self.pending.question.record


@dataclass(frozen=True, slots=True)
class Decided:
    """A question with the decision that Redis has committed in `store_epoch`."""

    question: Question
    decision: Decision
    store_epoch: str

    @property
    def record(self) -> Record:
        """The record that holds it."""
        return self.question.record


@dataclass(frozen=True, slots=True)
class Recalled(Decided):
    """A question that was decided before it was read: the ledger had its decision."""


Queued = Refused | Recalled | Pending
Ready = Refused | Recalled | Embedded
Answered = Refused | Decided


def too_large(state: Ready | Answered) -> Refused:
    """The state of a record when no topic takes what would be published for it."""
    logger.warning(
        "a record is too large to publish: its dead letter refers to it",
        extra={"partition": state.record.source.partition, "offset": state.record.source.offset},
    )
    if isinstance(state, Refused):
        return replace(state, by_reference=True)
    error = BadRecord("publish", "too_large_to_publish", "the output topic takes no decision of this size")
    return Refused(state.record, error, by_reference=True)
