"""What somebody decided is taken back: what would become of clusters and questions is shown first, then it is done."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import format_cluster_id
from questream.server.access import Role
from questream.server.api.history import Committed, Ruling, UndoRequest, undo, unmerge
from questream.server.pages.changes import done_link
from questream.server.pages.forms import Form, first, read_reason
from questream.server.pages.previews import show_preview
from questream.server.pages.rendering import link
from questream.server.services import InNamespace, Scope, read_cluster_id

Number = Annotated[int, Path(ge=1, le=2**53)]

router = APIRouter()


@router.get("/n/{namespace}/undo/{number}")
def show_undo(request: Request, scope: InNamespace, number: Number) -> Response:
    """What taking an operation back would do."""
    scope.require(Role.OPERATOR)
    return _show(
        request,
        scope,
        lambda questions: undo(scope, number, UndoRequest(dry_run=True, questions=questions)),
        f"undo/{number}",
        f"Take operation {number} back",
    )


@router.post("/n/{namespace}/undo/{number}")
def take_back(scope: InNamespace, number: Number, fields: Form) -> Response:
    """Take it back."""
    done = undo(scope, number, UndoRequest(id=first(fields, "id")[:64], reason=read_reason(fields)))
    return _done(scope, done)


@router.get("/n/{namespace}/unmerge/{cluster_id}")
def show_unmerging(request: Request, scope: InNamespace, cluster_id: str) -> Response:
    """What would become of a cluster that was merged away, and of what it became a part of."""
    scope.require(Role.OPERATOR)
    number = read_cluster_id(cluster_id)
    return _show(
        request,
        scope,
        lambda questions: unmerge(scope, number, Ruling(dry_run=True, questions=questions)),
        f"unmerge/{format_cluster_id(number)}",
        f"Let {format_cluster_id(number)} stand by itself again",
    )


@router.post("/n/{namespace}/unmerge/{cluster_id}")
def take_apart(scope: InNamespace, cluster_id: str, fields: Form) -> Response:
    """Let it stand by itself again."""
    done = unmerge(scope, read_cluster_id(cluster_id), Ruling(id=first(fields, "id")[:64], reason=read_reason(fields)))
    return _done(scope, done)


def _show(request: Request, scope: Scope, ask: Callable[[int], Committed], path: str, title: str) -> Response:
    where = f"/n/{scope.namespace}"
    return show_preview(
        request, scope, ask, action=f"{where}/{path}", title=title, verb="Take back", back=f"{where}/clusters"
    )


def _done(scope: Scope, done: Committed) -> Response:
    """Back to where it shows: the cluster that it is of, else the list."""
    of = [done.parted] if done.parted else list(done.after)
    where = f"/clusters/{of[0]}" if of else "/clusters"
    return RedirectResponse(
        link(f"/n/{scope.namespace}{where}", **done_link("undo", [done.operation])), HTTPStatus.SEE_OTHER
    )
