"""The metrics page and the two probes: `/metrics`, `/livez`, `/readyz`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

Check = Callable[[], str | None]

# Each holds a thread. A scrape takes less than a second, and there are few who scrape.
_MOST_CONNECTIONS = 32
_CONNECTION_SECONDS = 10.0


class _Quiet(WSGIRequestHandler):
    """A probe each second is not worth a line in the log."""

    timeout = _CONNECTION_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class _BoundedServer(ThreadingWSGIServer):
    """At most so many connections, each for so long: a client that connects and sends nothing is closed.

    With one too many the oldest is closed, so that silent connections keep no probe out.
    """

    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[Any, float] = {}
        self._guard = threading.Lock()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            # `::` is all addresses, also where the machine is set to IPv6 alone.
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open[request] = time.monotonic()
            too_many = list(self._open)[:-_MOST_CONNECTIONS]
        self._hang_up(too_many)
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        super().service_actions()
        before = time.monotonic() - _CONNECTION_SECONDS
        with self._guard:
            overdue = [request for request, since in self._open.items() if since < before]
        self._hang_up(overdue)

    def close_request(self, request: Any) -> None:
        with self._guard:
            self._open.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client has gone, or its connection was closed here."""

    def _hang_up(self, requests: Iterable[Any]) -> None:
        for request in requests:
            with self._guard:
                self._open.pop(request, None)
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class _BoundedServer6(_BoundedServer):
    address_family = socket.AF_INET6


class HealthServer:
    """Serves on a thread of its own. A check answers None where all is well, else what is not.

    `host` may be an IPv6 address; `::` is all addresses of the machine. Raises OSError if the port is taken.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, live: Check, ready: Check) -> None:
        self.show(registry, live, ready)
        host = host.removeprefix("[").removesuffix("]")
        server_class = _BoundedServer6 if _is_ipv6(host, port) else _BoundedServer
        self._server = make_server(host, port, self._answer, server_class, handler_class=_Quiet)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def show(self, registry: CollectorRegistry, live: Check, ready: Check, remark: Check = lambda: None) -> None:
        """From now on serve this; `/readyz` adds `remark` where all is well."""
        self._remark = remark
        self._metrics = make_wsgi_app(registry)
        self._checks = {"/livez": live, "/readyz": ready}

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            page: Iterable[bytes] = self._metrics(environ, start_response)
            return page
        check = self._checks.get(path)
        plain = [("Content-Type", "text/plain; charset=utf-8")]
        if check is None:
            start_response("404 Not Found", plain)
            return [b"there are /metrics, /livez and /readyz\n"]
        trouble = check()
        start_response("200 OK" if trouble is None else "503 Service Unavailable", plain)
        if trouble is None:
            remark = self._remark() if check is self._checks["/readyz"] else None
            return [f"ok; {remark}\n".encode() if remark else b"ok\n"]
        return [f"{trouble}\n".encode()]


def _is_ipv6(host: str, port: int) -> bool:
    """True if a host has IPv6 addresses alone; `localhost` has both, and probes expect the older one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return socket.AF_INET not in {family for family, *_ in found}
