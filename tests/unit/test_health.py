from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from questream.stream import health
from questream.stream.health import HealthServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HealthServer]:
    monkeypatch.setattr(health, "_CONNECTION_SECONDS", 1.0)
    monkeypatch.setattr(health, "_MOST_CONNECTIONS", 4)
    server = HealthServer("127.0.0.1", 0, CollectorRegistry(), lambda: None, lambda: None)
    yield server
    server.close()


def silent(server: HealthServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def ask(host: str, port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def test_a_connection_that_says_nothing_is_closed(server: HealthServer) -> None:
    with silent(server) as connection:
        assert connection.recv(1) == b""


def test_a_connection_that_never_ends_its_request_is_closed(server: HealthServer) -> None:
    with silent(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        assert connection.recv(1) == b""


def test_silent_connections_keep_no_probe_out(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_CONNECTION_SECONDS", 3600.0)
    connections = [silent(server) for _ in range(12)]
    try:
        assert ask("127.0.0.1", server.port, "/readyz") == "ok\n"
        # The oldest made room.
        assert connections[0].recv(1) == b""
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(("host", "asked"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("::", "127.0.0.1")])
def test_it_listens_on_ipv6(host: str, asked: str) -> None:
    server = HealthServer(host, 0, CollectorRegistry(), lambda: None, lambda: None)
    try:
        assert ask(asked, server.port, "/livez") == "ok\n"
    finally:
        server.close()
