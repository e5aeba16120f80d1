"""The events of clusters: which are new, spiking, quiet or back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from questream.domain import parse_cluster_id
from questream.events.kinds import KINDS
from questream.server.pages.rendering import render
from questream.server.services import InNamespace

_PAGE = 100

router = APIRouter()


@router.get("/n/{namespace}/events")
def show_events(
    request: Request, scope: InNamespace, kind: Annotated[str | None, Query(pattern=r"^[a-z]{1,32}$")] = None
) -> Response:
    """The newest of them; a cluster that lives no more has only its id."""
    catalogue = scope.services.catalogues.get(scope.namespace)
    found = scope.services.events.newest(scope.namespace, kind, _PAGE)
    return render(
        request,
        "events.html",
        scope.login,
        scope,
        events=[(event, catalogue.get(parse_cluster_id(event.cluster_id))) for event in found],
        kind=kind,
        kinds=KINDS,
        here=f"/n/{scope.namespace}/events",
    )
