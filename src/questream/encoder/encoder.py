"""The encoder: what the rest of questream knows of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder.batching import cut_by_length
from questream.encoder.presets import Preset
from questream.encoder.tokens import Tokeniser, Tokens, require_unicode
from questream.errors import BadRecord
from questream.prepared import about_in


class Forward(Protocol):
    """The model itself, from token ids to unit rows; `batch_tokens` is how many tokens at once suit its device."""

    batch_tokens: int

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        """Run the sub-batches one after the other: float32 (texts, d), rows in the order given."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded model: texts in, unit vectors of `dimension` float32 out.

    `name` and `revision` say which model it is (a hub commit, or a digest of a folder's weights): workers that share
    clusters must agree on them. `folder` is where its files lie. `max_tokens` counts the special tokens.
    `device` and `dtype` are torch's names of what the model runs on and in. `preset` is what the model's card fixes
    for clustering, where it does.
    """

    name: str
    revision: str
    folder: Path
    dimension: int
    max_tokens: int
    device: str
    dtype: str
    preset: Preset | None
    tokeniser: Tokeniser
    forward: Forward

    @property
    def preset_threshold(self) -> float | None:
        """The threshold that the model's card measured, in the preset's own similarity, or None."""
        return None if self.preset is None else self.preset.threshold

    def __repr__(self) -> str:
        """A line that says which model this is and where it runs."""
        return f"Encoder({self.name!r}, dimension={self.dimension}, device={self.device!r}, dtype={self.dtype!r})"

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, cut at `max_tokens`; `len()` of one is what it costs.

        Of a prepared mail only the paragraph that says what it is about is read, unless that alone cannot be tokenised.
        Raises BadRecord (stage `tokenise`) if a text cannot be; one text at a time shows which.
        """
        read = [about_in(text) for text in texts]
        for text, about in zip(texts, read, strict=True):
            if about is not text:
                # The rest is not read, and kept.
                require_unicode(text)
        try:
            return self.tokeniser(read)
        except BadRecord:
            if read == list(texts):
                raise
            return [self._tokens_of(*both) for both in zip(texts, read, strict=True)]

    def _tokens_of(self, text: str, read: str) -> Tokens:
        try:
            return self.tokeniser([read])[0]
        except BadRecord:
            if read == text:
                raise
            return self.tokeniser([text])[0]

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Matrix:
        """Embed tokenised texts: float32 (n, d), C-contiguous, unit rows, in the order given; (0, d) for none.

        Texts of the same tokens are embedded once and have the same row, bit for bit. A row that the model made
        non-finite comes back as it is, so that one bad text does not cost the batch: the caller checks `np.isfinite`.
        """
        keys = [one.ids.tobytes() for one in tokens]
        distinct = {key: one.ids for key, one in zip(keys, tokens, strict=True)}
        vectors = self.encode_ids(list(distinct.values()))
        if len(distinct) == len(tokens):
            return vectors
        row_of = {key: row for row, key in enumerate(distinct)}
        repeated: Matrix = vectors[[row_of[key] for key in keys]]
        return repeated

    def encode_ids(self, texts: Sequence[NDArray[np.int32]]) -> Matrix:
        """As `encode_tokens`, of the ids alone and each text by itself, whether another has the same or not."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if texts:
            cuts = cut_by_length([len(ids) for ids in texts], self.forward.batch_tokens)
            vectors[np.concatenate(cuts)] = self.forward([[texts[row] for row in cut] for cut in cuts])
        return vectors

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Tokenise and embed: float32 (n, d) unit rows, in order.

        Raises BadRecord as `tokenise_all` does.
        """
        return self.encode_tokens(self.tokenise_all(texts))

    def tokenise_all(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids as of `tokenise`; a BadRecord names the position of the first text that it is raised for."""
        try:
            return self.tokenise(texts)
        except BadRecord:
            for at, error in self.refused(texts).items():
                raise BadRecord(error.stage, error.reason, f"the text at position {at}: {error}") from error
            raise

    def refused(self, texts: Sequence[str]) -> dict[int, BadRecord]:
        """The texts that a worker would dead-letter, by their position, and why."""
        refused: dict[int, BadRecord] = {}
        try:
            self.tokenise(texts)
        except BadRecord:
            for at, text in enumerate(texts):
                try:
                    self.tokenise([text])
                except BadRecord as error:
                    refused[at] = error
        return refused
