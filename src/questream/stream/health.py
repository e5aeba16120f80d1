"""The metrics page and the two probes: `/metrics`, `/livez`, `/readyz`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

Check = Callable[[], str | None]


class _Quiet(WSGIRequestHandler):
    """A probe each second is not worth a line in the log."""

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class HealthServer:
    """Serves on a thread of its own. A check answers None where all is well, else what is not.

    Raises OSError if the port is taken.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, live: Check, ready: Check) -> None:
        metrics = make_wsgi_app(registry)
        checks = {"/livez": live, "/readyz": ready}

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "/")
            if path == "/metrics":
                page: Iterable[bytes] = metrics(environ, start_response)
                return page
            if path in checks:
                trouble = checks[path]()
                start_response(
                    "200 OK" if trouble is None else "503 Service Unavailable",
                    [("Content-Type", "text/plain; charset=utf-8")],
                )
                return [((trouble or "ok") + "\n").encode()]
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"there are /metrics, /livez and /readyz\n"]

        self._server = make_server(host, port, app, ThreadingWSGIServer, handler_class=_Quiet)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
