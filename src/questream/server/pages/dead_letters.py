"""Dead letters: looked at, and sent back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.server.access import Role
from questream.server.api.dead_letters import as_dead_letter
from questream.server.dead_letters import MOST_SHOWN
from questream.server.pages.forms import Form, first
from questream.server.pages.rendering import link, render
from questream.server.services import LoggedIn, Serving, require_everywhere

_PAGE = 100

router = APIRouter()


@router.get("/dead-letters")
def list_letters(
    request: Request, services: Serving, login: LoggedIn, reason: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """The newest ones, by reason."""
    require_everywhere(login, Role.VIEWER)
    found = services.letters.letters().value
    chosen = [one for one in found.newest if not reason or one[0].reason == reason][:_PAGE]
    sent = request.query_params.get("sent", "")
    return render(
        request,
        "letters.html",
        login,
        letters=[
            (letter.timestamp, as_dead_letter(letter, settled, login.reads_texts())) for letter, settled in chosen
        ],
        found=found,
        most=MOST_SHOWN,
        reason=reason,
        replays=login.may(Role.ADMIN),
        sent=int(sent) if sent.isdigit() and len(sent) < 10 else None,
    )


@router.post("/dead-letters/preview")
def preview_replay(request: Request, services: Serving, login: LoggedIn, fields: Form) -> Response:
    """The dead letters that a replay would send."""
    require_everywhere(login, Role.ADMIN)
    reason = first(fields, "reason")[:100]
    count = services.letters.count(reason or None)
    return render(request, "replay.html", login, reason=reason, count=count)


@router.post("/dead-letters/replay")
def replay_letters(services: Serving, login: LoggedIn, fields: Form) -> Response:
    """Send them back, and show how many."""
    require_everywhere(login, Role.ADMIN)
    count = services.letters.replay(first(fields, "reason")[:100] or None)
    return RedirectResponse(link("/dead-letters", sent=count.sent or "0"), 303)
