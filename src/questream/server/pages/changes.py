"""Label, route and merge: what is chosen is shown with what will become of it, then done, once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import ClusterState, format_cluster_id
from questream.operations.merging import precedence_of
from questream.server.access import Role
from questream.server.api.clusters import find_cluster
from questream.server.api.history import Ruling, rule
from questream.server.api.operations import MAX_NAME_CHARACTERS
from questream.server.operating import Merging, Outcome
from questream.server.pages.forms import Form, first, read_name
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id

_MOST_CHOSEN = 50

Op = Literal["label", "route", "merge"]
_SAID: dict[str, str] = {
    "label": "{count} labelled.",
    "route": "{count} routed.",
    "merge": "{count} merged into one.",
    "reject": "What is nearer to that question than to the others joins no more.",
    "move": "What is nearer to those questions than to the others goes there from now on.",
    "split": "Those questions are a cluster of their own.",
    "undo": "It was taken back.",
    "separate": "The two stay apart and are suggested no more.",
    "dismiss": "It is suggested no more.",
    "represent": "That question stands for it.",
    "pin": "It never merges automatically.",
    "unpin": "It may merge automatically again.",
    "mute": "It raises no events.",
    "unmute": "It raises events again.",
    "resolve": "It is dealt with, and returns with the next question.",
    "reopen": "It is open again.",
    "forget": "Its texts are erased.",
}
_FOR_EVER = ("forget", "undo")


class Told(NamedTuple):
    """What was done, in words, and the operation that is taken back by its number."""

    words: str
    operation: int | None


router = APIRouter()


@router.get("/n/{namespace}/change")
def show_change(
    request: Request,
    scope: InNamespace,
    op: Op,
    c: Annotated[list[str], Query(max_length=_MOST_CHOSEN)] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """What is chosen, and what would become of it."""
    scope.require(Role.OPERATOR)
    return _show(request, scope, op, _chosen(scope, c), secrets.token_urlsafe(16))


@router.post("/n/{namespace}/change")
def change(request: Request, scope: InNamespace, fields: Form) -> Response:
    """Do it, and go back to where it shows. What somebody else has changed meanwhile is shown first."""
    scope.require(Role.OPERATOR)
    op: Op = _op_of(first(fields, "op"))
    states, id = _chosen(scope, fields.get("c", [])), first(fields, "id")[:64]
    if fields.get("seen", []) != [_seen(state) for state in states]:
        return _show(request, scope, op, states, id, HTTPStatus.CONFLICT, changed=True)
    if op == "merge":
        if _loses_names(states) and first(fields, "drop_names") != "yes":
            return _show(request, scope, op, states, id, HTTPStatus.CONFLICT)
        done = _merge(scope, states, id)
        return RedirectResponse(
            _cluster(scope, done.after.cluster_id, **done_link("merge", done.number, len(states))), HTTPStatus.SEE_OTHER
        )
    name = read_name(fields, "name")
    names = (name, None) if op == "label" else (None, name)
    namings = {state.cluster_id: names for state in states}
    named = rule(scope, Ruling(id=id), lambda made: made.label_all(namings))
    done_so = done_link(op, named.operation, len(states))
    if len(states) == 1:
        return RedirectResponse(_cluster(scope, states[0].cluster_id, **done_so), HTTPStatus.SEE_OTHER)
    return RedirectResponse(link(f"/n/{scope.namespace}/clusters", **done_so), HTTPStatus.SEE_OTHER)


def done_link(op: str, operation: int | None, count: int | None = None) -> dict[str, str | int | None]:
    """What `told` reads in the query of the page that follows."""
    return {"done": op, "count": count, "operation": operation}


def told(request: Request) -> Told | None:
    """What the change that led to this page did."""
    op, count, operation = (request.query_params.get(name, "") for name in ("done", "count", "operation"))
    if op not in _SAID or not (count or "1").isdigit() or len(count) > 3:
        return None
    number = int(operation) if operation.isascii() and operation.isdigit() and len(operation) < 16 else None
    words = _SAID[op].format(count=f"{count} cluster{'s' * (count != '1')}")
    return Told(
        words if number is None else f"{words} This is operation {number}.", number if op not in _FOR_EVER else None
    )


def _show(
    request: Request,
    scope: Scope,
    op: Op,
    states: Sequence[ClusterState],
    id: str,
    status: int = HTTPStatus.OK,
    *,
    changed: bool = False,
) -> Response:
    kept, *lost = states if op != "merge" else _by_precedence(states)
    return render(
        request,
        "change.html",
        scope.login,
        scope,
        status,
        op=op,
        states=states,
        seen=[_seen(state) for state in states],
        id=id,
        changed=changed,
        kept=kept,
        lost=lost,
        size=sum(state.size for state in states),
        loses_names=op == "merge" and _loses_names(states),
        same={(state.label if op == "label" else state.route) or "" for state in states},
        most=MAX_NAME_CHARACTERS,
        back=f"/n/{scope.namespace}/clusters" + (f"/c{states[0].cluster_id}" if len(states) == 1 else ""),
    )


def _chosen(scope: Scope, names: Sequence[str]) -> list[ClusterState]:
    """The clusters as they stand, each once. Raises Refused for none or too many, NoSuchCluster."""
    if not names:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "no cluster is selected", "select some in the list")
    if len(names) > _MOST_CHOSEN:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"select {_MOST_CHOSEN} clusters at most")
    states = [find_cluster(scope, read_cluster_id(name)) for name in names]
    return list({state.cluster_id: state for state in states}.values())


def _op_of(text: str) -> Op:
    known: dict[str, Op] = {"label": "label", "route": "route", "merge": "merge"}
    if text not in known:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "there is no such change")
    return known[text]


def _seen(state: ClusterState) -> str:
    """What people have said of a cluster, to find out whether they say something else by now."""
    return "\x1f".join((format_cluster_id(state.cluster_id), state.label or "", state.route or ""))


def _by_precedence(states: Sequence[ClusterState]) -> list[ClusterState]:
    return sorted(states, key=precedence_of)


def _loses_names(states: Sequence[ClusterState]) -> bool:
    return len({(state.label, state.route) for state in states if state.label or state.route}) > 1


def _merge(scope: Scope, states: Sequence[ClusterState], id: str) -> Outcome:
    """Merge all into the first, one after the other; returns the last of these merges."""
    kept, *rest = _by_precedence(states)
    if not rest:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "select two clusters or more to merge")
    survivor = kept.cluster_id
    for state in rest:
        merging = Merging(survivor, state.cluster_id, drops_names=True)
        key = f"{id}.{state.cluster_id}"
        done = scope.services.operating.apply(scope.namespace, merging, scope.login.name, key)
        survivor = done.after.cluster_id
    return done


def _cluster(scope: Scope, cluster_id: int, **query: str | int | None) -> str:
    return link(f"/n/{scope.namespace}/clusters/{format_cluster_id(cluster_id)}", **query)
