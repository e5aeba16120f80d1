"""The path that the fault tests cut: what each of its faults looks like from both ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.kit.servers import KafkaServer, Link, Way, create_topics
from tests.kit.servers.process import LOOPBACK, free_port
from tests.kit.stream import Reader, question, send, wait_until

WAIT_SECONDS = 20.0


class Echo:
    """Answers each line with itself, and remembers it."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb", buffering=0) as lines:
            try:
                for line in lines:
                    self.heard.append(line)
                    lines.write(line)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    with Link(echo.port) as path:
        yield path


@pytest.fixture
def connect(link: Link) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection((LOOPBACK, link.port), timeout=WAIT_SECONDS))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def ask(client: socket.socket, line: bytes) -> bytes:
    client.sendall(line)
    return client.recv(100)


def silent(client: socket.socket, seconds: float = 0.3) -> bool:
    client.settimeout(seconds)
    try:
        client.recv(100)
    except TimeoutError:
        return True
    finally:
        client.settimeout(WAIT_SECONDS)
    return False


def test_a_healthy_link_carries_both_ways_and_passes_the_end_on(
    echo: Echo, connect: Callable[[], socket.socket]
) -> None:
    client = connect()
    assert ask(client, b"one\n") == b"one\n"
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
    assert echo.heard == [b"one\n"]


def test_a_cut_link_resets_and_refuses_until_it_is_healed(link: Link, connect: Callable[[], socket.socket]) -> None:
    client = connect()
    assert ask(client, b"one\n") == b"one\n"
    link.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    with pytest.raises(ConnectionRefusedError):
        connect()
    link.heal()
    assert ask(connect(), b"two\n") == b"two\n"


@pytest.mark.parametrize("way", list(Way))
def test_a_half_open_link_loses_one_way_in_silence_and_resets_when_healed(
    link: Link, echo: Echo, connect: Callable[[], socket.socket], way: Way
) -> None:
    client = connect()
    link.half_open([way])
    client.sendall(b"one\n")
    assert silent(client)
    fresh = connect()
    fresh.sendall(b"two\n")
    assert silent(fresh)
    assert sorted(echo.heard) == ([] if way is Way.TO_SERVER else [b"one\n", b"two\n"])
    link.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert ask(connect(), b"three\n") == b"three\n"


def test_what_is_held_up_arrives_late_also_when_its_sender_has_gone(
    link: Link, echo: Echo, connect: Callable[[], socket.socket]
) -> None:
    staying, leaving = connect(), connect()
    assert ask(staying, b"before\n") == b"before\n"
    link.hold_up()
    staying.sendall(b"late\n")
    leaving.sendall(b"from one who left\n")
    leaving.close()
    assert silent(staying)
    assert echo.heard == [b"before\n"]
    link.heal()
    assert staying.recv(100) == b"late\n"
    wait_until(lambda: b"from one who left\n" in echo.heard, "the sender's last words arrive")


def test_a_slow_link_takes_its_time_and_keeps_the_order(link: Link, connect: Callable[[], socket.socket]) -> None:
    client = connect()
    link.delay(0.2)
    started = time.monotonic()
    assert ask(client, b"one\n") == b"one\n"
    assert time.monotonic() - started >= 0.4
    client.sendall(b"two\n")
    link.delay(0)
    client.sendall(b"three\n")
    with client.makefile("rb") as lines:
        assert [lines.readline(), lines.readline()] == [b"two\n", b"three\n"]


def test_a_link_to_a_server_that_is_down_resets(link: Link, echo: Echo, connect: Callable[[], socket.socket]) -> None:
    with socket.create_server((LOOPBACK, 0)) as gone:
        port = gone.getsockname()[1]
    link.server_port = port
    with pytest.raises(ConnectionResetError):
        connect().recv(100)
    link.server_port = echo.port
    assert ask(connect(), b"one\n") == b"one\n"


def test_a_kafka_client_that_starts_at_a_link_stays_on_it(kafka_factory: Callable[..., KafkaServer]) -> None:
    with Link(free_port()) as link:
        kafka = kafka_factory(links=[link])
        topics = create_topics(kafka.bootstrap_servers)
        reader = Reader(f"{LOOPBACK}:{link.port}", topics.input_topic)
        with reader:
            send(kafka.bootstrap_servers, topics.input_topic, [question(1, "one")])
            reader.until(1)
            link.cut()
            send(kafka.bootstrap_servers, topics.input_topic, [question(2, "two")])
            assert not any(reader.poll() for _ in range(5))
            link.heal()
            reader.until(2)
