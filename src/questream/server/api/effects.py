"""The effect of an operation on questions, in a preview."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from questream.server.services import Scope
from questream.store.protocol import ProposedOperation
from questream.tools.previewing import OperationEffect
from questream.tools.rules import changed_by

MOST_LOOKED_AT = 10_000

Unknown = Annotated[
    str | None,
    Field(description="Why questions that joined since a merge stay where they were decided, where they do."),
]

LookedAt = Annotated[
    int,
    Field(
        ge=0,
        le=MOST_LOOKED_AT,
        description="With dry_run: try it on so many of the last decisions, and on questions that the clusters keep.",
    ),
]


class QuestionPlace(BaseModel):
    """The place of a question in the input topic."""

    topic: str
    partition: int
    offset: int


class Corrected(BaseModel):
    """A question that an operation moved; null means no cluster."""

    question_id: str | None
    source: QuestionPlace
    from_: str | None = Field(alias="from")
    to: str | None


class RulesEffect(BaseModel):
    """The effect of rules on the present clusters; `clusters` is their number.

    `would_merge` counts pairs that would be near enough then and are not now, each with one of the `compared` largest
    clusters in it; `examples` are five. Of `kept_questions`, references that clusters keep, so many joined at a
    similarity that would not be enough: they stay where they are, and such as they open a cluster from then on.
    """

    clusters: int
    compared: int
    would_merge: int
    examples: list[list[str]]
    kept_questions: int
    kept_questions_that_would_not_join: int


def rules_effect_of(scope: Scope, proposed: ProposedOperation, looked_at: int) -> RulesEffect | None:
    """The effect of an operation that changes rules; None for another, and where nothing is to be tried.

    Raises Refused while the clusters are being read.
    """
    if proposed.rules is None or not looked_at:
        return None
    states = scope.services.catalogues.get(scope.namespace).states()
    effect = scope.services.analysis.effect(scope.namespace, states, changed_by(proposed.rules))
    return RulesEffect(**effect.document())


def effect_of(scope: Scope, proposed: ProposedOperation, looked_at: int) -> OperationEffect | None:
    """The effect of an operation on questions, None where it is to be tried on no decision, or sets rules.

    Raises Refused where the model is not there and questions have to be scored; KafkaUnavailable, KafkaRefused.
    """
    if not looked_at or proposed.rules is not None:
        return None
    effect = scope.services.analysis.effect_of_operation(scope.namespace, proposed, looked_at)
    return effect if scope.reads_texts else effect.without_texts()
