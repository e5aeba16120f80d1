"""The tree of topics, intents and clusters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from questream.server.api.levels import communities_of
from questream.server.pages.rendering import link, render
from questream.server.services import InNamespace
from questream.tools.sorting import Level

_PAGE = 25
# Of one topic and of one intent; the API tells of more.
_INTENTS_SHOWN = 50
_CLUSTERS_SHOWN = 20

router = APIRouter()


@router.get("/n/{namespace}/levels")
def show_levels(request: Request, scope: InNamespace, skip: Annotated[int, Query(ge=0, le=100_000)] = 0) -> Response:
    """Topics, the largest first, each with its intents, and these with their clusters."""
    communities = communities_of(scope)
    topics = [] if communities is None else communities.of(Level.TOPIC)
    here = f"/n/{scope.namespace}/levels"
    return render(
        request,
        "levels.html",
        scope.login,
        scope,
        topics=topics[skip : skip + _PAGE],
        total=len(topics),
        intents=0 if communities is None else len(communities.of(Level.INTENT)),
        largest=topics[0].size if topics else 1,
        most_intents=_INTENTS_SHOWN,
        most_clusters=_CLUSTERS_SHOWN,
        here=here,
        is_first=not skip,
        next=link(here, skip=skip + _PAGE) if skip + _PAGE < len(topics) else None,
    )
