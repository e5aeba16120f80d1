"""An encoder made of arithmetic: exact, the same in every process, and there without loading a model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix, Vector
from questream.encoder import Encoder, Tokens
from questream.encoder.tokens import Tokeniser

DIMENSION = 64


class ByteTokeniser(Tokeniser):
    """One token per byte of UTF-8, cut at `max_tokens`."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        encoded = [text.encode() for text in texts]
        return [
            Tokens(np.frombuffer(raw[: self._max_tokens], np.uint8).astype(np.int32), len(raw) > self._max_tokens)
            for raw in encoded
        ]


class HashForward:
    """Texts to unit vectors (d,): the normalised sum of a fixed random unit vector per word.

    Two texts that share k of their n words have a cosine near k/n. Each text takes `text_seconds` more than that needs.
    """

    batch_tokens = 4096

    def __init__(self, text_seconds: float = 0.0) -> None:
        self._text_seconds = text_seconds

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        time.sleep(self._text_seconds * sum(map(len, batches)))
        return np.stack([hash_vector(_text(ids)) for batch in batches for ids in batch])


def hash_encoder(name: str = "hash-of-words", revision: str = "1", text_seconds: float = 0.0) -> Encoder:
    """An Encoder of 64 dimensions whose vectors follow from the words of a text alone; each takes `text_seconds`."""
    return Encoder(
        name=name,
        revision=revision,
        folder=Path(),
        dimension=DIMENSION,
        max_tokens=512,
        device="cpu",
        dtype="float32",
        preset=None,
        tokeniser=ByteTokeniser(512),
        forward=HashForward(text_seconds),
    )


def question_of(topic: int, variant: int, repeats: int = 3) -> str:
    """A question near to all others of its topic and to none of another.

    It has no digit: the second look separates questions whose numbers or codes differ.
    """
    return " ".join([f"topic{spelled(topic)}"] * repeats + [f"variant{spelled(variant)}"])


def spelled(number: int) -> str:
    """A number in letters: 0 is "a", 26 is "ba"."""
    rest, digit = divmod(number, 26)
    return (spelled(rest) if rest else "") + chr(ord("a") + digit)


def hash_vector(text: str) -> Vector:
    """The unit vector (64,) of a text."""
    total: Vector = np.sum([_word_vector(word) for word in text.split() or [""]], axis=0, dtype=np.float32)
    return total / np.linalg.norm(total)


@lru_cache(maxsize=65536)
def _word_vector(word: str) -> Vector:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def _text(ids: NDArray[np.int32]) -> str:
    return ids.astype(np.uint8).tobytes().decode(errors="replace")
