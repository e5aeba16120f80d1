"""Decisions as they come."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from questream.server.pages.rendering import render
from questream.server.services import InNamespace

router = APIRouter()


@router.get("/n/{namespace}/live")
def show_live(request: Request, scope: InNamespace) -> Response:
    """A page that a script fills."""
    return render(request, "live.html", scope.login, scope)
