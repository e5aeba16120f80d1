"""A stream whose subjects come and go: topics are born, are asked for some hours and never again.

Nothing of it has to be kept: the topic of a question follows from when it is asked, and its vector from its text, so
that ten million take no more memory than a thousand, in the sender or in a worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder import Encoder, Tokens
from questream.encoder.tokens import Tokeniser
from questream.lab.bench.questions import SyntheticQuestions, in_letters, of_letters

# The lower half of the centres is for topics, the upper half for one-off questions; each is used again in turn, long
# after its clusters have been retired.
_CENTRES = 32768
_NOISES = 8192
_TOPIC_COSINE = 0.8
_CHUNK = 4096
_HOUR_MS = 3_600_000
_NUMBERS = re.compile("How is matter([a-z]+) of case([a-z]+) settled[?]")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the time that its record carries, in ms since the epoch."""

    text: str
    timestamp: int


@dataclass(frozen=True)
class DriftingQuestions:
    """The recipe: `count` questions spread evenly over `hours`, about `active_topics` at any time.

    Each topic is asked for `life_hours`, as often as 1/rank (Zipf) says; `one_off_share` of all questions are about
    something that nobody asks again. `open` is an encoder that knows the vector of each text and runs no model.
    """

    count: int
    dimension: int
    hours: float = 24.0
    active_topics: int = 2000
    life_hours: float = 6.0
    one_off_share: float = 0.01
    seed: int = 1

    def ask(self, start_ms: int) -> Iterator[Asked]:
        """The questions in their order, the first at `start_ms`."""
        rng = np.random.default_rng((self.seed, 2))
        popularity = 1.0 / np.arange(1, self.active_topics + 1)
        popularity /= popularity.sum()
        ranked = rng.permutation(self.active_topics)
        for first in range(0, self.count, _CHUNK):
            numbers = np.arange(first, min(self.count, first + _CHUNK))
            hours = numbers * (self.hours / self.count)
            oldest = (hours * self.active_topics / self.life_hours).astype(np.int64)
            slots = ranked[rng.choice(self.active_topics, len(numbers), p=popularity)]
            # A slot is taken by one topic after the other, so that each is as popular all its life.
            topics = (oldest + (slots - oldest) % self.active_topics) % (_CENTRES // 2)
            alone = rng.random(len(numbers)) < self.one_off_share
            topics[alone] = _CENTRES // 2 + numbers[alone] % (_CENTRES // 2)
            for number, topic, hour in zip(numbers.tolist(), topics.tolist(), hours.tolist(), strict=True):
                text = f"How is matter{in_letters(topic)} of case{in_letters(number)} settled?"
                yield Asked(text, start_ms + int(hour * _HOUR_MS))

    def open(self) -> Encoder:
        centres = SyntheticQuestions(1, self.dimension, topics=_CENTRES, seed=self.seed).centres()
        noises = np.random.default_rng((self.seed, 3)).standard_normal((_NOISES, self.dimension), np.float32)
        noises /= np.linalg.norm(noises, axis=1, keepdims=True)
        return Encoder(
            name="drifting",
            revision=f"{self.seed}x{self.dimension}",
            folder=Path(),
            dimension=self.dimension,
            max_tokens=2,
            device="cpu",
            dtype="float32",
            preset=None,
            tokeniser=_NumbersTokeniser(),
            forward=_MixedForward(centres, noises),
        )


class _NumbersTokeniser(Tokeniser):
    """Two tokens per text: its topic and its number, as `ask` wrote them."""

    def __init__(self) -> None:
        """Without a vocabulary."""

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        found = [_NUMBERS.fullmatch(text) for text in texts]
        numbers = [(of_letters(one[1]), of_letters(one[2]) % _NOISES) for one in found if one is not None]
        return [Tokens(np.array(pair, np.int32), truncated=False) for pair in numbers]


class _MixedForward:
    """The centre of the topic with some noise, by row."""

    batch_tokens = 2**31 - 1

    def __init__(self, centres: Matrix, noises: Matrix) -> None:
        self._centres = np.float32(_TOPIC_COSINE**0.5) * centres
        self._noises = np.float32((1.0 - _TOPIC_COSINE) ** 0.5) * noises

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        topics, numbers = np.array([ids for batch in batches for ids in batch]).T
        mixed: Matrix = self._centres[topics] + self._noises[numbers]
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        return mixed
