"""Texts to token ids, with the model's own tokenizer and its own limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from questream.encoder.prefix import PrefixCutter
from questream.errors import BadRecord

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


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
    thread tokenises the next batch while this one is on the device. Of a long text no more than a prefix is read,
    where its tokens are certain to be the text's own.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str) -> None:
        # tokenizer.json may carry a padding and a truncation of its own (MiniLM's: 128), which are not the model's.
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=max_tokens)
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._cutter = PrefixCutter(tokenizer.to_str(), max_tokens)

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise each text, in order.

        Raises BadRecord (stage `tokenise`) if one of them cannot be: `text_not_encodable` for what is not Unicode
        (a lone surrogate), `no_tokens` for a text of which the tokenizer leaves nothing. Call again with one
        text at a time to find it.
        """
        prompted = [self._prompt + text for text in texts] if self._prompt else list(texts)
        long = {at: self._long(text) for at, text in enumerate(prompted) if self._cutter.may_cut(text)}
        short = iter(self._encode([text for at, text in enumerate(prompted) if at not in long]))
        tokens = [long[at] if at in long else _tokens(next(short)) for at in range(len(prompted))]
        if not all(map(len, tokens)):
            raise BadRecord("tokenise", "no_tokens", "the model's tokenizer leaves nothing of the text")
        return tokens

    def _long(self, text: str) -> Tokens:
        """The tokens of a long text, from the first prefix that has more than the limit, else from all of it."""
        for prefix in self._cutter.prefixes(text):
            (encoding,) = self._encode([prefix])
            if encoding.overflowing:
                # What was not read must not be let through where the text as a whole would be refused.
                _require_unicode(text)
                return _tokens(encoding)
        (encoding,) = self._encode([text])
        return _tokens(encoding)

    def _encode(self, texts: list[str]) -> list[Encoding]:
        try:
            return self._tokenizer.encode_batch_fast(texts)
        except TypeError as error:
            raise _not_encodable() from error


def _tokens(encoding: Encoding) -> Tokens:
    return Tokens(np.array(encoding.ids, dtype=np.int32), truncated=bool(encoding.overflowing))


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_encodable() from error


def _not_encodable() -> BadRecord:
    return BadRecord("tokenise", "text_not_encodable", "the text is not valid Unicode")
