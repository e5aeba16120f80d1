"""What somebody decided is taken back: what would become of clusters and questions is shown first, then it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import format_cluster_id
from questream.errors import QuestreamError
from questream.server.access import Role
from questream.server.api.history import Committed, Ruling, UndoRequest, undo, unmerge
from questream.server.pages.changes import MOST_CHOSEN, done_link
from questream.server.pages.forms import Form, first, read_reason
from questream.server.pages.previews import show_preview
from questream.server.pages.rendering import link
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id

Numbers = Annotated[str, Path(pattern=rf"^[1-9][0-9]{{0,14}}(\.[1-9][0-9]{{0,14}}){{0,{MOST_CHOSEN - 1}}}$")]

router = APIRouter()


@router.get("/n/{namespace}/undo/{numbers}")
def show_undo(request: Request, scope: InNamespace, numbers: Numbers) -> Response:
    """What taking operations back would do: one, or all of one act, by their numbers with points between them."""
    scope.require(Role.OPERATOR)
    chosen = _standing(scope, numbers)
    shown = ", ".join(map(str, sorted(chosen)))
    title = f"Take operation {shown} back" if len(chosen) == 1 else f"Take operations {shown} back"
    asks = [partial(_would_undo, scope, number) for number in chosen]
    return _show(request, scope, asks, f"undo/{numbers}", title)


@router.post("/n/{namespace}/undo/{numbers}")
def take_back(scope: InNamespace, numbers: Numbers, fields: Form) -> Response:
    """Take them back, the newest first. Raises Refused where one of several is not, saying which were."""
    id, reason, done = first(fields, "id")[:64], read_reason(fields), list[Committed]()
    for number in _standing(scope, numbers):
        try:
            done.append(undo(scope, number, UndoRequest(id=f"{id}.{number}", reason=reason)))
        except (Refused, QuestreamError) as error:
            if not done:
                raise
            taken = ", ".join(str(one.undoes) for one in done)
            raise Refused(
                HTTPStatus.CONFLICT, f"operation {number} was not taken back, {taken} was: {error}", "look at it again"
            ) from None
    return _done(scope, done)


def _standing(scope: Scope, numbers: str) -> list[int]:
    """Of these operations those that nobody has taken back, the newest first; all of them where that is none."""
    found = sorted(set(map(int, numbers.split("."))), reverse=True)
    kept = {number: scope.services.store.operation(scope.namespace, number) for number in found}
    return [number for number, one in kept.items() if one is None or one.undone_by is None] or found


def _would_undo(scope: Scope, number: int, questions: int) -> Committed:
    return undo(scope, number, UndoRequest(dry_run=True, questions=questions))


@router.get("/n/{namespace}/unmerge/{cluster_id}")
def show_unmerging(request: Request, scope: InNamespace, cluster_id: str) -> Response:
    """What would become of a cluster that was merged away, and of what it became a part of."""
    scope.require(Role.OPERATOR)
    number = read_cluster_id(cluster_id)
    return _show(
        request,
        scope,
        [lambda questions: unmerge(scope, number, Ruling(dry_run=True, questions=questions))],
        f"unmerge/{format_cluster_id(number)}",
        f"Let {format_cluster_id(number)} stand by itself again",
    )


@router.post("/n/{namespace}/unmerge/{cluster_id}")
def take_apart(scope: InNamespace, cluster_id: str, fields: Form) -> Response:
    """Let it stand by itself again."""
    done = unmerge(scope, read_cluster_id(cluster_id), Ruling(id=first(fields, "id")[:64], reason=read_reason(fields)))
    return _done(scope, [done])


def _show(
    request: Request, scope: Scope, asks: Sequence[Callable[[int], Committed]], path: str, title: str
) -> Response:
    where = f"/n/{scope.namespace}"
    return show_preview(
        request, scope, *asks, action=f"{where}/{path}", title=title, verb="Take back", back=f"{where}/clusters"
    )


def _done(scope: Scope, done: Sequence[Committed]) -> Response:
    """Back to where it shows: the cluster that it is of, else the list or the tree."""
    clusters = [cluster for one in done for cluster in ([one.parted] if one.parted else one.after)]
    of_levels = any(one.levels for one in done)
    where = f"/clusters/{clusters[0]}" if clusters and len(done) == 1 else "/levels" if of_levels else "/clusters"
    told = done_link("undo", [one.operation for one in done])
    return RedirectResponse(link(f"/n/{scope.namespace}{where}", **told), HTTPStatus.SEE_OTHER)
