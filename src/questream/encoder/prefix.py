"""The prefix of a long text that has to be tokenised: its tokens are the text's own first tokens.

Tokenising 1 MB to keep 384 tokens costs a second and hundreds of megabytes. A prefix may be cut only where the
tokenizer decides nothing across the cut: at a character that every step of it (added tokens, normaliser, pre-tokenizer)
takes as the end of a word, whatever follows. Which characters those are depends on the tokenizer's parts; for parts
that are not known here no text is cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# A character of a question is seldom less than an eighth of a token; a longer prefix costs more than a second try.
_CHARACTERS_PER_TOKEN = 8
_GROWTH = 4

# Normalisers that read each character with its combining marks alone.
_LOCAL_NORMALISERS = frozenset(
    {
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Lowercase",
        "StripAccents",
        "Nmt",
        "Precompiled",
        "BertNormalizer",
        "Strip",
        "Prepend",
    }
)
# Runs of spaces to one, as SentencePiece has it.
_LOCAL_PATTERNS = frozenset({" {2,}", r"\s+", r" +"})
# Pre-tokenizers that look at each character, and at the one before it.
_LOCAL_SPLITTERS = frozenset({"Digits", "Punctuation"})
# The ends of words at a space. The patterns are GPT-2's (ByteLevel's own), GPT-4's and Qwen's, each with its spaces
# at the beginning of a word.
_WORD_SPLITTERS = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})
_WORD_PATTERNS = frozenset(
    {
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
    }
)

# BERT's pre-tokenizer makes a word of each of these, or drops it, whatever is beside it.
_BERT_SEPARATORS = " \t\n\r!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u3000\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
_IDEOGRAPHS = "\u4e00-\u9fff"
# Characters before a space that is cut at, in other tokenizers: letters, digits and the ends of sentences. Not a
# space, which an added token that follows may take, nor a sign that a normaliser turns into a space or joins with one.
_BEFORE_SPACE = (
    "0-9A-Za-z.,!?;:\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0388-\u03ff\u0400-\u0481\u048a-\u052f\u05d0-\u05ea"
    "\u0620-\u064a\u0904-\u0939\u0e01-\u0e30\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3"
)


class PrefixCutter:
    """Finds prefixes of long texts whose tokens are the first tokens of the whole text, for one tokenizer."""

    def __init__(self, tokenizer_json: str, max_tokens: int) -> None:
        self._first = _CHARACTERS_PER_TOKEN * max_tokens
        separator = _separator(json.loads(tokenizer_json))
        self._separator = None if separator is None else re.compile(separator)

    def may_cut(self, text: str) -> bool:
        """True if a prefix of the text is worth a try."""
        return self._separator is not None and len(text) > self._first

    def prefixes(self, text: str) -> Iterator[str]:
        """Prefixes to try one after the other, each several times longer than the last; the whole text is not one."""
        if self._separator is None:
            return
        tried, limit = 0, self._first
        while limit < len(text):
            cut = self._last_separator(text, tried + 1, limit)
            if cut is not None:
                tried = cut
                yield text[:cut]
            limit *= _GROWTH

    def _last_separator(self, text: str, first: int, last: int) -> int | None:
        """The last place in [first, last] where the text may be cut, looked for backwards in pieces."""
        if self._separator is None:
            return None
        piece = 256
        while last >= first:
            start = max(first, last - piece)
            found = [match.start() for match in self._separator.finditer(text, start, last + 1)]
            if found:
                return found[-1]
            last, piece = start - 1, piece * 2
        return None


def _separator(tokenizer: dict[str, Any]) -> str | None:
    """A pattern that matches at each place where this tokenizer's work may be cut; None where no place is known."""
    normalisers = _parts(tokenizer.get("normalizer"), "normalizers")
    splitters = _parts(tokenizer.get("pre_tokenizer"), "pretokenizers")
    added = "".join(token["content"] for token in tokenizer.get("added_tokens") or ())
    if not all(map(_is_local, normalisers)) or any(c.isspace() or c == "\u2581" for c in added):
        return None
    if [part["type"] for part in normalisers + splitters] == ["BertNormalizer", "BertPreTokenizer"]:
        characters = "".join(re.escape(c) for c in _BERT_SEPARATORS if c not in added)
        padded = normalisers[0].get("handle_chinese_chars") and not re.search(f"[{_IDEOGRAPHS}]", added)
        return f"[{characters}{_IDEOGRAPHS if padded else ''}]"
    for splitter in splitters:
        if _ends_words_at_spaces(splitter):
            return f"(?<=[{_BEFORE_SPACE}]) "
        if splitter["type"] not in _LOCAL_SPLITTERS:
            return None
    return None


def _parts(step: dict[str, Any] | None, of_sequence: str) -> list[dict[str, Any]]:
    """The parts of a step of the tokenizer, sequences within sequences laid out."""
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [part for inner in step[of_sequence] for part in _parts(inner, of_sequence)]
    return [step]


def _is_local(normaliser: dict[str, Any]) -> bool:
    if normaliser["type"] == "Replace":
        pattern = normaliser["pattern"]
        string = pattern.get("String")
        return pattern.get("Regex") in _LOCAL_PATTERNS if string is None else string == " " or " " not in string
    return normaliser["type"] in _LOCAL_NORMALISERS


def _ends_words_at_spaces(splitter: dict[str, Any]) -> bool:
    kind = splitter["type"]
    if kind == "ByteLevel":
        return bool(splitter.get("use_regex", True))
    if kind == "Metaspace":
        return bool(splitter.get("split", True))
    if kind == "Split":
        return splitter["pattern"].get("Regex") in _WORD_PATTERNS and not splitter.get("invert")
    return kind in _WORD_SPLITTERS
