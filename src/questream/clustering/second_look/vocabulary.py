"""Tokens as a language's lexicon knows them, looked up once and kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from questream.clustering.second_look.items import Flag, Kind, hashed, item
from questream.clustering.second_look.lexicon import Lexicon, lexicon
from questream.clustering.second_look.numbers import begins_number

# As many as a stream has in use, of at most so many characters.
_TOKENS = 65536
_KEPT_CHARACTERS = 64
_SHORT_NUMBER_CHARACTERS = 4
_DIGIT = re.compile(r"\d")

_CODE = re.compile(r"(?=.*\d)(?=.*[^\W\d_]).+|\d+(?:[-_.:/#]\d+){2,}|\d+[-/#]\d+|[A-Z]+-[A-Z0-9]+")
_MIXED = re.compile(r"[^\W\d_]*(?:[A-Z]{2}|[a-zß-ÿ][A-Z])")
_SEPARATORS = re.compile(r"[-_.:/#&]")
_CLAUSE_ENDS = frozenset(".,;:?!()…")
# Prefixes that turn a word around, and the fewest letters of a word that is one without them.
_PREFIXES = (("un", 3), ("dis", 5), ("de", 6), ("non", 4), ("in", 5), ("im", 6), ("ir", 6))
_CONTRACTION = re.compile(
    r"(?:ca|wo|could|would|should|must|is|are|was|were|do|does|did|have|has|had|may|might)n'?t|cannot"
)


# The last bit of an axis marks states.
STATE = 1 << 12


@dataclass(frozen=True, slots=True)
class Part:
    """A content word: its item, and what it says beside itself. `turned` are items of the word without its prefix."""

    stem: str
    word: int
    poles: tuple[int, ...]
    choices: tuple[int, ...]
    turned: tuple[int, ...]
    is_capital: bool
    is_mixed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of a token. A mark has neither `parts` nor a code; a word of content has parts, other words none."""

    lower: str
    is_mark: bool = False
    ends_clause: bool = False
    may_be_number: bool = False
    code: int = 0
    flags: int = 0
    is_contraction: bool = False
    is_negator: bool = False
    is_plain: bool = False
    parts: tuple[Part, ...] = ()


def entry_of(token: str, language: str) -> Entry:
    """The entry of a token of a text in that language; words and short numbers are kept."""
    # A longer number may be that of somebody's account, which is to be erased with the text, and seldom comes again.
    is_common = token.isalpha() or len(token) <= _SHORT_NUMBER_CHARACTERS or not _DIGIT.search(token)
    return _kept(token, language) if is_common and len(token) <= _KEPT_CHARACTERS else _entry(token, language)


@lru_cache(maxsize=_TOKENS)
def _kept(token: str, language: str) -> Entry:
    return _entry(token, language)


def _entry(token: str, language: str) -> Entry:
    words, lower = lexicon(language), token.lower()
    if not lower[0].isalnum():
        return Entry(lower, is_mark=True, ends_clause=lower in _CLAUSE_ENDS, may_be_number=begins_number(lower, words))
    may_be_number = begins_number(lower, words)
    if _CODE.fullmatch(token):
        code = item(Kind.CODE, hashed(_SEPARATORS.sub("", lower.removesuffix("'s"))))
        return Entry(lower, may_be_number=may_be_number, code=code)
    flags = Flag.HELP * (lower in words.help) | Flag.SYMMETRIC * (lower in words.symmetric)
    flags |= Flag.EXCHANGE * (lower in words.exchange) | Flag.RECIPROCAL * (lower in words.reciprocal)
    is_contraction = language == "en" and _CONTRACTION.fullmatch(lower) is not None
    is_negator = is_contraction or lower in words.negators or lower in words.failing or lower in words.stopped
    parts: tuple[Part, ...] = ()
    if lower not in words.function and not (is_contraction or lower in words.negators):
        # A longer one is no name of some words, and as many parts would be a name that takes their square to read.
        pieces = _SEPARATORS.split(token) if len(token) <= _KEPT_CHARACTERS else [token]
        parts = tuple(part_of(piece, words) for piece in pieces if piece)
    leads = lower in words.roles or lower in words.agents or lower in words.compound or lower in words.particles
    is_plain = bool(parts) and not (may_be_number or is_negator or leads or lower in words.boundaries)
    return Entry(lower, False, False, may_be_number, 0, flags, is_contraction, is_negator, is_plain, parts)


def part_of(word: str, words: Lexicon) -> Part:
    """The role of a word of content, or of one that is taken for such."""
    lower = word.lower()
    stem = words.stem(lower)
    poles = words.poles.get(stem, ())
    is_state = words.language == "en" and (lower.endswith("ed") or (lower in words.irregular and lower.endswith("en")))
    turned: tuple[int, ...] = ()
    if words.language == "en":
        base = _turned(lower)
        turned = (item(Kind.PREFIXED, hashed(words.stem(base))),) if base else ()
        if is_state:
            turned = (*turned, *(item(Kind.STATE, hashed(words.stem(form))) for form in (lower, base) if form))
    if is_state and lower not in words.listed:
        # "My card is blocked" asks to unblock it: a state is the opposite of another state, not of what is to be done.
        poles = tuple(pole | STATE for pole in poles)
    return Part(
        stem=stem,
        word=item(Kind.WORD, hashed(stem)),
        poles=poles,
        choices=words.choices.get(stem, ()),
        turned=turned,
        is_capital=word[0].isupper(),
        is_mixed=_MIXED.match(word) is not None,
    )


def _turned(lower: str) -> str:
    """`lock` of `unlock`; nothing of a word without such a prefix."""
    for prefix, least in _PREFIXES:
        if lower.startswith(prefix) and len(lower) - len(prefix) >= least:
            return lower[len(prefix) :]
    return ""
