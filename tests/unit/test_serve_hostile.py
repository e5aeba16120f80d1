"""Requests that no page and no program of good will sends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from questream.server import protection
from tests.kit.serving import client_of, listening, store_with

OPERATIONS = "/api/v1/namespaces/shop/operations"


@pytest.mark.parametrize("host", ["[::1", "[", "127.0.0.1.elsewhere.example", "elsewhere.example", ""])
def test_a_host_that_is_not_of_this_machine_is_refused_whatever_it_looks_like(host: str) -> None:
    answer = client_of(store_with({"shop": ["a question"]})).get("/api/v1/namespaces", headers={"Host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("origin", ["http://[", "null", "http://elsewhere.example", "127.0.0.1:8464", ""])
def test_an_origin_that_is_not_this_server_is_refused_whatever_it_looks_like(origin: str) -> None:
    body = {"op": "pin", "cluster_id": "c1"}
    client = client_of(store_with({"shop": ["a question"]}))
    assert client.post(OPERATIONS, json=body, headers={"Origin": origin}).status_code == 403
    assert client.post(OPERATIONS, json=body, headers={"Origin": "http://127.0.0.1:8464"}).status_code == 200


@pytest.mark.parametrize("name", ["c\u0661", "c\u00b2", "c\uff11"])
def test_digits_of_other_scripts_are_no_id(name: str) -> None:
    client = client_of(store_with({"shop": ["a question"]}))
    assert client.get(f"/api/v1/namespaces/shop/clusters/{name}").status_code == 422


def test_what_was_sent_is_not_quoted_where_it_is_refused() -> None:
    client = client_of(store_with({"shop": ["a question"]}))
    for op in ("my secret", ["my secret"], {"my secret": 1}):
        answer = client.post(OPERATIONS, json={"op": op, "cluster_id": "c1"})
        assert answer.status_code == 422
        assert "secret" not in answer.text
        assert "op" in answer.json()["detail"]


@pytest.fixture
def port() -> Iterator[int]:
    """Where a server listens that speaks HTTP itself."""
    with listening(store_with({"shop": ["a question"]})) as port:
        yield port


def begun(port: int, framing: str) -> socket.socket:
    """A connection on which a request with a body was begun."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST {OPERATIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_a_body_that_never_ends_does_not_hold_its_connection(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "BODY_SECONDS", 0.2)
    with closing(begun(port, "Content-Length: 100")) as connection:
        connection.sendall(b"{")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_without_a_length_is_refused_where_it_is_too_long(port: int) -> None:
    with closing(begun(port, "Transfer-Encoding: chunked")) as connection:
        connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n1\r\n \r\n")
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_stream_without_a_body_is_not_ended_by_the_time_for_bodies(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "BODY_SECONDS", 0.1)
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(b"GET /api/v1/namespaces/shop/decisions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        lines = connection.makefile("rb")
        began = time.monotonic()
        # The first beat comes long after the time for bodies.
        while not (line := lines.readline()).startswith(b": beat"):
            assert line, "the stream ended"
        assert time.monotonic() - began > 1
