"""What an operation would do, as far as that can be told now, with the button that does it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from fastapi import Request
from starlette.responses import Response

from questream.errors import QuestreamError
from questream.server.api.history import Committed
from questream.server.api.operations import MAX_REASON_CHARACTERS
from questream.server.pages.rendering import render
from questream.server.problems import Refused
from questream.server.services import Scope

# Of the last decisions: some seconds.
LOOKED_AT = 1000


def previewed(ask: Callable[[int], Committed], looked_at: int = LOOKED_AT) -> tuple[Committed, str | None]:
    """An operation that is tried on so many decisions, on none where that fails: then why stands beside it.

    Raises what `ask` raises for an operation that cannot be.
    """
    try:
        return ask(looked_at), None
    except (Refused, QuestreamError) as error:
        # What is refused for itself is refused again.
        return ask(0), str(error)


def show_preview(
    request: Request,
    scope: Scope,
    ask: Callable[[int], Committed],
    *,
    action: str,
    title: str,
    verb: str,
    back: str,
    looked_at: int = LOOKED_AT,
    meaning: str | None = None,
    is_final: bool = False,
) -> Response:
    """The page of an operation that is not done yet: its form goes to `action` and asks for a reason.

    It is tried on `looked_at` of the last decisions: 0 where no question can move. `meaning` says what it is for,
    `verb` stands on its button; `is_final` asks whether it is meant, as no undo follows.
    """
    found, why_not = previewed(ask, looked_at)
    return render(
        request,
        "preview.html",
        scope.login,
        scope,
        action=action,
        title=title,
        meaning=meaning,
        verb=verb,
        is_final=is_final,
        back=back,
        id=secrets.token_urlsafe(16),
        found=found,
        why_not=why_not,
        most=MAX_REASON_CHARACTERS,
    )
