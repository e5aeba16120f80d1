"""The memory that a worker process and the owner of the model have in common: token ids one way, vectors the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix

_NUMBER_BYTES = 4
_LINUX_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps shared memory


class Request(NamedTuple):
    """A request of a worker process: so many texts, of so many tokens together, by the model of this number."""

    model: int
    texts: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """Room for one request of at most `texts` texts and `tokens` tokens, and its vectors of at most `dimension`.

    One is enough: the thread that asks waits for its vectors. Lengths of texts lie first, then token ids behind one
    another, then vectors, all of four bytes. It is pickled by name, for a process that this one has started.
    """

    memory: SharedMemory
    texts: int
    tokens: int
    dimension: int

    @classmethod
    def create(cls, texts: int, tokens: int, dimension: int) -> Exchange:
        """An exchange of this size. Raises OSError where the system has no room for it."""
        size = (texts + tokens + texts * dimension) * _NUMBER_BYTES
        memory = SharedMemory(create=True, size=size)
        try:
            _take_room(memory.name, size)
        except OSError:
            memory.unlink()
            memory.close()
            raise
        return cls(memory, texts, tokens, dimension)

    def forget_name(self) -> None:
        """Nobody else can open it, and nothing of it is left when both processes have ended; once is enough."""
        with suppress(FileNotFoundError):
            self.memory.unlink()

    def close(self) -> None:
        """Give this process's part of the memory back."""
        self.memory.close()

    def takes(self, request: Request) -> bool:
        """True if a request fits."""
        return 0 < request.texts <= self.texts and 0 < request.tokens <= self.tokens

    def write_texts(self, texts: Sequence[NDArray[np.int32]]) -> None:
        """Put down token ids, which fit."""
        self._lengths(len(texts))[:] = [len(ids) for ids in texts]
        np.concatenate(texts, out=self._ids(sum(map(len, texts))))

    def read_texts(self, request: Request) -> list[NDArray[np.int32]]:
        """The token ids of each text of a request that fits. Raises ValueError where lengths and tokens disagree."""
        lengths = self._lengths(request.texts).copy()
        if lengths.min() <= 0 or int(lengths.sum(dtype=np.int64)) != request.tokens:
            raise ValueError("the lengths of texts do not add up to their tokens")
        return np.split(self._ids(request.tokens).copy(), np.cumsum(lengths)[:-1])

    def write_vectors(self, vectors: Matrix) -> None:
        """Put down vectors (n, d), which fit."""
        self._vectors(*vectors.shape)[:] = vectors

    def read_vectors(self, texts: int, dimension: int) -> Matrix:
        """A copy of the vectors (texts, dimension)."""
        return self._vectors(texts, dimension).copy()

    # Views are made for each call: memory that an array looks into cannot be given back.
    def _lengths(self, texts: int) -> NDArray[np.int32]:
        return np.ndarray((texts,), np.int32, self.memory.buf)

    def _ids(self, tokens: int) -> NDArray[np.int32]:
        return np.ndarray((tokens,), np.int32, self.memory.buf, self.texts * _NUMBER_BYTES)

    def _vectors(self, texts: int, dimension: int) -> Matrix:
        begin = (self.texts + self.tokens) * _NUMBER_BYTES
        return np.ndarray((texts, dimension), np.float32, self.memory.buf, begin)


def _take_room(name: str, size: int) -> None:
    """Have Linux set the memory aside now: it would kill the process that finds none when it writes."""
    path = _LINUX_FOLDER / name
    if path.exists():
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
