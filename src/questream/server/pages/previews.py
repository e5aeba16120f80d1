"""The preview of an operation, as far as it is known now, with the button that applies it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from http import HTTPStatus

from fastapi import Request
from starlette.responses import Response

from questream.errors import QuestreamError
from questream.server.api.conditions import tags_of
from questream.server.api.history import Committed
from questream.server.api.operations import MAX_REASON_CHARACTERS
from questream.server.pages.rendering import render
from questream.server.problems import Refused
from questream.server.services import Scope

# Of the last decisions: some seconds.
LOOKED_AT = 1000


def previewed(ask: Callable[[int], Committed], looked_at: int = LOOKED_AT) -> tuple[Committed, str | None]:
    """An operation that is tried on so many decisions; where that fails, on none, with the reason beside it.

    Raises what `ask` raises for an operation that cannot be.
    """
    try:
        return ask(looked_at), None
    except (Refused, QuestreamError) as error:
        # An operation that is refused for itself is refused again.
        return ask(0), str(error)


def show_preview(
    request: Request,
    scope: Scope,
    *asks: Callable[[int], Committed],
    action: str,
    title: str,
    verb: str,
    back: str,
    about: Iterable[str],
    looked_at: int = LOOKED_AT,
    meaning: str | None = None,
    is_final: bool = False,
    changed: bool = False,
    reason: str = "",
) -> Response:
    """The page of operations that are not done yet: its form goes to `action` and asks for a reason.

    One alone is tried on `looked_at` of the last decisions: 0 where no question can move. `meaning` says what it is
    for, `verb` is on its button; `is_final` asks whether it is meant, as no undo follows. The form sends the entity
    tags of what it is `about`, by the names of `tags_of`; with `changed` they were others when somebody wanted to do
    it, for the `reason` that the form has again.
    """
    # Before it is tried: what changes meanwhile is noticed.
    seen = ", ".join(tags_of(scope, about))
    found = [previewed(ask, looked_at if len(asks) == 1 else 0) for ask in asks]
    return render(
        request,
        "preview.html",
        scope.login,
        scope,
        HTTPStatus.CONFLICT if changed else HTTPStatus.OK,
        action=action,
        title=title,
        meaning=meaning,
        verb=verb,
        is_final=is_final,
        back=back,
        id=secrets.token_urlsafe(16),
        found=found,
        seen=seen,
        changed=changed,
        reason=reason,
        most=MAX_REASON_CHARACTERS,
    )
