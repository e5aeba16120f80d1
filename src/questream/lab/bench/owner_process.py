"""An owner of a model as a process of its own, and encoders by which workers ask it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

from questream.encoder import Encoder
from questream.encoder.sharing.exchange import Exchange
from questream.encoder.sharing.owner import ModelOwner
from questream.encoder.sharing.remote import Channel, portable
from questream.lab.bench.child import SPAWN, Child, ignore_interrupts
from questream.lab.bench.questions import EncoderSource
from questream.settings import Settings


@dataclass(frozen=True, slots=True)
class OwnedSource:
    """One worker's way to an owner; it can be sent to one process that this one starts."""

    connection: Connection
    exchange: Exchange
    known: Mapping[str, Any]

    def open(self) -> Encoder:
        """The owner's model, as a worker sees it."""
        self.exchange.forget_name()
        return Channel(self.connection, self.exchange).encoder(0, self.known)


class OwnerProcess:
    """Has the model of `source` in a child process and embeds for as many workers as there are `sources`.

    Leaving the context ends it. Raises QuestreamError if it ends before it has the model.
    """

    def __init__(self, settings: Settings, source: EncoderSource, workers: int) -> None:
        encoder = source.open()
        tokens = max(settings.batch_tokens, encoder.max_tokens)
        ends = [SPAWN.Pipe() for _ in range(workers)]
        exchanges = [Exchange.create(settings.batch_questions, tokens, encoder.dimension) for _ in ends]
        self.sources = [
            OwnedSource(end, exchange, portable(encoder)) for (_, end), exchange in zip(ends, exchanges, strict=True)
        ]
        owned = [own for own, _ in ends]
        self._child = Child("bench-owner", _own, source, owned, exchanges)
        for connection in owned:
            connection.close()
        # Before a worker opens an exchange, which has no name after that.
        self._child.receive()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.process.pid or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.process.kill()
        self._child.process.join()
        for source in self.sources:
            source.connection.close()
            source.exchange.forget_name()
            source.exchange.close()


def _own(
    source: EncoderSource, connections: Sequence[Connection], exchanges: Sequence[Exchange], tie: Connection
) -> None:
    ignore_interrupts()
    owner = ModelOwner([source.open()])
    for connection, exchange in zip(connections, exchanges, strict=True):
        owner.admit(connection, exchange)
    tie.send("ready")
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        owner.turn([parent.sentinel])
