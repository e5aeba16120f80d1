"""The way in: the first page, and logging in with a token."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.server.access import COOKIE, NotLoggedIn
from questream.server.pages.forms import Form, first
from questream.server.pages.rendering import render, set_cookie
from questream.server.problems import Refused
from questream.server.services import LoggedIn, Serving, count_failure, visible_namespaces

_LOGIN_SECONDS = 12 * 3600

router = APIRouter()


@router.get("/")
def enter(request: Request, services: Serving, login: LoggedIn) -> Response:
    """The clusters of the settings' namespace, or of the first that the login may see."""
    names = visible_namespaces(services, login)
    if not names:
        return render(request, "empty.html", login)
    usual = services.settings.clusters.namespace
    name = usual if usual in names else names[0]
    return RedirectResponse(f"/n/{name}/clusters", HTTPStatus.SEE_OTHER)


@router.get("/login")
def show_login(request: Request, services: Serving, next: Annotated[str, Query(max_length=500)] = "/") -> Response:
    """The form for a token."""
    if not services.access.has_tokens:
        raise Refused(HTTPStatus.NOT_FOUND, "there are no tokens to log in with", "the pages need none of them")
    return render(request, "login.html", None, None, next=next, failed=False)


@router.post("/login")
def log_in(request: Request, services: Serving, fields: Form) -> Response:
    """Keep a token that is known in a cookie, for twelve hours."""
    peer = request.client.host if request.client else ""
    token, following = first(fields, "token"), first(fields, "next")
    try:
        services.access.login_of({"authorization": f"Bearer {token}"}, {}, peer)
    except NotLoggedIn:
        count_failure(services, peer)
        return render(request, "login.html", None, None, HTTPStatus.UNAUTHORIZED, next=following, failed=True)
    response = RedirectResponse(_own_path(following), HTTPStatus.SEE_OTHER)
    set_cookie(request, response, COOKIE, token, _LOGIN_SECONDS)
    return response


@router.post("/logout")
def log_out(fields: Form) -> Response:
    """Forget the token."""
    del fields
    response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _own_path(path: str) -> str:
    """A path of this server; what leads elsewhere becomes the first page."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_own else "/"
