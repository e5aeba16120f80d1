"""What an operation would do with questions, as a preview tells it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from questream.server.services import Scope
from questream.store.protocol import ProposedOperation
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
    """Where a question stands in the input topic."""

    topic: str
    partition: int
    offset: int


class Corrected(BaseModel):
    """A question that an operation moved; null stands for no cluster."""

    question_id: str | None
    source: QuestionPlace
    from_: str | None = Field(alias="from")
    to: str | None


class Example(BaseModel):
    """A question, and where it would be before and after; null for a new cluster. Texts for those who may read them."""

    question_id: str | None
    text: str | None
    before: str | None
    after: str | None


class OperationEffect(BaseModel):
    """How many questions of the operation's clusters would move: of the last decisions, and of those that they keep.

    `unread` are in the input topic no more. `clusters` are those that it names, or that are within the intent or topic
    that it names: so many would have another label or route. `labels` and `routes` are those before it.
    """

    decisions: int
    decisions_moved: int
    members: int
    members_moved: int
    unread: int
    clusters: int
    relabelled: int
    rerouted: int
    labels: list[str]
    routes: list[str]
    moving: list[Example]
    staying: list[Example]


class RulesEffect(BaseModel):
    """What rules would do to the clusters as they stand; `clusters` are all that there are.

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
    """What an operation that changes rules would do to clusters; None for another, and where nothing is to be tried.

    Raises Refused while the clusters are being read.
    """
    if proposed.rules is None or not looked_at:
        return None
    states = scope.services.catalogues.get(scope.namespace).states()
    effect = scope.services.asking.effect(scope.namespace, states, changed_by(proposed.rules))
    return RulesEffect(**effect.document())


def effect_of(scope: Scope, proposed: ProposedOperation, looked_at: int) -> OperationEffect | None:
    """What an operation would do with questions, None where it is to be tried on no decision, or sets rules.

    Raises Refused where the model is not there and questions have to be scored; KafkaUnavailable, KafkaRefused.
    """
    if not looked_at or proposed.rules is not None:
        return None
    effect = OperationEffect.model_validate(
        scope.services.asking.effect_of_operation(scope.namespace, proposed, looked_at).document()
    )
    for one in [] if scope.reads_texts else [*effect.moving, *effect.staying]:
        one.text = None
    return effect
