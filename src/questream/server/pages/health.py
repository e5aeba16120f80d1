"""The page of the stream's health."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from questream.errors import QuestreamError
from questream.server.access import Role
from questream.server.api.health import rates_of
from questream.server.pages.rendering import render
from questream.server.problems import Refused
from questream.server.services import LoggedIn, Serving, require_everywhere

router = APIRouter()


@router.get("/health")
def show_health(request: Request, services: Serving, login: LoggedIn) -> Response:
    """Rates, lag by partition, and the doctor's findings. A figure that is missing says why, beside the rest."""
    require_everywhere(login, Role.VIEWER)
    lag = findings = trouble = None
    try:
        lag = services.lag.get()
    except (Refused, QuestreamError) as error:
        trouble = str(error)
    if login.may(Role.OPERATOR):
        try:
            findings = services.findings.get(2.0)
        except Refused:
            findings = None
    return render(
        request,
        "health.html",
        login,
        lag=lag,
        trouble=trouble,
        rates=rates_of(services),
        findings=findings,
        operates=login.may(Role.OPERATOR),
        follows=services.catalogues.is_following(),
        topic=services.settings.kafka.input_topic,
    )
