"""How a server of the page begins."""

from __future__ import annotations

import socket
from unittest.mock import patch

import uvicorn

from questream.server import starting
from questream.settings import Settings


def test_the_address_in_the_log_is_listened_on_before_the_loop_runs() -> None:
    connected: list[tuple[str, int]] = []

    def connect(_server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        with socket.create_connection(sockets[0].getsockname(), timeout=5) as client:
            connected.append(client.getpeername())
        sockets[0].close()

    settings = Settings.model_validate({"serve": {"port": 0}})
    with patch.object(uvicorn.Server, "run", connect), patch("questream.server.starting.signal.signal"):
        starting.serve(settings)
    assert len(connected) == 1
