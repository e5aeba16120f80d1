"""Questions for measurements: a made-up stream whose vectors are known beforehand, and the demo's real texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder import Encoder, Tokens, load_encoder
from questream.encoder.tokens import Tokeniser
from questream.records.files import read_questions
from questream.settings import ModelSettings

# A stream about one subject: any two topics have this much in common, two of one theme more, and the questions of one
# topic something between the two ends, so that some topics are tight and some fall apart into several clusters.
_BACKGROUND_COSINE = 0.1
_THEME_COSINE = 0.35
_LOOSEST_TOPIC_COSINE = 0.5
_TIGHTEST_TOPIC_COSINE = 0.95
_THEMES = 60

_CHUNK = 4096
_LETTERS = 26
_FIRST_LETTER = ord("a")


class EncoderSource(Protocol):
    """Something that a worker process can be sent and make its encoder of."""

    def open(self) -> Encoder:
        """The encoder. Raises ModelError if it cannot be had."""


@dataclass(frozen=True)
class ModelSource:
    """The model that the settings name."""

    settings: ModelSettings

    def open(self) -> Encoder:
        return load_encoder(self.settings)


@dataclass(frozen=True)
class SyntheticQuestions:
    """The recipe of a made-up stream: the same in every process, and cheap to send to one.

    Topics are as popular as 1/rank (Zipf), so that a few are asked all the time and most hardly ever. `open` is an
    encoder that knows the vector of each text and runs no model.
    """

    count: int
    dimension: int
    topics: int = 3000
    seed: int = 1

    def texts(self) -> list[str]:
        """The questions, `count` different texts."""
        return [
            f"How do I get matter{in_letters(topic)} of case{in_letters(row)} settled, please?"
            for row, topic in enumerate(self._topics.tolist())
        ]

    def centres(self) -> Matrix:
        """Unit vectors (topics, dimension) in the middle of the topics, the most popular topic first."""
        return self._centres(np.random.default_rng((self.seed, 1)))

    def vectors(self) -> Matrix:
        """Their unit vectors (count, dimension)."""
        rng = np.random.default_rng((self.seed, 1))
        centres = self._centres(rng)
        own = rng.uniform(_LOOSEST_TOPIC_COSINE, _TIGHTEST_TOPIC_COSINE, self.topics).astype(np.float32)
        vectors = np.empty((self.count, self.dimension), np.float32)
        for start in range(0, self.count, _CHUNK):
            topics = self._topics[start : start + _CHUNK]
            noise = _unit_rows(rng, len(topics), self.dimension)
            shared = own[topics, None]
            vectors[start : start + _CHUNK] = np.sqrt(shared) * centres[topics] + np.sqrt(1.0 - shared) * noise
        return _normalised(vectors)

    def open(self) -> Encoder:
        return table_encoder(self.texts(), self.vectors())

    @cached_property
    def _topics(self) -> NDArray[np.int64]:
        popularity = 1.0 / np.arange(1, self.topics + 1)
        rng = np.random.default_rng((self.seed, 0))
        return rng.choice(self.topics, size=self.count, p=popularity / popularity.sum())

    def _centres(self, rng: np.random.Generator) -> Matrix:
        """In themes, around a common direction."""
        common = _unit_rows(rng, 1, self.dimension)
        themes = _mixed(common, _unit_rows(rng, _THEMES, self.dimension), _BACKGROUND_COSINE / _THEME_COSINE)
        chosen = themes[rng.integers(_THEMES, size=self.topics)]
        return _mixed(chosen, _unit_rows(rng, self.topics, self.dimension), _THEME_COSINE)


class _TableTokeniser(Tokeniser):
    """One token per text: the row of its vector."""

    def __init__(self, rows: Mapping[str, int]) -> None:
        self._rows = rows

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        return [Tokens(np.array([self._rows[text]], np.int32), truncated=False) for text in texts]


class _TableForward:
    """Rows of a table in the place of a model."""

    batch_tokens = 2**31 - 1

    def __init__(self, vectors: Matrix) -> None:
        self._vectors = vectors

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        rows = np.concatenate([ids for batch in batches for ids in batch])
        found: Matrix = self._vectors[rows]
        return found


def table_encoder(texts: Sequence[str], vectors: Matrix) -> Encoder:
    """An encoder that looks up the unit vectors (n, d) of n different texts and knows no others."""
    return Encoder(
        name="precomputed",
        revision=f"{len(texts)}x{vectors.shape[1]}",
        folder=Path(),
        dimension=vectors.shape[1],
        max_tokens=1,
        device="cpu",
        dtype="float32",
        preset=None,
        tokeniser=_TableTokeniser({text: row for row, text in enumerate(texts)}),
        forward=_TableForward(vectors),
    )


def in_letters(number: int) -> str:
    """A number from 0 up, by the letters a to z as its digits: the second look parts questions whose numbers differ."""
    rest, digit = divmod(number, _LETTERS)
    return (in_letters(rest) if rest else "") + chr(_FIRST_LETTER + digit)


def of_letters(letters: str) -> int:
    """The number that `in_letters` wrote."""
    number = 0
    for letter in letters:
        number = number * _LETTERS + ord(letter) - _FIRST_LETTER
    return number


def real_texts(count: int, file: Path | None = None) -> list[str]:
    """`count` texts of a file of questions (default: the demo's 2,002 of BANKING77), from its start again and again.

    Raises QuestionFileError if it cannot be read, ValueError if it holds no question.
    """
    if file is not None:
        return _repeated(file, count)
    with as_file(files("questream.lab.demo") / "banking77.jsonl") as sample:
        return _repeated(sample, count)


def _repeated(file: Path, count: int) -> list[str]:
    texts = [question.text for question in read_questions(file)]
    if not texts:
        raise ValueError(f"{file} holds no question")
    return list(islice(cycle(texts), count))


def _mixed(shared: Matrix, own: Matrix, cosine: float) -> Matrix:
    """Unit rows of which any two have `cosine` through what they share."""
    return _normalised(np.float32(cosine**0.5) * shared + np.float32((1.0 - cosine) ** 0.5) * own)


def _unit_rows(rng: np.random.Generator, rows: int, dimension: int) -> Matrix:
    return _normalised(rng.standard_normal((rows, dimension), np.float32))


def _normalised(rows: Matrix) -> Matrix:
    unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
