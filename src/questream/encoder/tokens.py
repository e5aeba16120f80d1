"""Texts to token ids, with the model's own tokenizer and its own limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from questream.errors import BadRecord

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised text: `ids` (len,) with the special tokens; `truncated` if the text had more than the limit."""

    ids: NDArray[np.int32]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


class Tokeniser:
    """The model's fast tokenizer, cut at `max_tokens` (special tokens included), with no padding.

    `prompt` goes before every text, as the model's configuration asks. Works outside the GIL, so that a second
    thread tokenises the next batch while this one is on the device.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str) -> None:
        # tokenizer.json may carry a padding and a truncation of its own (MiniLM's: 128), which are not the model's.
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=max_tokens)
        self._tokenizer = tokenizer
        self._prompt = prompt

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise each text, in order.

        Raises BadRecord (stage `tokenise`) if one of them cannot be: `text_not_encodable` for what is not Unicode
        (a lone surrogate), `no_tokens` for a text of which the tokenizer leaves nothing. Call again with one
        text at a time to find it.
        """
        prompted = [self._prompt + text for text in texts] if self._prompt else list(texts)
        try:
            encodings = self._tokenizer.encode_batch_fast(prompted)
        except TypeError as error:
            raise BadRecord("tokenise", "text_not_encodable", "the text is not valid Unicode") from error
        tokens = [Tokens(np.array(e.ids, dtype=np.int32), truncated=bool(e.overflowing)) for e in encodings]
        if not all(map(len, tokens)):
            raise BadRecord("tokenise", "no_tokens", "the model's tokenizer leaves nothing of the text")
        return tokens
