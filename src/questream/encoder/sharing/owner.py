"""The one process that has the models on their device: it embeds what others ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import numpy as np

from questream.encoder.encoder import Encoder
from questream.encoder.sharing.exchange import Exchange, Request


class _Asked(NamedTuple):
    connection: Connection
    request: Request


class ModelOwner:
    """Serves requests in the order of their arrival; it belongs to one thread.

    Small requests that wait at the same time go through the model together, as many as fill one of its sub-batches; a
    larger one goes alone, cut as the worker that had the model itself would cut it. A connection that breaks is let go
    with its exchange and what it asked for, whatever its process was about.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = encoders
        self._exchanges: dict[Connection, Exchange] = {}
        self._asked: deque[_Asked] = deque()

    def admit(self, connection: Connection, exchange: Exchange) -> None:
        """From now on serve this process."""
        self._exchanges[connection] = exchange

    @property
    def connections(self) -> list[Connection]:
        """The connections that requests come by."""
        return list(self._exchanges)

    @property
    def asked(self) -> bool:
        """True if a request waits."""
        return bool(self._asked)

    def turn(self, beside: Sequence[int] = ()) -> None:
        """Wait for a request, take in what has come, and embed what has waited longest.

        `beside` are other things that end the waiting: sentinels of processes. Raises what the model raises.
        """
        for ready in wait([*self._exchanges, *beside], timeout=0 if self._asked else None):
            if isinstance(ready, Connection):
                self.receive(ready)
        if self._asked:
            self.embed_next()

    def receive(self, connection: Connection) -> None:
        """Take in the request that has come by a connection, or let the connection go where it is broken.

        Raises ValueError for a request that no exchange of ours makes.
        """
        try:
            request = connection.recv()
        except (EOFError, OSError):
            self._let_go(connection)
            return
        if not isinstance(request, Request) or not self._exchanges[connection].takes(request):
            raise ValueError("a worker process asked for more than its exchange takes")
        self._asked.append(_Asked(connection, request))

    def embed_next(self) -> None:
        """Embed the request that has waited longest, with those that fit beside it. Raises what the model raises."""
        together = self._next()
        texts = [self._exchanges[one.connection].read_texts(one.request) for one in together]
        encoder = self._encoders[together[0].request.model]
        vectors = encoder.encode_ids([ids for its_texts in texts for ids in its_texts])
        ends = np.cumsum([one.request.texts for one in together])[:-1]
        for one, its_vectors in zip(together, np.split(vectors, ends), strict=True):
            self._exchanges[one.connection].write_vectors(its_vectors)
            try:
                one.connection.send_bytes(b"embedded")
            except OSError:
                self._let_go(one.connection)

    def close(self) -> None:
        """Let all go: those that wait for vectors get an error: there is no owner any more."""
        for connection in self.connections:
            self._let_go(connection)

    def _next(self) -> list[_Asked]:
        first = self._asked.popleft()
        budget = self._encoders[first.request.model].forward.batch_tokens - first.request.tokens
        together = [first]
        while self._asked and self._asked[0].request.model == first.request.model:
            budget -= self._asked[0].request.tokens
            if budget < 0:
                break
            together.append(self._asked.popleft())
        return together

    def _let_go(self, connection: Connection) -> None:
        self._asked = deque(one for one in self._asked if one.connection is not connection)
        exchange = self._exchanges.pop(connection)
        exchange.forget_name()
        exchange.close()
        connection.close()
