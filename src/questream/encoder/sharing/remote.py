"""The model as a worker process sees it, where another process owns it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder.encoder import Encoder
from questream.encoder.sharing.exchange import Exchange, Request
from questream.errors import ModelOwnerGone


def portable(encoder: Encoder) -> Mapping[str, Any]:
    """The facts about a model that another process needs but does not run: they can be pickled."""
    return {field.name: getattr(encoder, field.name) for field in fields(Encoder) if field.name != "forward"}


class Channel:
    """The way to the owner of the models, for one request at a time; any thread may use it."""

    def __init__(self, connection: Connection, exchange: Exchange) -> None:
        self._connection = connection
        self._exchange = exchange
        self._asking = threading.Lock()

    def encoder(self, model: int, known: Mapping[str, Any]) -> Encoder:
        """The owner's model of this number, of which `portable` gave this; it tokenises here and embeds there."""
        return Encoder(**known, forward=RemoteForward(self, model, known["dimension"]))

    def embed(self, model: int, texts: Sequence[NDArray[np.int32]], dimension: int) -> Matrix:
        """The vectors (n, d) of token ids, in the order given. Raises ModelOwnerGone where the owner has ended."""
        with self._asking:
            return np.concatenate([self._ask(model, part, dimension) for part in self._parts(texts)])

    def _ask(self, model: int, texts: Sequence[NDArray[np.int32]], dimension: int) -> Matrix:
        try:
            self._exchange.write_texts(texts)
            self._connection.send(Request(model, len(texts), sum(map(len, texts))))
            self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise ModelOwnerGone from error
        return self._exchange.read_vectors(len(texts), dimension)

    def _parts(self, texts: Sequence[NDArray[np.int32]]) -> Iterator[Sequence[NDArray[np.int32]]]:
        """The texts in parts that fit; a micro-batch within the budgets is one."""
        start = tokens = 0
        for at, ids in enumerate(texts):
            if at - start == self._exchange.texts or tokens + len(ids) > self._exchange.tokens:
                yield texts[start:at]
                start, tokens = at, 0
            tokens += len(ids)
        yield texts[start:]


class RemoteForward:
    """The forward pass of a model that another process owns, which cuts the texts for its device itself."""

    batch_tokens = sys.maxsize

    def __init__(self, channel: Channel, model: int, dimension: int) -> None:
        self._channel = channel
        self._model = model
        self._dimension = dimension

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        """All sub-batches as one request: float32 (texts, d) unit rows, in the order given."""
        texts = [ids for batch in batches for ids in batch]
        return self._channel.embed(self._model, texts, self._dimension)
