"""The pages of undo: the effect on clusters and questions is shown first, then the operation is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import format_cluster_id
from questream.errors import QuestreamError
from questream.server.access import Role
from questream.server.api.conditions import RULES
from questream.server.api.history import Committed, Ruling, UndoRequest, undo, unmerge
from questream.server.pages.changes import MOST_CHOSEN, done_link
from questream.server.pages.forms import Form, read_id, read_reason, read_seen
from questream.server.pages.previews import show_preview
from questream.server.pages.rendering import link
from questream.server.problems import Overtaken, Refused
from questream.server.services import InNamespace, Scope, read_cluster_id

Numbers = Annotated[str, Path(pattern=rf"^[1-9][0-9]{{0,14}}(\.[1-9][0-9]{{0,14}}){{0,{MOST_CHOSEN - 1}}}$")]

router = APIRouter()


@router.get("/n/{namespace}/undo/{numbers}")
def show_undo(request: Request, scope: InNamespace, numbers: Numbers) -> Response:
    """The effect of undoing operations: one, or all of one act, by their numbers with points between them."""
    scope.require(Role.OPERATOR)
    return _show_undo(request, scope, numbers)


@router.post("/n/{namespace}/undo/{numbers}")
def take_back(request: Request, scope: InNamespace, numbers: Numbers, fields: Form) -> Response:
    """Undo them, the newest first; changes by others since the preview are shown first.

    Raises Refused where one of several is not, saying which were. The same form again goes on where it ended.
    """
    id, reason, done = read_id(fields), read_reason(fields), list[Committed]()
    for number in _not_undone(scope, numbers, id):
        # The first changes what those after it are about.
        seen = None if done else read_seen(fields)
        try:
            done.append(undo(scope, number, UndoRequest(id=f"{id}.{number}", reason=reason), seen))
        except Overtaken:
            return _show_undo(request, scope, numbers, changed=True, reason=reason)
        except (Refused, QuestreamError) as error:
            raise _ended(scope, number, done, Refused.by(error)) from None
    return _done(scope, done)


def _show_undo(request: Request, scope: Scope, numbers: str, *, changed: bool = False, reason: str = "") -> Response:
    chosen = _not_undone(scope, numbers)
    shown = ", ".join(map(str, sorted(chosen)))
    return _show(
        request,
        scope,
        [partial(_would_undo, scope, number) for number in chosen],
        f"undo/{numbers}",
        f"Undo operation {shown}" if len(chosen) == 1 else f"Undo operations {shown}",
        [name for number in chosen for name in _about(scope, number)],
        changed=changed,
        reason=reason,
    )


def _about(scope: Scope, number: int) -> list[str]:
    """The entities that an operation changed, by the names of `tags_of`."""
    one = scope.services.store.operation(scope.namespace, number)
    if one is None:
        return []
    levels = () if one.levels is None else one.levels.after
    return [*map(format_cluster_id, one.after), *levels, *([RULES] if one.rules else [])]


def _ended(scope: Scope, number: int, done: Sequence[Committed], refused: Refused) -> Refused:
    """The refusal of this undo, with the undone operations before it, and links to them."""
    if not done:
        return refused
    taken, by = (
        ", ".join(map(str, found)) for found in zip(*((one.undoes, one.operation) for one in done), strict=True)
    )
    were = f"was, by operation {by}" if len(done) == 1 else f"were, by operations {by}"
    detail = f"operation {number} was not taken back, {taken} {were}: {refused.detail}"
    links = {f"operation {one.operation}, which took {one.undoes} back": _place(scope, [one]) for one in done}
    return Refused(refused.status, detail, refused.remedy, refused.headers, links)


def _not_undone(scope: Scope, numbers: str, id: str | None = None) -> list[int]:
    """The operations of these that only this form may have undone, the newest first; all if there is none."""
    found, operation = sorted(set(map(int, numbers.split("."))), reverse=True), scope.services.store.operation

    def is_in_force(number: int) -> bool:
        one = operation(scope.namespace, number)
        if one is None or one.undone_by is None:
            return True
        undo = operation(scope.namespace, one.undone_by) if id is not None else None
        return undo is not None and undo.id == f"{id}.{number}"

    return list(filter(is_in_force, found)) or found


def _would_undo(scope: Scope, number: int, questions: int) -> Committed:
    return undo(scope, number, UndoRequest(dry_run=True, questions=questions))


@router.get("/n/{namespace}/unmerge/{cluster_id}")
def show_unmerging(request: Request, scope: InNamespace, cluster_id: str) -> Response:
    """The effect of undoing a merge on the merged cluster and its survivor."""
    scope.require(Role.OPERATOR)
    return _show_unmerging(request, scope, read_cluster_id(cluster_id))


@router.post("/n/{namespace}/unmerge/{cluster_id}")
def take_apart(request: Request, scope: InNamespace, cluster_id: str, fields: Form) -> Response:
    """Undo the merge; changes by others since the preview are shown first."""
    number, how = read_cluster_id(cluster_id), Ruling(id=read_id(fields), reason=read_reason(fields))
    try:
        done = unmerge(scope, number, how, read_seen(fields))
    except Overtaken:
        return _show_unmerging(request, scope, number, changed=True, reason=how.reason)
    return _done(scope, [done])


def _show_unmerging(
    request: Request, scope: Scope, cluster_id: int, *, changed: bool = False, reason: str = ""
) -> Response:
    name = format_cluster_id(cluster_id)
    return _show(
        request,
        scope,
        [lambda questions: unmerge(scope, cluster_id, Ruling(dry_run=True, questions=questions))],
        f"unmerge/{name}",
        f"Undo the merge of {name}",
        [name],
        changed=changed,
        reason=reason,
    )


def _show(
    request: Request,
    scope: Scope,
    asks: Sequence[Callable[[int], Committed]],
    path: str,
    title: str,
    about: Iterable[str],
    *,
    changed: bool,
    reason: str,
) -> Response:
    where = f"/n/{scope.namespace}"
    return show_preview(
        request,
        scope,
        *asks,
        action=f"{where}/{path}",
        title=title,
        verb="Undo",
        back=f"{where}/clusters",
        about=about,
        changed=changed,
        reason=reason,
    )


def _done(scope: Scope, done: Sequence[Committed]) -> Response:
    return RedirectResponse(_place(scope, done), HTTPStatus.SEE_OTHER)


def _place(scope: Scope, done: Sequence[Committed]) -> str:
    """The page that shows the change, with words for it: the cluster's, else the list, the tree or the rules."""
    clusters = [cluster for one in done for cluster in ([one.parted] if one.parted else one.after)]
    of_levels, of_rules = any(one.levels for one in done), all(one.rules for one in done)
    where = f"/clusters/{clusters[0]}" if clusters and len(done) == 1 else "/levels" if of_levels else "/clusters"
    query = done_link("undo", [one.operation for one in done])
    return link(f"/n/{scope.namespace}{'/rules' if of_rules else where}", **query)
