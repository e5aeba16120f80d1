"""A dry run of an assignment; nothing is learned or counted."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from questream.domain import format_cluster_id
from questream.operations import Candidate
from questream.server.api.clusters import LevelOf, Names
from questream.server.services import InNamespace
from questream.tools.levels import within_document

router = APIRouter(tags=["assign"])


class Question(BaseModel):
    """A text."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=50_000)]


class Near(BaseModel):
    """A cluster near a question; `representative` is null for those who may not read texts.

    `reason` says why it would be passed over although it is near enough, null where it would not. `path`, `inherited`
    and `levels` are those of the cluster.
    """

    cluster_id: str
    similarity: float
    reason: str | None
    size: int
    label: str | None
    route: str | None
    representative: str | None
    path: list[str] | None
    inherited: Names
    levels: list[LevelOf]


class Assigned(BaseModel):
    """The cluster that the question would join, null where it would join none, and the nearest ones, best first.

    `outcome` says what it would be then: `created`, or `unmatched` where questions open no clusters. Confidence, label,
    route and suggested route are those that a decision would have, `levels` the intent and topic of its cluster.
    """

    cluster: Near | None
    outcome: Literal["joined", "created", "unmatched", "replayed"]
    confidence: float | None
    label: str | None
    route: str | None
    suggested_route: str | None
    levels: list[LevelOf]
    nearest: list[Near]
    threshold: float
    truncated: bool
    unknown_share: float


def as_near(candidate: Candidate, reads_texts: bool) -> Near:
    """A candidate as it is shown to somebody."""
    state = candidate.state
    return Near(
        cluster_id=format_cluster_id(state.cluster_id),
        similarity=round(candidate.similarity, 4),
        reason=candidate.reason,
        size=state.size,
        label=state.label,
        route=state.route,
        representative=state.representative if reads_texts else None,
        **within_document(candidate.within),
    )


@router.post("/namespaces/{namespace}/assign")
def assign(scope: InNamespace, question: Question) -> Assigned:
    """The cluster that a question would join if it came now."""
    answer, rules = scope.services.analysis.ask(scope.namespace, question.text)
    nearest = [as_near(candidate, scope.reads_texts) for candidate in answer.candidates]
    return Assigned(
        cluster=as_near(answer.joins, scope.reads_texts) if answer.joins else None,
        outcome=answer.outcome,
        confidence=answer.confidence,
        label=answer.label,
        route=answer.route,
        suggested_route=answer.suggested_route,
        levels=within_document(answer.within)["levels"],
        nearest=nearest,
        threshold=rules.threshold,
        truncated=answer.truncated,
        unknown_share=round(answer.unknown_share, 6),
    )
