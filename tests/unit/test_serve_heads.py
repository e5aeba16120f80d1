"""Connections that send the head of a request slowly, or never, to a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI

from questream.server.starting import config_of
from tests.kit.servers.process import free_port
from tests.kit.serving import client_of, store_with

HEAD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
WAIT_SECONDS = 30.0


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where a server listens that waits half a second for a head."""
    monkeypatch.setattr("questream.server.heads.HEAD_SECONDS", 0.5)
    app, port = client_of(store_with({"shop": ["Where is my parcel?"]})).app, free_port()
    assert isinstance(app, FastAPI)
    server = uvicorn.Server(config_of(app, "127.0.0.1", port))
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    until = time.monotonic() + WAIT_SECONDS
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.02)
    yield port
    server.should_exit = True
    running.join(WAIT_SECONDS)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes until that, or until the server closes."""
    read = b""
    while not read.endswith(end) and (more := connection.recv(4096)):
        read += more
    return read


def is_closed(connection: socket.socket) -> bool:
    """True if the server closes it, rather than that nothing comes any more."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("begun", [b"", b"GET /li", HEAD, HEAD + b"X-More: "], ids=["none", "line", "head", "field"])
def test_a_connection_without_a_whole_head_is_closed(port: int, begun: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(begun)
        assert is_closed(connection)


def test_a_head_that_drips_gets_no_more_time(port: int) -> None:
    with connected(port) as connection:
        until = time.monotonic() + WAIT_SECONDS
        connection.sendall(HEAD)
        try:
            while time.monotonic() < until:
                connection.sendall(b"X-More: 1\r\n")
                time.sleep(0.05)
        except OSError:
            return
        pytest.fail("the server goes on reading")


def test_the_next_head_of_a_connection_has_its_time_as_well(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert read_until(connection, b"ok\n").startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD)
        assert is_closed(connection)


def test_a_head_in_two_parts_is_answered_and_its_stream_goes_on(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET /api/v1/namespaces/shop/decisions HTTP/1.1\r\n")
        time.sleep(0.1)
        connection.sendall(b"Host: 127.0.0.1\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.settimeout(1.5)
        # Nothing is told for thrice the time of a head, and the connection stands.
        with contextlib.suppress(TimeoutError):
            assert connection.recv(4096) != b""
