"""Suggestions of operations, which no worker does by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from questream.domain import Dismissible
from questream.operations.suggesting import Forbidding
from questream.server.api.clusters import Cluster, as_model
from questream.server.problems import CONFLICT
from questream.server.services import InNamespace, Scope

MOST_SUGGESTIONS = 200

Kind = Literal["merge"] | Dismissible

router = APIRouter(tags=["operations"])


class Suggestion(BaseModel):
    """A suggestion of an operation; a dismissed one comes no more.

    merge: two clusters, the older first, that are near enough to merge, and what of their rulings forbids it: where
    their labels do, two intents overlap. name: a large cluster without a label. split: a cluster whose questions fall
    into two `parts` that nothing would merge, the larger first; texts for those who may read them.
    """

    suggestion: Kind
    clusters: list[Cluster]
    forbidden_by: list[Forbidding] = []
    parts: list[list[str]] | None = None
    size: int


class SuggestionList(BaseModel):
    """Suggestions, the largest first."""

    suggestions: list[Suggestion]


@router.get("/namespaces/{namespace}/suggestions", responses=CONFLICT)
def list_suggestions(
    scope: InNamespace,
    kind: Annotated[Kind, Query(description="What is suggested.")] = "merge",
    limit: Annotated[int, Query(ge=1, le=MOST_SUGGESTIONS)] = 50,
) -> SuggestionList:
    """Merges that labels, routes and pins forbid, large clusters without a label, or clusters that look like two.

    Merge, label or split to accept; separate or dismiss for the opposite.
    """
    return SuggestionList(suggestions=_FIND[kind](scope, limit))


def _merges(scope: Scope, limit: int) -> list[Suggestion]:
    return [
        Suggestion(
            suggestion="merge",
            clusters=[as_model(state, scope) for state in one.clusters],
            forbidden_by=list(one.forbidden_by),
            size=one.size,
        )
        for one in scope.services.suggesting.to_merge(scope.namespace)[:limit]
    ]


def _names(scope: Scope, limit: int) -> list[Suggestion]:
    found = scope.services.suggesting.to_name(scope.namespace, limit)
    return [Suggestion(suggestion="name", clusters=[as_model(one, scope)], size=one.size) for one in found]


def _splits(scope: Scope, limit: int) -> list[Suggestion]:
    return [
        Suggestion(
            suggestion="split",
            clusters=[as_model(one.state, scope)],
            parts=list(one.parts) if scope.reads_texts else None,
            size=one.state.size,
        )
        for one in scope.services.suggesting.to_split(scope.namespace, limit)
    ]


_FIND: dict[Kind, Callable[[Scope, int], list[Suggestion]]] = {"merge": _merges, "name": _names, "split": _splits}
