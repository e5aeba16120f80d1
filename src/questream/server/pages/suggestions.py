"""What people may want to do: a kind at a time, accepted after a preview or dismissed for ever."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import ClusterState, Dismissible, format_cluster_id
from questream.errors import QuestreamError
from questream.operations.suggesting import Forbidding
from questream.server.access import Role
from questream.server.operating import Dismissing, Operation, Separating
from questream.server.pages.changes import done_link, read_done
from questream.server.pages.forms import Fields, Form, first
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id

_PAGE = 50
Shown = Literal["merge", "overlap", "name", "split"]
# Clusters, what forbids that they merge, and the questions of the parts that one would be split into.
Row = tuple[tuple[ClusterState, ...], tuple[Forbidding, ...], tuple[list[str], ...]]

router = APIRouter()


@router.get("/n/{namespace}/suggestions")
def show_suggestions(request: Request, scope: InNamespace, kind: Shown = "merge") -> Response:
    """Those of a kind, the largest first; why there are none to be had, where that is so."""
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
        refusal.status if refusal else HTTPStatus.OK,
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
    kind, operation = _dismissed(fields)
    names = [format_cluster_id(operation.cluster_id), *_others(operation)]
    id = f"{first(fields, 'id')[:64]}.{'.'.join(names)}"
    done = scope.services.operating.apply(scope.namespace, operation, scope.login.name, id)
    here, what = f"/n/{scope.namespace}/suggestions", "separate" if isinstance(operation, Separating) else "dismiss"
    return RedirectResponse(link(here, kind=kind, **done_link(what, [done.number])), HTTPStatus.SEE_OTHER)


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


def _dismissed(fields: Fields) -> tuple[Shown, Separating | Dismissing]:
    kind = first(fields, "kind")
    chosen = [read_cluster_id(one) for one in fields.get("c", [])[:3]]
    of_one: dict[str, Dismissible] = {"name": "name", "split": "split"}
    if kind in of_one and len(chosen) == 1:
        return of_one[kind], Dismissing(chosen[0], of_one[kind])
    if kind in of_one or len(chosen) != 2:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a suggestion is of one cluster, or to merge two")
    return "overlap" if kind == "overlap" else "merge", Separating(*chosen)


def _others(operation: Operation) -> list[str]:
    return [format_cluster_id(operation.other_id)] if isinstance(operation, Separating) else []
