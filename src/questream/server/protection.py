"""The protection of every request before its route: headers of answers, size of bodies, no foreign pages."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from questream.server.limits import MAX_BODY_BYTES
from questream.server.problems import Refused, respond

# Scripts and styles are files of this server, and nothing is fetched from elsewhere.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# A body has 64 KiB at most: one that takes longer holds a connection.
BODY_SECONDS = 10.0
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Protection:
    """The outermost layer. `local_only`: nobody logs in, so that only names of this machine are answered for.

    Without that another site could have its own name lead to the loopback, and read what the page shows.
    """

    def __init__(self, app: ASGIApp, *, local_only: bool) -> None:
        self._app = app
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await respond(refusal)(scope, receive, send_with_headers)
            return
        await self._app(scope, _bounded(receive), send_with_headers)

    def _refusal(self, scope: Scope) -> Refused | None:
        headers = Headers(scope=scope)
        if self._local_only and _name_of(f"//{headers.get('host', '')}") not in _LOCAL_NAMES:
            return Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server answers for names of its own machine alone",
                "ask for it as 127.0.0.1 or localhost, or set serve.tokens_file",
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return too_large()
        if scope["method"] not in _SAFE_METHODS and comes_from_elsewhere(headers):
            return Refused(HTTPStatus.FORBIDDEN, "the request comes from a page of another site")
        return None


def comes_from_elsewhere(headers: Headers) -> bool:
    """True if a page of another site sent this: a browser says so; a token is never sent by itself."""
    if "authorization" in headers:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _name_of(address: str) -> str | None:
    """The name of a host in an address, None for what is no address."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def too_large() -> Refused:
    """A body that nothing here needs."""
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {MAX_BODY_BYTES} bytes at most")


def _bounded(receive: Receive) -> Receive:
    """Counts what comes without a length, and waits for a body so long at most.

    Raises HTTPException, the one that FastAPI does not take for a body that cannot be read.
    """
    read, ends_at = 0, asyncio.get_running_loop().time() + BODY_SECONDS
    is_whole = False

    async def bounded() -> Message:
        nonlocal read, is_whole
        if is_whole:
            # The next message is the end of the connection.
            return await receive()
        try:
            async with asyncio.timeout_at(ends_at):
                message = await receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
        read += len(message.get("body", b""))
        if read > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers={"Connection": "close"})
        is_whole = not message.get("more_body", False)
        return message

    return bounded
