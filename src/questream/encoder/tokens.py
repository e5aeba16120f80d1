"""Texts to token ids, with the model's own tokenizer and its own limit."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from questream.encoder.prefix import PrefixCutter
from questream.encoder.vocabulary import Vocabulary
from questream.errors import BadRecord

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


# Any at all: it shows where the special tokens are.
_ANY_WORD = "a"


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised text: `ids` (len,) with the special tokens; `truncated` if the text had more than the limit.

    `unknown_share` is the share of its words, in [0, 1], that the tokenizer does not know, of those that were kept.
    """

    ids: NDArray[np.int32]
    truncated: bool
    unknown_share: float = 0.0

    def __len__(self) -> int:
        return len(self.ids)


class Tokeniser:
    """The model's fast tokenizer, cut at `max_tokens` (special tokens included), with no padding.

    `prompt` goes before every text, as the model's configuration asks. Works outside the GIL, so that a second
    thread tokenises the next batch while this one is on the device. Of a long text no more than a prefix is read,
    where its tokens are certain to be the text's own. A text with a larger share of unknown words than
    `max_unknown_share` is refused: texts that a model knows nothing of all have one vector.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str, max_unknown_share: float) -> None:
        # tokenizer.json may carry a padding and a truncation of its own (MiniLM's: 128), which are not the model's.
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=max_tokens)
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._max_unknown_share = max_unknown_share
        self._vocabulary = Vocabulary(tokenizer)
        # The tokens before and behind the text: the special tokens and the prompt.
        special = tokenizer.encode(_ANY_WORD).special_tokens_mask
        leading = special.index(0) if 0 in special else len(special)
        self._before = leading + len(tokenizer.encode(prompt, add_special_tokens=False).ids)
        self._behind = sum(special[leading:])
        self._cutter = PrefixCutter(tokenizer.to_str(), max_tokens)

    def refusing(self, max_unknown_share: float) -> Tokeniser:
        """The same, with another share of unknown words from which on it refuses a text."""
        other = copy(self)
        other._max_unknown_share = max_unknown_share
        return other

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise each text, in order.

        Raises BadRecord (stage `tokenise`) if one of them cannot be: `text_not_encodable` for what is not Unicode
        (a lone surrogate), `no_tokens` for a text of which the tokenizer leaves nothing, `mostly_unknown` for one
        of which it knows too little. Call again with one text at a time to find it.
        """
        prompted = [self._prompt + text for text in texts] if self._prompt else list(texts)
        long = {at: self._long(text) for at, text in enumerate(prompted) if self._cutter.may_cut(text)}
        short = iter(self._encode([text for at, text in enumerate(prompted) if at not in long]))
        return [self._tokens(long[at] if at in long else next(short)) for at in range(len(prompted))]

    def _long(self, text: str) -> Encoding:
        """The tokens of a long text, from the first prefix that has more than the limit, else from all of it."""
        for prefix in self._cutter.prefixes(text):
            (encoding,) = self._encode([prefix])
            if encoding.overflowing:
                # An unread text must not be let through where the text as a whole would be refused.
                require_unicode(text)
                return encoding
        (encoding,) = self._encode([text])
        return encoding

    def _tokens(self, encoding: Encoding) -> Tokens:
        ids = np.array(encoding.ids, dtype=np.int32)
        content = ids[self._before : len(ids) - self._behind]
        if not len(content):
            raise BadRecord("tokenise", "no_tokens", "the model's tokenizer leaves nothing of the text")
        unknown_share = self._vocabulary.unknown_share(content)
        if unknown_share > self._max_unknown_share:
            raise BadRecord(
                "tokenise",
                "mostly_unknown",
                f"the model's tokenizer does not know {unknown_share:.0%} of the text's words, which is more than "
                f"model.max_unknown_share ({self._max_unknown_share:g})",
            )
        return Tokens(ids, bool(encoding.overflowing), unknown_share)

    def _encode(self, texts: list[str]) -> list[Encoding]:
        try:
            return self._tokenizer.encode_batch_fast(texts)
        except TypeError as error:
            raise _not_encodable() from error


def require_unicode(text: str) -> None:
    """Raises BadRecord (stage `tokenise`, reason `text_not_encodable`) for half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_encodable() from error


def _not_encodable() -> BadRecord:
    return BadRecord("tokenise", "text_not_encodable", "the text is not valid Unicode")
