"""A comparison of a forward pass with the vectors of sentence-transformers, on texts from one word to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from questream.domain import Matrix
from questream.encoder.encoder import Forward
from questream.encoder.tokens import Tokeniser, Tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FAITHFUL_COSINE = 0.999

_QUESTIONS = ("What?", "How do I reset my password?", "Why was my payment of 25.00 declined twice?")
_KNOWN_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Texts of different lengths, the last beyond `max_tokens`, and the library's unit vectors of them (n, d)."""

    tokens: list[Tokens]
    expected: Matrix

    @property
    def dimension(self) -> int:
        """The real dimension of the model's vectors, whatever its configuration says."""
        return int(self.expected.shape[1])

    def cosine(self, forward: Forward) -> float:
        """The least cosine between what `forward` gives and what the library gives; -1 for another dimension.

        Each text is embedded alone and all of them in one batch: a vector must not depend on its company.
        """
        ids = [tokens.ids for tokens in self.tokens]
        together, alone = forward([ids]), forward([[one] for one in ids[:-1]])
        if together.shape != self.expected.shape:
            return -1.0
        cosines = [(together * self.expected).sum(axis=1), (alone * self.expected[:-1]).sum(axis=1)]
        # A model may have a row that is not finite for a word of a probe: that says nothing of the others.
        compared = np.concatenate(cosines)[np.isfinite(np.concatenate([self.expected, self.expected[:-1]]).sum(axis=1))]
        return float(np.nan_to_num(compared, nan=-1.0).min(initial=1.0))


def probe_of(library: SentenceTransformer, tokeniser: Tokeniser, texts: Sequence[str]) -> Probe:
    """The library's own vectors of the texts, one at a time. Raises whatever the library does."""
    expected = [library.encode(text, normalize_embeddings=True, show_progress_bar=False) for text in texts]
    return Probe(tokeniser(texts), np.stack(expected).astype(np.float32))


def probing(tokenizer: Tokenizer, max_tokens: int, prompt: str) -> tuple[Tokeniser, list[str]]:
    """A tokeniser of this tokenizer's that refuses no text, and the texts of a probe.

    They are of a few tokens, of several dozen, and of more than `max_tokens`: questions, or where the tokenizer knows
    none of their words, words of its own.
    """
    # A copy, for its limits are set.
    tokeniser = Tokeniser(Tokenizer.from_str(tokenizer.to_str()), max_tokens, prompt, max_unknown_share=1.0)
    texts = list(_QUESTIONS)
    if max(tokens.unknown_share for tokens in tokeniser(texts)) > _KNOWN_SHARE:
        rng = np.random.default_rng(7)
        words = [[int(word) for word in rng.integers(tokenizer.get_vocab_size(), size=size)] for size in (2, 6, 10)]
        texts = [tokenizer.decode(ids) or texts[at] for at, ids in enumerate(words)]
    unit = f"{texts[-1]} "
    longer = unit * 6, unit * (max_tokens // max(1, len(tokeniser([unit])[0]) - 2) + 2)
    return tokeniser, [*texts, *longer]
