"""Operations on intents and topics: the effect is shown first, then the operation is done."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import RedirectResponse, Response

from questream.server.access import Role
from questream.server.api.communities import AnyRequest, MoveRequest, decide_on_levels, named_in
from questream.server.api.communities import Request as LevelsRequest
from questream.server.pages.changes import done_link
from questream.server.pages.forms import Form, read_id, read_reason, read_seen
from questream.server.pages.previews import show_preview
from questream.server.pages.rendering import link
from questream.server.problems import Overtaken, Refused
from questream.server.services import InNamespace, Scope

_REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(LevelsRequest)
_TITLES = {
    "merge": "Merge {one} and {other}",
    "separate": "Keep {one} and {other} apart",
    "pin": "Pin {one}",
    "unpin": "Unpin {one}",
}
_MEANINGS = {
    "move": "They stay there in every later run of intents and topics.",
    "merge": "They stay one in every later run of intents and topics.",
    "separate": "They are never merged, and what each contains stays there.",
    "pin": "What it contains stays in it.",
    "unpin": "What it contains may move elsewhere in a later run.",
}

Text = Annotated[str, Query(max_length=2000)]

router = APIRouter()


def _asked(
    scope: InNamespace,
    op: Text,
    level_id: Text = "",
    other_id: Text = "",
    ids: Text = "",
    target_id: Text = "",
    keep: Text = "",
) -> AnyRequest:
    """The fields of the API, with a space between ids. Raises Refused for a viewer, and for what makes no request."""
    scope.require(Role.OPERATOR)
    texts = {"level_id": level_id, "other_id": other_id, "target_id": target_id, "keep": keep}
    given: dict[str, object] = {name: text.strip() for name, text in texts.items() if text.strip()}
    if ids.strip():
        given["ids"] = ids.split()
    try:
        return _REQUEST.validate_python({"op": op, **given})
    except ValidationError:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "there is no such change",
            "a cluster is c and a number, an intent i and a number, a topic t and a number",
        ) from None


Asked = Annotated[AnyRequest, Depends(_asked)]


@router.get("/n/{namespace}/decide/levels")
def show(request: Request, scope: InNamespace, asked: Asked) -> Response:
    """The effect on clusters and questions."""
    return _show(request, scope, asked)


@router.post("/n/{namespace}/decide/levels")
def do(request: Request, scope: InNamespace, asked: Asked, fields: Form) -> Response:
    """Do it, and go back to the tree. What somebody else has changed meanwhile is shown first."""
    how = {"id": read_id(fields), "reason": read_reason(fields)}
    try:
        done = decide_on_levels(scope, asked.model_copy(update=how), read_seen(fields))
    except Overtaken:
        return _show(request, scope, asked, changed=True, reason=how["reason"])
    where = f"/n/{scope.namespace}/levels"
    return RedirectResponse(link(where, **done_link("levels", [done.operation])), HTTPStatus.SEE_OTHER)


def _show(request: Request, scope: Scope, asked: AnyRequest, *, changed: bool = False, reason: str = "") -> Response:
    return show_preview(
        request,
        scope,
        lambda looked_at: decide_on_levels(scope, asked.model_copy(update={"dry_run": True, "questions": looked_at})),
        action=f"{request.url.path}?{request.url.query}",
        title=_title(asked),
        meaning=_MEANINGS[asked.op],
        verb="Apply",
        back=f"/n/{scope.namespace}/levels",
        about=named_in(asked),
        changed=changed,
        reason=reason,
    )


def _title(asked: AnyRequest) -> str:
    if isinstance(asked, MoveRequest):
        target = "one of their own" if asked.target_id == "own" else asked.target_id
        return f"Move {', '.join(asked.ids)} to {target}"
    return _TITLES[asked.op].format(one=asked.level_id, other=getattr(asked, "other_id", ""))
