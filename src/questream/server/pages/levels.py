"""The tree of topics, intents and clusters, those of one level, and a single one with the form that names it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.clustering.levels import LEVEL_NAMES
from questream.domain import ClusterState
from questream.server.access import Role
from questream.server.activity import ACTIVITIES, Activity
from questream.server.api.clusters import MAX_SEARCH_CHARACTERS
from questream.server.api.communities import NamingRequest, label_community
from questream.server.api.history import Committed
from questream.server.api.levels import (
    Sought,
    communities_of,
    etag_of_level,
    find_communities,
    read_community,
)
from questream.server.api.operations import MAX_NAME_CHARACTERS
from questream.server.pages.changes import done_link, read_done
from questream.server.pages.forms import Form, first, read_id, read_name
from questream.server.pages.previews import previewed
from questream.server.pages.rendering import link, render
from questream.server.problems import Overtaken
from questream.server.services import InNamespace, Scope
from questream.tools.communities import Communities, Community
from questream.tools.sorting import Level

_PAGE = 20
# Of one topic and of one intent in the tree: a page has a few hundred clusters at most. Their own pages show more.
_INTENTS_SHOWN = 8
_CLUSTERS_SHOWN = 3
_CLUSTERS_OF_ONE = 200

router = APIRouter()


def shown_first(communities: Communities) -> Iterator[ClusterState]:
    """The clusters of the first page of the tree."""
    for topic in communities.of(Level.TOPIC)[:_PAGE]:
        for intent in topic.parts[:_INTENTS_SHOWN]:
            yield from intent.clusters[:_CLUSTERS_SHOWN]


@router.get("/n/{namespace}/levels")
def show_levels(
    request: Request,
    scope: InNamespace,
    level: Level | None = None,
    q: Annotated[str, Query(max_length=MAX_SEARCH_CHARACTERS)] = "",
    sort: Literal["size", "meaning"] = "size",
    label: Annotated[str | None, Query(max_length=1000)] = None,
    activity: Activity | None = None,
    skip: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """Topics, the largest first, each with its intents, and these with their clusters; or those of one level alone.

    They are searched and filtered by their clusters, as the list of these is.
    """
    sought = Sought(q, sort == "meaning", label, activity)
    communities = communities_of(scope)
    found = find_communities(scope, communities, level or Level.TOPIC, sought)
    topics, intents = (0 if communities is None else communities.count(one) for one in (Level.TOPIC, Level.INTENT))
    here = f"/n/{scope.namespace}/levels"

    def listed(**changed: str | int | None) -> str:
        """This list, but for what is changed."""
        whole = {"level": level, "q": q or None, "sort": sort, "label": label, "activity": activity, **changed}
        return f"{here}?{urlencode({name: value for name, value in whole.items() if value is not None})}"

    return render(
        request,
        "levels.html",
        scope.login,
        scope,
        level=level,
        shown_here=found[skip : skip + _PAGE],
        total=len(found),
        topics=topics,
        intents=intents,
        is_sought=not sought.is_all,
        q=q,
        sort=sort,
        label=label,
        activity=activity,
        activities=[one for one in ACTIVITIES if one],
        listed=listed,
        kept=listed(level=None).partition("?")[2],
        largest=found[0].size if found else 1,
        most_intents=_INTENTS_SHOWN,
        most_clusters=_CLUSTERS_SHOWN,
        here=here,
        is_first=not skip,
        next=listed(skip=skip + _PAGE) if skip + _PAGE < len(found) else None,
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        done=read_done(request),
    )


@router.get("/n/{namespace}/levels/{community_id}")
def show_level(request: Request, scope: InNamespace, community_id: str) -> Response:
    """The clusters of an intent or topic, and a form that names it; an id that is no more leads to what it became."""
    return _show_form(request, scope, read_community(scope, community_id), secrets.token_urlsafe(16))


@router.post("/n/{namespace}/levels/{community_id}")
def name_level(request: Request, scope: InNamespace, community_id: str, fields: Form) -> Response:
    """Name it, and go back to the tree; or only show what that would change.

    What somebody else has named meanwhile is shown first.
    """
    scope.require(Role.OPERATOR)
    id, own, seen = read_id(fields), read_community(scope, community_id), fields.get("seen", [])
    typed = read_name(fields, "label"), read_name(fields, "route")
    wanted = NamingRequest(label=typed[0], route=typed[1], id=id)

    def ask(questions: int) -> Committed:
        trying = {"id": "", "dry_run": True, "questions": questions}
        return label_community(scope, community_id, wanted.model_copy(update=trying), seen)

    try:
        if first(fields, "preview"):
            return _show_form(request, scope, own, id, typed=typed, preview=previewed(ask))
        done = label_community(scope, community_id, wanted, seen)
    except Overtaken:
        return _show_form(request, scope, read_community(scope, community_id), id, HTTPStatus.CONFLICT)
    return RedirectResponse(
        link(f"/n/{scope.namespace}/levels", **done_link("name", [done.operation])), HTTPStatus.SEE_OTHER
    )


def _show_form(
    request: Request,
    scope: Scope,
    own: Community,
    id: str,
    status: int = HTTPStatus.OK,
    *,
    typed: tuple[str, str] | None = None,
    preview: tuple[Committed, str | None] | None = None,
) -> Response:
    return render(
        request,
        "level.html",
        scope.login,
        scope,
        status,
        one=own,
        level=LEVEL_NAMES[own.node.level - 1],
        id=id,
        typed=typed or own.naming,
        preview=preview,
        seen=etag_of_level(scope, own),
        changed=status == HTTPStatus.CONFLICT,
        most=MAX_NAME_CHARACTERS,
        most_clusters=_CLUSTERS_OF_ONE,
        back=f"/n/{scope.namespace}/levels",
        done=read_done(request),
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
    )
