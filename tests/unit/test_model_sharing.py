"""One model for many processes: token ids go to its owner and vectors come back, whichever side ends."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder import Encoder
from questream.encoder.sharing import exchange as exchange_module
from questream.encoder.sharing.exchange import Exchange, Request
from questream.encoder.sharing.owner import ModelOwner
from questream.encoder.sharing.remote import Channel, portable
from questream.errors import ModelOwnerGone
from tests.kit.vectors import HashForward, hash_encoder

SPAWN = multiprocessing.get_context("spawn")
DIMENSION = 64


class WatchedForward(HashForward):
    """Notes how many texts each sub-batch had."""

    def __init__(self, batch_tokens: int) -> None:
        super().__init__()
        self.batch_tokens = batch_tokens
        self.calls: list[list[int]] = []

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        self.calls.append([len(batch) for batch in batches])
        return super().__call__(batches)


class Sharing:
    """An owner in a thread of this process, and channels to it."""

    def __init__(self, *encoders: Encoder) -> None:
        self.encoders = encoders
        self.owner = ModelOwner(encoders)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def connect(self, texts: int = 8, tokens: int = 256) -> tuple[Connection, Exchange]:
        """The worker's end of a connection, and its exchange."""
        ours, theirs = Pipe()
        exchange = Exchange.create(texts, tokens, DIMENSION)
        self.owner.admit(ours, exchange)
        return theirs, exchange

    def encoder(self, model: int = 0, texts: int = 8, tokens: int = 256) -> Encoder:
        """A model as a worker sees it."""
        return Channel(*self.connect(texts, tokens)).encoder(model, portable(self.encoders[model]))

    def receive(self) -> None:
        """Take in what has come, or comes in a moment."""
        for connection in multiprocessing.connection.wait(self.owner.connections, timeout=0.05):
            assert isinstance(connection, Connection)
            self.owner.receive(connection)

    def embed_all(self) -> None:
        """Embed all that waits."""
        while self.owner.asked:
            self.owner.embed_next()

    def start(self) -> None:
        """Serve from now on in a thread."""
        self._thread.start()

    def end(self) -> None:
        """Serve no more."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.owner.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            self.receive()
            self.embed_all()


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    shared = Sharing(
        replace(hash_encoder(), forward=WatchedForward(40)),
        replace(hash_encoder("former"), forward=WatchedForward(40)),
    )
    yield shared
    shared.end()


def calls(sharing: Sharing, model: int = 0) -> list[list[int]]:
    forward = sharing.encoders[model].forward
    assert isinstance(forward, WatchedForward)
    return forward.calls


def ask(connection: Connection, exchange: Exchange, texts: Sequence[str], model: int = 0) -> Matrix:
    """What a worker does to ask, without waiting for the answer; returns what it has to be."""
    encoder = hash_encoder()
    ids = [tokens.ids for tokens in encoder.tokenise(texts)]
    exchange.write_texts(ids)
    connection.send(Request(model, len(ids), sum(map(len, ids))))
    return encoder.encode(texts)


def test_vectors_by_an_owner_are_the_models_own(sharing: Sharing) -> None:
    remote, former = sharing.encoder(), sharing.encoder(1)
    sharing.start()
    texts = ["where is my card", "a card", "where is my card", "no money came back to me", "x"]
    assert np.array_equal(remote.encode(texts), sharing.encoders[0].encode(texts))
    assert np.array_equal(former.encode(texts[:2]), sharing.encoders[1].encode(texts[:2]))
    assert remote.encode([]).shape == (0, DIMENSION)
    assert (remote.name, remote.dimension, former.name) == ("hash-of-words", DIMENSION, "former")


def test_texts_beyond_the_exchange_go_in_parts(sharing: Sharing) -> None:
    remote = sharing.encoder(texts=2, tokens=30)
    sharing.start()
    texts = ["a b", "c", "twenty letters and so on", "e", "f", "g", "as many again and more"]
    assert np.array_equal(remote.encode(texts), sharing.encoders[0].encode(texts))


def test_threads_of_a_worker_ask_one_after_the_other(sharing: Sharing) -> None:
    remote = sharing.encoder()
    sharing.start()
    texts = [[f"{word} {other}" for other in "pqr"] for word in "abcdefgh"]
    found: dict[int, Matrix] = {}

    def embed(at: int) -> None:
        for _ in range(20):
            found[at] = remote.encode(texts[at])
            assert np.array_equal(found[at], hash_encoder().encode(texts[at]))

    threads = [threading.Thread(target=embed, args=(at,)) for at in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(texts)


def test_small_requests_go_through_the_model_together_and_each_gets_its_own(sharing: Sharing) -> None:
    connected = [sharing.connect() for _ in range(5)]
    expected = [ask(*worker, [f"text of {name}", name]) for worker, name in zip(connected, "abcde", strict=True)]
    while len(sharing.owner._asked) < len(connected):
        sharing.receive()
    sharing.embed_all()
    # Ten tokens each, forty at once.
    assert [sum(call) for call in calls(sharing)] == [8, 2]
    for (connection, exchange), vectors in zip(connected, expected, strict=True):
        assert connection.recv_bytes()
        assert np.array_equal(exchange.read_vectors(2, DIMENSION), vectors)


def test_a_large_request_goes_alone_cut_as_by_the_worker_itself(sharing: Sharing) -> None:
    large, small = sharing.connect(), sharing.connect()
    texts = ["as long as it gets here", "short", "neither long", "nor", "all of it is one batch"]
    ask(*large, texts)
    sharing.receive()
    ask(*small, ["x"])
    sharing.receive()
    sharing.embed_all()
    by_owner = list(calls(sharing))
    calls(sharing).clear()
    sharing.encoders[0].encode(texts)
    assert by_owner == [*calls(sharing), [1]]


def test_requests_of_different_models_are_kept_apart(sharing: Sharing) -> None:
    first, second = sharing.connect(), sharing.connect()
    ask(*first, ["x"], model=1)
    sharing.receive()
    ask(*second, ["y"])
    sharing.receive()
    sharing.embed_all()
    assert (calls(sharing, 0), calls(sharing, 1)) == ([[1]], [[1]])


@pytest.mark.parametrize("request_", [Request(0, 9, 20), Request(0, 1, 257), Request(0, 0, 0), Request(0, -1, 5), "no"])
def test_a_request_beyond_its_exchange_is_refused(sharing: Sharing, request_: object) -> None:
    connection, _ = sharing.connect(texts=8, tokens=256)
    connection.send(request_)
    with pytest.raises(ValueError, match="more than its exchange takes"):
        sharing.receive()


@pytest.mark.parametrize("lengths", [[3, 3], [6, -1], [0, 5]])
def test_lengths_that_do_not_add_up_are_refused(lengths: list[int]) -> None:
    exchange = Exchange.create(2, 10, 4)
    exchange.write_texts([np.ones(length, np.int32) for length in (2, 3)])
    np.ndarray((2,), np.int32, exchange.memory.buf)[:] = lengths
    with pytest.raises(ValueError, match="do not add up"):
        exchange.read_texts(Request(0, 2, 5))
    exchange.forget_name()
    exchange.close()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="Linux keeps shared memory there")
def test_an_exchange_that_has_no_room_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def note(**wanted: Any) -> SharedMemory:
        memory = SharedMemory(**wanted)
        made.append(memory.name)
        return memory

    monkeypatch.setattr(exchange_module, "SharedMemory", note)
    whole = os.statvfs("/dev/shm")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        # Twice what there is; a sparse file of this size would be had.
        Exchange.create(2 * whole.f_blocks * whole.f_frsize // 4096, 1, 1023)
    with pytest.raises(FileNotFoundError):
        SharedMemory(made[0])


def _ask_and_die(connection: Connection, exchange: Exchange) -> None:
    exchange.forget_name()
    ask(connection, exchange, ["the last words of a worker"])
    os.kill(os.getpid(), signal.SIGKILL)


def _ask_and_answer(connection: Connection, exchange: Exchange, texts: Sequence[str]) -> None:
    exchange.forget_name()
    encoder = Channel(connection, exchange).encoder(0, portable(hash_encoder()))
    connection.send_bytes(encoder.encode(texts).tobytes())


def test_a_worker_that_is_killed_while_it_waits_harms_no_other(sharing: Sharing) -> None:
    ours, theirs = SPAWN.Pipe()
    exchange = Exchange.create(8, 256, DIMENSION)
    process = SPAWN.Process(target=_ask_and_die, args=(theirs, exchange))
    process.start()
    theirs.close()
    sharing.owner.admit(ours, exchange)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    other = sharing.connect()
    expected = ask(*other, ["x", "y"])
    while len(sharing.owner.connections) > 1 or not sharing.owner.asked:
        sharing.receive()
    sharing.embed_all()
    assert other[0].recv_bytes()
    assert np.array_equal(other[1].read_vectors(2, DIMENSION), expected)
    # Its memory is given back.
    with pytest.raises(FileNotFoundError):
        SharedMemory(exchange.memory.name)


def test_another_process_gets_its_vectors(sharing: Sharing) -> None:
    ours, theirs = SPAWN.Pipe()
    exchange = Exchange.create(8, 256, DIMENSION)
    sharing.owner.admit(ours, exchange)
    process = SPAWN.Process(target=_ask_and_answer, args=(theirs, exchange, ["one text", "another"]))
    process.start()
    theirs.close()
    while not sharing.owner.asked:
        sharing.receive()
    sharing.embed_all()
    vectors = np.frombuffer(ours.recv_bytes(), np.float32).reshape(2, DIMENSION)
    assert np.array_equal(vectors, hash_encoder().encode(["one text", "another"]))
    process.join()
    assert process.exitcode == 0


def test_an_owner_that_has_ended_is_named(sharing: Sharing) -> None:
    waiting, late = sharing.encoder(), sharing.encoder()
    failed = threading.Event()

    def wait() -> None:
        with pytest.raises(ModelOwnerGone):
            waiting.encode(["x"])
        failed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    sharing.receive()
    sharing.owner.close()
    thread.join()
    assert failed.is_set()
    with pytest.raises(ModelOwnerGone):
        late.encode(["x"])
