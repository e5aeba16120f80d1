"""What automatic merging leaves to people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from questream.operations.suggesting import Forbidding
from questream.server.api.clusters import Cluster, as_model
from questream.server.services import InNamespace

MOST_SUGGESTIONS = 200

router = APIRouter(tags=["operations"])


class Suggestion(BaseModel):
    """Two clusters that are near enough to merge, the older first, and what of their rulings forbids it."""

    clusters: list[Cluster]
    forbidden_by: list[Forbidding]
    size: int


class SuggestionList(BaseModel):
    """Suggestions, the largest first."""

    suggestions: list[Suggestion]


@router.get("/namespaces/{namespace}/suggestions", responses={409: {}})
def list_suggestions(
    scope: InNamespace, limit: Annotated[int, Query(ge=1, le=MOST_SUGGESTIONS)] = 50
) -> SuggestionList:
    """Merges that labels, routes and pins forbid; one that was separated is none. Merge or separate to answer."""
    found = scope.services.asking.suggestions(scope.namespace, limit)
    return SuggestionList(
        suggestions=[
            Suggestion(
                clusters=[as_model(state, scope) for state in one.clusters],
                forbidden_by=list(one.forbidden_by),
                size=one.size,
            )
            for one in found
        ]
    )
