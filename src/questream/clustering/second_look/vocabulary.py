"""Tokens as a language's lexicon knows them, looked up once and kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from questream.clustering.second_look.items import Flag, Kind, hashed, item
from questream.clustering.second_look.lexicon import LANGUAGES, Lexicon, lexicon
from questream.clustering.second_look.numbers import begins_number

# Of each language as many as a stream has in use, of at most so many characters.
_TOKENS = 65536
_KEPT_CHARACTERS = 64
_KEPT: dict[str, dict[str, Entry]] = {language: {} for language in LANGUAGES}
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
    """A content word: its item, and what it says beside itself, if anything.

    `turned` are items of the word without its prefix.
    """

    stem: str
    word: int
    poles: tuple[int, ...]
    choices: tuple[int, ...]
    turned: tuple[int, ...]
    is_capital: bool
    is_mixed: bool
    says_more: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of a token. A mark has neither `parts` nor a code; a word of content has parts, other words none.

    A plain word is one of content that leads nothing, a small one has no part in what leads, negates or ends anything.
    """

    lower: str
    is_mark: bool = False
    ends_clause: bool = False
    may_be_number: bool = False
    code: int = 0
    flags: int = 0
    is_contraction: bool = False
    is_negator: bool = False
    may_lead: bool = False
    is_plain: bool = False
    is_small: bool = False
    is_determiner: bool = False
    is_preposition: bool = False
    parts: tuple[Part, ...] = ()


def entries_of(tokens: Sequence[str], language: str) -> list[Entry]:
    """The entries of the tokens of a text in that language; those of words and short numbers are kept."""
    kept = _KEPT[language]
    return [kept.get(token) or _entry_to_keep(token, language, kept) for token in tokens]


def _entry_to_keep(token: str, language: str, kept: dict[str, Entry]) -> Entry:
    entry = _entry(token, language)
    # A longer number may be that of somebody's account, which is to be erased with the text, and seldom comes again.
    is_common = token.isalpha() or len(token) <= _SHORT_NUMBER_CHARACTERS or not _DIGIT.search(token)
    if is_common and len(token) <= _KEPT_CHARACTERS:
        if len(kept) >= _TOKENS:
            kept.clear()
        kept[token] = entry
    return entry


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
    leads = any(lower in those for those in (words.roles, words.agents, words.compound, words.objects))
    may_turn = lower in words.particles or lower in words.paired or lower in words.boundaries
    is_simple = not (may_be_number or is_negator or leads or may_turn or lower == "may")
    return Entry(
        lower,
        may_be_number=may_be_number,
        flags=flags,
        is_contraction=is_contraction,
        is_negator=is_negator,
        may_lead=leads,
        is_plain=bool(parts) and is_simple,
        is_small=not parts and is_simple,
        is_determiner=lower in words.determiners,
        is_preposition=lower in words.prepositions,
        parts=parts,
    )


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
    choices = words.choices_of(lower)
    is_capital, is_mixed = word[0].isupper(), _MIXED.match(word) is not None
    return Part(
        stem=stem,
        word=item(Kind.WORD, hashed(stem)),
        poles=poles,
        choices=choices,
        turned=turned,
        is_capital=is_capital,
        is_mixed=is_mixed,
        says_more=bool(poles or choices or turned or is_capital or is_mixed),
    )


def _turned(lower: str) -> str:
    """`lock` of `unlock`; nothing of a word without such a prefix."""
    for prefix, least in _PREFIXES:
        if lower.startswith(prefix) and len(lower) - len(prefix) >= least:
            return lower[len(prefix) :]
    return ""
