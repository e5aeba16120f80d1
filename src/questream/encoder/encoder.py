"""The encoder: what the rest of questream knows of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder.batching import cut_by_length
from questream.encoder.presets import Preset
from questream.encoder.tokens import Tokeniser, Tokens
from questream.errors import BadRecord
from questream.preparing import asked_in

# Sentences of a mail that ask count half as much again beside the mail as a whole: docs/clustering.md has figures.
_ASKED_WEIGHT = np.float32(0.5)


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

        Raises BadRecord (stage `tokenise`) if a text cannot be tokenised; one text at a time shows which.
        """
        tokens = self.tokeniser(texts)
        asked = {at: part for at, part in enumerate(map(asked_in, texts)) if part is not None}
        for at, ids in zip(asked, self._ids_of_parts(list(asked.values())), strict=True):
            tokens[at] = replace(tokens[at], asked=ids)
        return tokens

    def _ids_of_parts(self, parts: Sequence[str]) -> list[NDArray[np.int32] | None]:
        """The token ids of parts of texts; None for one that would be refused as a text, though the whole is not."""
        try:
            return [tokens.ids for tokens in self.tokeniser(parts)]
        except BadRecord:
            return [None] if len(parts) == 1 else [ids for part in parts for ids in self._ids_of_parts([part])]

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Matrix:
        """Embed tokenised texts: float32 (n, d), C-contiguous, unit rows, in the order given; (0, d) for none.

        A text with a part that is `asked` has the direction of the sum of both vectors, the part's by half.
        Texts of the same tokens are embedded once and have the same row, bit for bit. A row that the model made
        non-finite comes back as it is, so that one bad text does not cost the batch: the caller checks `np.isfinite`.
        """
        keys = [one.ids.tobytes() for one in tokens]
        distinct = {key: one.ids for key, one in zip(keys, tokens, strict=True)}
        asked = {at: one.asked for at, one in enumerate(tokens) if one.asked is not None}
        keys_of_asked = [ids.tobytes() for ids in asked.values()]
        distinct.update(zip(keys_of_asked, asked.values(), strict=True))
        vectors = self.encode_ids(list(distinct.values()))
        if not asked and len(distinct) == len(tokens):
            return vectors
        row_of = {key: row for row, key in enumerate(distinct)}
        rows: Matrix = vectors[[row_of[key] for key in keys]]
        if asked:
            places = list(asked)
            rows[places] = _pooled(rows[places], vectors[[row_of[key] for key in keys_of_asked]])
        return rows

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


def _pooled(whole: Matrix, asked: Matrix) -> Matrix:
    """Unit rows (n, d) in the direction of texts and of what they ask; neither takes the other away."""
    both = whole + _ASKED_WEIGHT * asked
    # Rows that the model made non-finite stay so.
    with np.errstate(invalid="ignore"):
        pooled: Matrix = both / np.linalg.norm(both, axis=1, keepdims=True)
    return pooled
