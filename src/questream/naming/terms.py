"""The terms that a name may be made of: words of content, numbers with their units, and codes, as a text has them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from questream.clustering.second_look.features import language_of, tokens_of
from questream.clustering.second_look.items import PAYLOAD_BITS, Kind
from questream.clustering.second_look.kept import Kept
from questream.clustering.second_look.lexicon import Lexicon, lexicon
from questream.clustering.second_look.numbers import number_at
from questream.clustering.second_look.vocabulary import Entry, entries_of
from questream.prepared import about_in

# Of a long mail the first sentences.
_MOST_TOKENS = 60
_LONGEST_TERM = 40
_NAMING_KINDS = frozenset((Kind.WORD, Kind.NUMBER, Kind.CODE))


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a few of a text; `item` is its hash among those that clusters keep (`second_look`).

    A `vague` one may be in nearly any question.
    """

    shown: str
    item: int
    vague: bool = False


def naming_items(kept: Kept) -> frozenset[int]:
    """The items of words, numbers and codes of all that a cluster keeps."""
    return frozenset(one for member in kept for one in member if one >> PAYLOAD_BITS in _NAMING_KINDS)


def terms_of(text: str) -> tuple[Term, ...]:
    """The terms of what a text is about, in its order, each once; a negation is joined to the word after it.

    Small words of the text's language are none. What is written like a name, `iPhone` or `PIN`, stays so.
    """
    text = about_in(text)
    tokens = tokens_of(text)[:_MOST_TOKENS]
    words = lexicon(language_of(text))
    entries = entries_of(tokens, words.language)
    lowered = [entry.lower for entry in entries]
    found: dict[int, Term] = {}
    at, negator = 0, ""
    while at < len(tokens):
        entry = entries[at]
        number = number_at(lowered, at, words) if entry.may_be_number else None
        if number is not None:
            shown = " ".join(tokens[at : at + number.tokens])
            found.setdefault(number.item, Term(shown[:_LONGEST_TERM], number.item))
            at += number.tokens
            negator = ""
            continue
        term = _term(tokens[at], entry, words, at == 0)
        if term is not None:
            shown = f"{negator} {term.shown}" if negator else term.shown
            found.setdefault(term.item, Term(shown[:_LONGEST_TERM], term.item, term.vague))
        if entry.is_negator and term is None:
            negator = "not" if entry.is_contraction else entry.lower
        elif term is not None or entry.is_mark:
            negator = ""
        at += 1
    return tuple(found.values())


def _term(token: str, entry: Entry, words: Lexicon, is_first: bool) -> Term | None:
    if entry.code:
        return Term(token, entry.code)
    if not entry.parts:
        return None
    # Of "e-mail" the last part is the thing.
    part = entry.parts[-1]
    is_name = part.is_mixed or (part.is_capital and not is_first)
    keeps_form = is_name or words.language == "de"
    return Term(token if keeps_form else entry.lower, part.word, entry.lower in vague_words(words.language))


@cache
def vague_words(language: str) -> frozenset[str]:
    """Words of content of a language (en, de, fr or es) that may be in nearly any question, in lower case."""
    listed = tomllib.loads((files("questream.naming") / "vague.toml").read_text("utf-8"))
    return frozenset(listed[language].split())
