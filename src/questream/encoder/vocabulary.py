"""Which words of a text a tokenizer knows: of the others the model sees only that something was there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A byte of a character outside ASCII that the vocabulary has not, as SentencePiece spells it.
_FALLBACK_BYTE = re.compile(r"<0x[89A-F][0-9A-F]>")


class Vocabulary:
    """Distinguishes unknown tokens from known ones, and both from punctuation, which says nothing of a text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        model = json.loads(tokenizer.to_str())["model"]
        tokens: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self._unknown = np.zeros(max(tokens.values(), default=-1) + 1, np.bool_)
        self._words = np.ones_like(self._unknown)
        for token, number in tokens.items():
            self._words[number] = any(c.isalnum() for c in token)
            self._unknown[number] = bool(model.get("byte_fallback")) and _FALLBACK_BYTE.fullmatch(token) is not None
        unknown = _unknown_token(model)
        if unknown in tokens:
            self._unknown[tokens[unknown]] = self._words[tokens[unknown]] = True

    def unknown_share(self, content: NDArray[np.int32]) -> float:
        """The share of unknown tokens in `content`, the tokens of a text without the special ones.

        Punctuation does not count, so that a question mark behind what is unknown makes it no better known.
        """
        unknown = int(self._unknown[content].sum())
        return unknown / int(self._words[content].sum()) if unknown else 0.0


def _unknown_token(model: dict[str, Any]) -> str:
    if model["type"] == "Unigram":
        number = model.get("unk_id")
        return "" if number is None else str(model["vocab"][number][0])
    return model.get("unk_token") or ""
