"""A receiver of HTTP requests on this machine, which a test may make slow, refusing or dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self


class Received(NamedTuple):
    """A request: its path, headers by lower-case name, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """What the receiver answers; `byte_seconds` is the pause before each byte of it, headers included."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    byte_seconds: float = 0.0


class HttpReceiver:
    """A server of its own on the loopback; `reply` gives the answer to a request, on a thread of the server."""

    def __init__(self, reply: Callable[[Received], Reply] = lambda _: Reply()) -> None:
        self.reply = reply
        self.received: list[Received] = []
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address, the same after a new start."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, for the first time or again."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver.received.append(request)
                reply = receiver.reply(request)
                lines = [f"HTTP/1.1 {reply.status} Said", f"Content-Length: {len(reply.body)}", "Connection: close"]
                lines += [f"{name}: {value}" for name, value in reply.headers]
                with suppress(OSError):
                    self._send("\r\n".join([*lines, "", ""]).encode() + reply.body, reply.byte_seconds)

            def _send(self, answer: bytes, byte_seconds: float) -> None:
                if not byte_seconds:
                    self.wfile.write(answer)
                    return
                for byte in answer:
                    time.sleep(byte_seconds)
                    self.wfile.write(bytes([byte]))

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Let the port go: who connects is refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
