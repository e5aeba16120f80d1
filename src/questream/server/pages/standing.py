"""What somebody says of a cluster as a whole with one button: each is an operation, which the page's history undoes."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import TypeAdapter, ValidationError
from starlette.responses import RedirectResponse, Response

from questream.domain import format_cluster_id
from questream.server.access import Role
from questream.server.api.clusters import find_cluster
from questream.server.api.operations import PinRequest, RepresentRequest, StandingRequest, operate
from questream.server.pages.forms import Form, first
from questream.server.pages.rendering import link
from questream.server.problems import Refused
from questream.server.services import InNamespace, read_cluster_id

_REQUEST: TypeAdapter[PinRequest | RepresentRequest | StandingRequest] = TypeAdapter(
    PinRequest | RepresentRequest | StandingRequest
)

router = APIRouter()


@router.post("/n/{namespace}/clusters/{cluster_id}/standing")
def decide(scope: InNamespace, cluster_id: str, fields: Form) -> Response:
    """It is pinned, muted or resolved, or that no more; or a question stands for it."""
    scope.require(Role.OPERATOR)
    name = format_cluster_id(find_cluster(scope, read_cluster_id(cluster_id)).cluster_id)
    asked = {"op": first(fields, "op"), "cluster_id": name, "id": first(fields, "id")[:64]}
    if "q" in fields:
        asked["question_id"] = first(fields, "q")
    try:
        wanted = _REQUEST.validate_python(asked)
    except ValidationError:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "there is no such change") from None
    done = operate(scope, wanted, Response(), None)
    where = f"/n/{scope.namespace}/clusters/{name}"
    return RedirectResponse(link(where, done=f"{wanted.op}.{done.operation}"), HTTPStatus.SEE_OTHER)
