"""What becomes of a webhook whose receiver speaks HTTP badly, or something else, on real sockets."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from questream.watch.receiver import Outcome, Receiver
from questream.watch.trust import trusted_certificates
from tests.conftest import built
from tests.kit.servers.certificates import Authority

# Long enough for a busy machine, and a limit for what would never end.
PATIENCE_SECONDS = 3.0
WAIT_SECONDS = 60.0
OK = b"HTTP/1.1 200 OK\r\n"

Behaviour = Callable[[socket.socket], None]


@contextmanager
def receiver_that(behaves: Behaviour) -> Iterator[int]:
    """A port whose connections are each handled so, on a thread; each is closed after that."""
    listening = socket.create_server(("127.0.0.1", 0))

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(WAIT_SECONDS)
            behaves(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.close()


def read_request(connection: socket.socket) -> bytes:
    """Up to the two bytes of the body."""
    read = b""
    while not read.endswith(b"{}"):
        more = connection.recv(65_536)
        if not more:
            break
        read += more
    return read


def says(*answer: bytes) -> Behaviour:
    """Answers a request with this, then closes."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        for part in answer:
            connection.sendall(part)

    return behave


def repeats(begin: bytes, again: bytes) -> Behaviour:
    """Answers with something that never ends."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin)
        while True:
            connection.sendall(again)

    return behave


def hangs(connection: socket.socket) -> None:
    """Takes a request, and says nothing until the other side goes."""
    while connection.recv(65_536):
        pass


def resets(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def asked(port: int, scheme: str = "http") -> Outcome:
    started = time.monotonic()
    outcome = Receiver(f"{scheme}://127.0.0.1:{port}/secret-path", PATIENCE_SECONDS).send(b"{}", {})
    assert time.monotonic() - started < WAIT_SECONDS
    return outcome


@pytest.mark.parametrize(
    "behaves",
    [
        says(),
        resets,
        says(b"SSH-2.0-OpenSSH_9.2\r\n"),
        says(b"\x16\x03\x01\x02\x00\xff\xfe"),
        says(OK[:9]),
        says(b"HTTP/1.1 999999 What\r\n\r\n"),
        says(OK + b"Content-Length: many\r\n\r\n"),
        repeats(OK, b"X-More: " + b"x" * 1000 + b"\r\n"),
        repeats(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        repeats(b"", b"\x00" * 65_536),
        hangs,
    ],
    ids=["closes", "resets", "ssh", "bytes", "half", "status", "length", "headers", "hints", "zeros", "hangs"],
)
def test_a_receiver_that_speaks_badly_is_asked_again_and_its_address_is_not_told(behaves: Behaviour) -> None:
    with receiver_that(behaves) as port:
        outcome = asked(port)
    assert outcome.fault is not None
    assert outcome.may_pass
    assert "secret-path" not in outcome.fault
    assert str(port) not in outcome.fault


@pytest.mark.parametrize(
    "behaves",
    [
        says(OK + b"Content-Length: 1000000\r\n\r\nfew"),
        repeats(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        repeats(OK + b"Content-Encoding: gzip\r\n\r\n", b"\x1f\x8b" + b"\x00" * 65_536),
        says(b"HTTP/1.1 103 Early Hints\r\n\r\n", OK + b"\r\n"),
        says(b"HTTP/1.0 204\r\n\r\n"),
    ],
    ids=["cut", "endless", "gzip", "hints", "old"],
)
def test_no_body_of_an_answer_is_waited_for(behaves: Behaviour) -> None:
    with receiver_that(behaves) as port:
        assert asked(port) == Outcome()


def test_a_date_to_wait_for_is_obeyed_and_bounded() -> None:
    def waits(date: str) -> float:
        with receiver_that(says(f"HTTP/1.1 503 No\r\nRetry-After: {date}\r\n\r\n".encode())) as port:
            outcome = asked(port)
        assert (outcome.fault, outcome.may_pass) == ("HTTP 503", True)
        return outcome.wait_seconds

    def in_seconds(seconds: float) -> str:
        return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))

    assert 0 < waits(in_seconds(600)) <= 600
    assert waits(in_seconds(1_000_000)) == 3600
    for past in (in_seconds(-600), "Wed, 21 Oct 2015 07:28:00 -0000", "never", "Wed, 99 Oct 2999 07:28:00 GMT", "-5"):
        assert waits(past) == 0


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """That of a server of this machine, by an authority that nobody knows."""
    authority = built(lambda: Authority(tmp_path))
    issued = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain, issued.key)
    return context


def test_a_receiver_with_a_certificate_of_nobody_gets_nothing(certificate: ssl.SSLContext) -> None:
    read: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        with suppress(ssl.SSLError), certificate.wrap_socket(connection, server_side=True) as encrypted:
            read.append(encrypted.recv(65_536))

    with receiver_that(behave) as port:
        outcome = asked(port, "https")
    assert outcome == Outcome("ConnectError")
    assert not any(read)


@pytest.mark.parametrize("behaves", [hangs, says(OK + b"\r\n"), resets], ids=["hangs", "plain", "resets"])
def test_a_receiver_that_speaks_no_tls_is_told(behaves: Behaviour) -> None:
    with receiver_that(behaves) as port:
        outcome = asked(port, "https")
    assert outcome.fault is not None
    assert outcome.may_pass
    assert "secret-path" not in outcome.fault


def test_certificates_are_read_once_and_not_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(*given: Any, **named: Any) -> None:
        read.append(given)
        load(*given, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    trusted_certificates.cache_clear()
    with receiver_that(says(OK + b"content-length: 0\r\n\r\n")) as port:
        receiver = Receiver(f"http://127.0.0.1:{port}", PATIENCE_SECONDS)
        assert [receiver.send(b"{}", {}) for _ in range(3)] == [Outcome()] * 3
    assert len(read) == 1
