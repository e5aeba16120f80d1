"""Merges that labels, routes and pins forbid: accepted or dismissed."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import format_cluster_id
from questream.errors import QuestreamError
from questream.operations.suggesting import Suggestion
from questream.server.access import Role
from questream.server.operating import Separating
from questream.server.pages.changes import done_link, told
from questream.server.pages.forms import Form, first
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, read_cluster_id

_PAGE = 50

router = APIRouter()


@router.get("/n/{namespace}/suggestions")
def show_suggestions(request: Request, scope: InNamespace) -> Response:
    """The largest first; why there are none to be had, where that is so."""
    found: list[Suggestion] | None = None
    refusal = None
    try:
        found = scope.services.asking.suggestions(scope.namespace, _PAGE)
    except Refused as error:
        refusal = error
    except QuestreamError as error:
        refusal = Refused.by(error)
    return render(
        request,
        "suggestions.html",
        scope.login,
        scope,
        refusal.status if refusal else HTTPStatus.OK,
        found=found,
        refusal=refusal,
        most=_PAGE,
        id=secrets.token_urlsafe(16),
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        done=told(request),
    )


@router.post("/n/{namespace}/suggestions/dismiss")
def dismiss(scope: InNamespace, fields: Form) -> Response:
    """The two clusters are different: they are separated, so that they are suggested no more."""
    scope.require(Role.OPERATOR)
    chosen = [read_cluster_id(one) for one in fields.get("c", [])[:3]]
    if len(chosen) != 2:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a suggestion is of two clusters")
    names = [format_cluster_id(one) for one in chosen]
    id = f"{first(fields, 'id')[:64]}.{'.'.join(names)}"
    done = scope.services.operating.apply(scope.namespace, Separating(*chosen), scope.login.name, id)
    here = f"/n/{scope.namespace}/suggestions"
    return RedirectResponse(link(here, **done_link("separate", done.number)), HTTPStatus.SEE_OTHER)


@router.get("/n/{namespace}/suggestions/dismiss")
def show_again(scope: InNamespace) -> Response:
    """Where a browser looks again that was told to wait."""
    return RedirectResponse(f"/n/{scope.namespace}/suggestions", HTTPStatus.SEE_OTHER)
