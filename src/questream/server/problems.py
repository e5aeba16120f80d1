"""Errors as problem+json (RFC 9457): a status, the fault and the remedy."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from questream.errors import (
    BadRecord,
    Contended,
    KafkaRefused,
    KafkaUnavailable,
    MissingExtra,
    ModelError,
    NamingsDiffer,
    OperationRefused,
    QuestreamError,
    RecoveryNeeded,
    StoreRefused,
    StoreUnavailable,
)
from questream.server.failures import CannotBeRead
from questream.tools.clusters import NoSuchCluster
from questream.tools.communities import NoSuchCommunity

_RETRY_SECONDS = 2

# The status of an error; one that is not listed has that of its base.
STATUSES: dict[type[QuestreamError], HTTPStatus] = {
    QuestreamError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NoSuchCluster: HTTPStatus.NOT_FOUND,
    NoSuchCommunity: HTTPStatus.NOT_FOUND,
    OperationRefused: HTTPStatus.CONFLICT,
    NamingsDiffer: HTTPStatus.CONFLICT,
    Contended: HTTPStatus.CONFLICT,
    BadRecord: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreRefused: HTTPStatus.BAD_GATEWAY,
    RecoveryNeeded: HTTPStatus.SERVICE_UNAVAILABLE,
    KafkaUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    KafkaRefused: HTTPStatus.BAD_GATEWAY,
    ModelError: HTTPStatus.SERVICE_UNAVAILABLE,
    MissingExtra: HTTPStatus.NOT_IMPLEMENTED,
    CannotBeRead: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Problem(BaseModel):
    """A fault and its remedy."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    remedy: str | None = None


class Refused(Exception):
    """A request that is answered with a problem; what is unavailable is to be asked for again after a moment.

    `links` are pages of what was done before it was refused, by what they are called.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        remedy: str | None = None,
        headers: dict[str, str] | None = None,
        links: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        again = {"Retry-After": str(_RETRY_SECONDS)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
        self.headers = again | (headers or {})
        self.links = links or {}

    @classmethod
    def by(cls, error: Refused | QuestreamError) -> Refused:
        """The problem that an error of questream's own is."""
        if isinstance(error, Refused):
            return error
        status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        first = error.problems[0]
        return cls(status, first.what, first.remedy)

    @property
    def problem(self) -> Problem:
        """As it is answered."""
        return Problem(title=self.status.phrase, status=self.status, detail=self.detail, remedy=self.remedy)


class Overtaken(Refused):
    """Somebody has changed what a request is about since it was seen."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.PRECONDITION_FAILED,
            "what this is about has changed meanwhile, or the ETag is of something else",
            "get it again, and decide with the ETag that it has now",
        )


def respond(refused: Refused) -> Response:
    """The answer of the API."""
    return Response(
        refused.problem.model_dump_json(exclude_none=True),
        refused.status,
        refused.headers,
        media_type="application/problem+json",
    )


def mistake() -> Refused:
    """An error that nobody foresaw; it is not quoted, as it may quote a question."""
    remedy = "the log of this server names the kind of error"
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a mistake of the server", remedy)


def loading(what: str) -> Refused:
    """Something is being read, and is there in a moment."""
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{what} are being read", "ask again")


def _answers(*statuses: HTTPStatus | int) -> dict[int | str, dict[str, Any]]:
    return {
        int(status): {
            "model": Problem,
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {}},
        }
        for status in statuses
    }


# For the OpenAPI document: what every view may answer, and what those do besides that change something.
ANSWERS = _answers(400, 401, 403, 404, 413, 422, 429, 502, 503)
CONFLICT = _answers(409)
CONFLICTS = _answers(409, 412)
