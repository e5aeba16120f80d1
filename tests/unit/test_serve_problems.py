"""Answers to requests that ask for something that is not there, or in the wrong way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.kit.serving import client_of, listening, store_with

API = "/api/v1/namespaces/shop"
READ = [
    "/n/shop",
    "/n/shop/clusters/c1",
    "/n/shop/levels",
    "/n/shop/ask",
    "/n/nowhere",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/static/page.css",
    "/api/v1/namespaces",
    f"{API}/clusters",
    f"{API}/clusters/c1",
    f"{API}/clusters/c99",
    f"{API}/rules",
    "/nowhere",
]


@pytest.mark.parametrize("path", READ)
def test_head_is_answered_as_get_without_the_body(path: str) -> None:
    client = client_of(store_with({"shop": ["a question"]}))
    # Both with the cookie of forms, which the first answer sets.
    client.get(path)
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert dict(head.headers) == dict(whole.headers)
    assert int(head.headers["content-length"]) == len(whole.content)


def test_head_of_an_address_that_takes_only_post_is_refused_as_get() -> None:
    client = client_of(store_with({"shop": ["a question"]}))
    assert (client.head(f"{API}/operations").status_code, client.get(f"{API}/operations").status_code) == (405, 405)


@pytest.fixture
def port() -> Iterator[int]:
    """Where a server listens that speaks HTTP itself."""
    with listening(store_with({"shop": ["a question"]})) as port:
        yield port


def test_head_of_a_stream_ends_and_its_connection_answers_the_next_request(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=8)) as connection:
        lines = connection.makefile("rb")
        for path in (f"{API}/decisions", "/livez"):
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert lines.readline() == b"HTTP/1.1 200 OK\r\n"
            while lines.readline() != b"\r\n":
                pass


@pytest.mark.parametrize(
    ("path", "status", "detail", "remedy"),
    [
        ("/api/v1/nowhere", 404, "nothing at this address", "/openapi.json"),
        ("/nowhere", 404, "nothing at this address", "list of clusters"),
        (f"{API}/clusters/c99", 404, "no cluster c99", "list of clusters"),
        (f"{API}/clusters/c{'9' * 30}", 404, "no such cluster", "list of clusters"),
        (f"{API}/clusters/i5", 422, "like c17", "levels/i5"),
        (f"{API}/clusters/t5/members", 422, "like c17", "levels/t5"),
        ("/n/shop/clusters/i5", 422, "like c17", "levels/i5"),
        (f"{API}/clusters/card", 422, "like c17", "list of clusters"),
        (f"{API}/levels/c1", 404, "no intent or topic c1", "clusters/c1"),
        (f"{API}/levels/i5", 404, "no intent or topic i5", "no worker has found"),
        (f"{API}/levels/card", 422, "like i5", "list of intents and topics"),
        ("/api/v1/namespaces/nowhere/clusters", 404, "no namespace nowhere", "there are: shop"),
        ("/n/nowhere", 404, "no namespace nowhere", "there are: shop"),
        (f"{API}/operations", 405, "GET", "POST"),
        (f"{API}/clusters?limit=many", 422, "query.limit", "/openapi.json"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_do(path: str, status: int, detail: str, remedy: str) -> None:
    answer = client_of(store_with({"shop": ["a question"]})).get(path)
    assert answer.status_code == status
    if path.startswith("/api/"):
        problem = answer.json()
        assert (detail in problem["detail"], remedy in problem["remedy"]) == (True, True), problem
    else:
        assert (detail in answer.text, remedy in answer.text) == (True, True), answer.text


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("clusters?sort=oldest", ["'size'", "'doubtful'", "'meaning'"]),
        ("clusters/c1/members?order=oldest", ["'typical'", "'doubtful'", "'newest'"]),
        ("suggestions?kind=oldest", ["'merge'", "'name'", "'split'"]),
        ("levels?level=cluster", ["'intent'", "'topic'"]),
    ],
)
def test_a_value_that_is_none_of_a_list_is_refused_with_the_whole_list(query: str, allowed: list[str]) -> None:
    answer = client_of(store_with({"shop": ["a question"]})).get(f"{API}/{query}")
    assert answer.status_code == 422
    assert [value for value in allowed if value not in answer.json()["detail"]] == []
    assert "oldest" not in answer.text


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"op": "pin", "cluster_id": "i5"}, "cluster_id: does not match ^c[1-9][0-9]{0,17}$"),
        ({"op": "label", "cluster_id": "c1", "label": "a\x07b"}, "a name is one line without control characters"),
    ],
)
def test_what_is_wrong_with_a_body_is_said_to_its_end(body: dict[str, str], detail: str) -> None:
    answer = client_of(store_with({"shop": ["a question"]})).post(f"{API}/operations", json=body)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
