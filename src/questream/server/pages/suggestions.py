"""Suggestions of operations: a kind at a time, accepted after a preview or dismissed for ever."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import ClusterState, Dismissible
from questream.errors import QuestreamError
from questream.operations.suggesting import Forbidding
from questream.server.access import Role
from questream.server.api.history import Ruling, rule
from questream.server.pages.changes import done_link, read_done
from questream.server.pages.forms import Form, first
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id

_PAGE = 50
Shown = Literal["merge", "overlap", "name", "split"]
# Clusters, what forbids that they merge, and the questions of the parts that one would be split into.
Row = tuple[tuple[ClusterState, ...], tuple[Forbidding, ...], tuple[list[str], ...]]

_OF_ONE: dict[str, Dismissible] = {"name": "name", "split": "split"}

router = APIRouter()


@router.get("/n/{namespace}/suggestions")
def show_suggestions(request: Request, scope: InNamespace, kind: Shown = "merge") -> Response:
    """The suggestions of a kind, the largest first; or the reason why there are none now."""
    found: list[Row] | None = None
    refusal = None
    try:
        found = _find(scope, kind)
    except (Refused, QuestreamError) as error:
        refusal = Refused.by(error)
    return render(
        request,
        "suggestions.html",
        scope.login,
        scope,
        kind=kind,
        found=found,
        refusal=refusal,
        most=_PAGE,
        id=secrets.token_urlsafe(16),
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        done=read_done(request),
    )


@router.post("/n/{namespace}/suggestions/dismiss")
def dismiss(scope: InNamespace, fields: Form) -> Response:
    """It is made no more: the two clusters are separated, or the one needs no name or no split."""
    scope.require(Role.OPERATOR)
    kind, names = first(fields, "kind"), fields.get("c", [])[:3]
    one, *others = [read_cluster_id(name) for name in names] or [0]
    if not one or len(others) != (kind not in _OF_ONE):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a suggestion is of one cluster, or to merge two")
    how = Ruling(id=f"{first(fields, 'id')[:64]}.{'.'.join(names)}")
    if kind in _OF_ONE:
        done = rule(scope, how, lambda made: made.dismiss(one, _OF_ONE[kind]))
    else:
        kind = "overlap" if kind == "overlap" else "merge"
        done = rule(scope, how, lambda made: made.separate(one, others[0]))
    here = f"/n/{scope.namespace}/suggestions"
    return RedirectResponse(link(here, kind=kind, **done_link(done.kind, [done.operation])), HTTPStatus.SEE_OTHER)


def _find(scope: Scope, kind: Shown) -> list[Row]:
    services, namespace = scope.services, scope.namespace
    if kind == "name":
        return [((state,), (), ()) for state in services.suggesting.to_name(namespace, _PAGE)]
    if kind == "split":
        found = services.suggesting.to_split(namespace, _PAGE)
        return [((one.state,), (), one.parts if scope.reads_texts else ()) for one in found]
    # Two intents overlap where their labels alone are what keeps two clusters apart.
    merges = [
        one for one in services.suggesting.to_merge(namespace) if (kind == "overlap") == ("label" in one.forbidden_by)
    ]
    return [(one.clusters, one.forbidden_by, ()) for one in merges[:_PAGE]]
