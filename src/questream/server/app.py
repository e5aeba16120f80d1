"""The ASGI application: the API, the page, and what both answer when something is wrong."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from questream.errors import QuestreamError
from questream.server import api, pages
from questream.server.bodiless import Bodiless
from questream.server.problems import Refused, loading, mistake, respond
from questream.server.protection import Protection
from questream.server.services import Services

logger = logging.getLogger(__name__)

# FastAPI reads the signature of a view again for each router that includes it: of all views, a tenth of a second.
_views = APIRouter()
_views.include_router(api.router)
_views.include_router(pages.router, include_in_schema=False)


def build_app(services: Services, running: Callable[[], AbstractContextManager[None]] | None = None) -> FastAPI:
    """The application; `running` holds whatever works in the background while it serves."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if running is None:
            yield
            return
        with running():
            yield

    app = FastAPI(
        title="questream",
        version=version("questream"),
        summary="Clusters of questions in flight: lists, operations, decisions as they come.",
        # Their pages fetch scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        routes=_views.routes,
    )
    app.state.services = services
    app.add_api_route("/livez", _alive, include_in_schema=False)
    app.add_api_route("/readyz", _ready, include_in_schema=False)
    static = StaticFiles(directory=str(files("questream.server.pages") / "static"))
    app.mount("/static", static)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(QuestreamError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    app.add_middleware(Protection, local_only=not services.access.needs_login)
    app.add_middleware(Bodiless)
    return app


def _answer(request: Request, refused: Refused) -> Response:
    """A refusal as a page or as problem+json, by the path."""
    if request.url.path.startswith(("/api/", "/openapi.json", "/livez", "/readyz", "/static/")):
        return respond(refused)
    return pages.show_refusal(request, refused)


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - it is registered for these alone
    return _answer(request, error)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, QuestreamError)  # noqa: S101 - it is registered for these alone
    return _answer(request, Refused.by(error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these alone
    # The body is not quoted: it may be a question's text.
    places = sorted({".".join(map(str, one["loc"])) + ": " + _validation_message(one) for one in error.errors()})
    remedy = "/openapi.json describes what each address takes"
    return _answer(request, Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(places)[:1000], remedy))


def _validation_message(one: dict[str, Any]) -> str:
    """The message of pydantic on a value, without the value."""
    match one["type"]:
        case "union_tag_invalid":
            return f"{one['ctx']['discriminator']} is none of {one['ctx']['expected_tags']}"
        case "enum" | "literal_error":
            return f"is none of {one['ctx']['expected']}"
        case "string_pattern_mismatch":
            return f"does not match {one['ctx']['pattern']}"
        case "value_error":
            return str(one["ctx"]["error"])
        case _:
            return str(one["msg"]).partition(",")[0]


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these alone
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    is_api = request.url.path.startswith("/api/")
    remedy: str | None
    match status:
        case HTTPStatus.NOT_FOUND:
            detail = "there is nothing at this address"
            remedy = "/openapi.json has all addresses" if is_api else "begin at the list of clusters"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            detail, remedy = f"this address does not take {request.method}", f"it takes {headers.get('Allow', 'GET')}"
        case _:
            detail, remedy = status.description or status.phrase, None
    return _answer(request, Refused(status, detail, remedy, headers))


async def _on_bug(request: Request, error: Exception) -> Response:
    logger.error("a request failed", extra={"path": request.url.path, "error": type(error).__name__})
    return _answer(request, mistake())


async def _alive() -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


def _ready(request: Request) -> Response:
    """The store answers, and what the first pages need is there. Kafka may be away: lists go on."""
    services: Services = request.app.state.services
    services.store.ping()
    if not services.warming.is_done:
        raise loading("the clusters that are shown first")
    return PlainTextResponse("ok\n")
