"""The features of a question for the second look: words, numbers, codes, names, opposites and their order, hashed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, cached_property

from questream.clustering.second_look.items import PAYLOAD, PAYLOAD_BITS, Flag, Kind, Role, hashed, item
from questream.clustering.second_look.lexicon import LANGUAGES, Lexicon, lexicon
from questream.clustering.second_look.numbers import number_at
from questream.clustering.second_look.vocabulary import STATE, Entry, Part, entries_of, part_of
from questream.prepared import about_in

Features = tuple[int, ...]

# A longer text has numbers, names and negations enough to differ from any other: nothing follows from them.
_MOST_TOKENS = 60
MOST_ITEMS = 40
_NEGATED_WORDS = 3
_LED_WORDS = 3
_PARTICLE_REACH = 5
_LONGEST_TITLE = 3
# Where most words are capitalised, capitals mark no names.
_CAPITALS_SHARE = 0.6

_TOKEN = re.compile(r"[^\W_]+(?:[-_.:/#'&][^\W_]+|,\d+)*|[$€£¥%°]|[\"“”„«»]|[.,;:?!()…]")
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]+)[\"”“»]")
# 'Save', unlike the apostrophes of "the users' guide".
_SINGLE_QUOTED = re.compile(r"(?<![\w'])'(?=\w)([^'\"]{1,60})(?<=[\w.!?])'(?!\w)")
_QUOTED_CHARACTERS = 60
_INITIALS = re.compile(r"\b(?:[A-Z]\.){2,}")
_ELIDED = re.compile(r"\b([ldnjmsct]|qu)'(?=\w)", re.IGNORECASE)
# "Peut-il", "y a-t-il": the verb and its pronoun.
_INVERTED = re.compile(r"(?:-t)?-(ils?|elles?|on|vous|nous|je|tu|ce)\b", re.IGNORECASE)
_LETTERS_ALONE = re.compile(r"[^\W\d_]+")
_INCHES = re.compile(r"(?<=\d)\"(?=\s)")
_NON = re.compile(r"\bnon-(?=[a-z])", re.IGNORECASE)
_DO_NOT = frozenset(("don't", "dont"))
# Clauses follow these, as "before I pay".
_OF_CLAUSES = ((Role.BEFORE,), (Role.AFTER,))
_SENTENCE_ENDS = frozenset('.?!…:"“„«')
# By language, in the order of `LANGUAGES`.
_LETTERS: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset("äöüßÄÖÜ"),
    frozenset("çœèêàùûîôÀÊÈ"),
    frozenset("¿¡ñíóúÑ"),
)


def features(text: str) -> Features:
    """The items of what a text is about, forty at most; none if that is too long for them to mean anything."""
    text = _plain(about_in(text))
    tokens = _TOKEN.findall(text)
    if len(tokens) > _MOST_TOKENS:
        return ()
    words = lexicon(language_of(text))
    reworded = words.reworded(text)
    if words.language == "fr":
        reworded = _INVERTED.sub(r" \1", reworded)
    if reworded != text:
        tokens = _TOKEN.findall(reworded)
    found = _Reader(tokens, words).read()
    quotes = [quote for quote in map(str.strip, _QUOTED.findall(text)) if 0 < len(quote) <= _QUOTED_CHARACTERS]
    quoted = [item(Kind.QUOTED, hashed(quote.lower().rstrip(".,;:?! '"))) for quote in quotes]
    return (*found, *quoted)[:MOST_ITEMS]


def tokens_of(text: str) -> list[str]:
    """The words, numbers, codes and marks of a text, in its order."""
    return _TOKEN.findall(_plain(text))


def language_of(text: str) -> str:
    """The language most of whose small words and letters a text has; English where it has none."""
    counts = [0] * len(LANGUAGES)
    for found in map(_languages_of().get, _LETTERS_ALONE.findall(text.lower())):
        if found:
            for at in found:
                counts[at] += 1
    if not text.isascii():
        letters = set(text)
        for at, own in enumerate(_LETTERS):
            counts[at] += 2 * bool(letters & own)
    return LANGUAGES[counts.index(max(counts))]


@cache
def _languages_of() -> dict[str, tuple[int, ...]]:
    """Function words, and the places of the languages in which they are ones."""
    found: dict[str, tuple[int, ...]] = {}
    for at, language in enumerate(LANGUAGES):
        for word in lexicon(language).function:
            found[word] = (*found.get(word, ()), at)
    return found


def _plain(text: str) -> str:
    if "’" in text or "‘" in text:
        text = text.replace("’", "'").replace("‘", "'")
    if "'" in text:
        text = _SINGLE_QUOTED.sub(r'"\1"', text)
    if '"' in text:
        text = text.replace('""', '"')
        if text[:1] == '"' == text[-1:] and text.count('"') != 2:
            text = text[1:-1]
        if text.count('"') % 2:
            text = _INCHES.sub(" inch", text)
    if "." in text:
        text = _INITIALS.sub(lambda found: found[0].replace(".", ""), text)
    if "on-" in text:
        text = _NON.sub("non", text)
    return _ELIDED.sub(r"\1 ", text) if "'" in text else text


class _Reader:
    """Goes through the tokens of a text once."""

    def __init__(self, tokens: Sequence[str], words: Lexicon) -> None:
        self._words = words
        self._entries = entries_of(tokens, words.language)
        self._lowered = [entry.lower for entry in self._entries]
        self._items: list[int] = []
        self._flags = 0
        self._frame: list[str] = []
        self._negated = 0  # how many words the negation still binds
        self._roles: tuple[int, ...] = ()
        self._led = 0  # how many words the preposition still leads
        self._verbs: list[tuple[str, int]] = []
        self._capitals: list[str] = []  # of the words of a name
        self._last_name = 0
        self._tokens = tokens

    def read(self) -> Features:
        """The items of all tokens."""
        at = 0
        while at < len(self._entries):
            entry = self._entries[at]
            number = number_at(self._lowered, at, self._words) if entry.may_be_number else None
            if number is not None:
                self._add(number.item)
                at += number.tokens
                continue
            if entry.is_plain:
                self._flags |= entry.flags
                for part in entry.parts:
                    if part.says_more or self._negated or self._led or self._capitals:
                        self._word(at, part)
                    else:
                        self._content(at, part)
            elif entry.is_small:
                self._flags |= entry.flags
                self._small(entry, leads=False)
            elif entry.is_mark:
                self._mark(entry)
            else:
                self._read_other(at, entry)
            at += 1
        self._end_name()
        frame = item(Kind.FRAME, hashed(" ".join(self._frame)))
        return item(Kind.FLAGS, self._flags), frame, *self._items

    def _mark(self, entry: Entry) -> None:
        if entry.ends_clause:
            self._negated = self._led = 0
        if self._capitals:
            self._end_name()

    def _read_other(self, at: int, entry: Entry) -> None:
        words, lower = self._words, entry.lower
        if entry.code:
            self._add(entry.code)
            return
        self._flags |= entry.flags
        if entry.is_negator and self._negation(at, entry):
            return
        if lower == "may" and self._is_month(at):
            self._word(at, part_of(lower, words))
            return
        leads = entry.may_lead and self._preposition(at, lower)
        if lower in words.particles:
            self._phrase(at, lower)
        if lower in words.paired and self._verbs and self._verbs[-1][1] == at - 1:
            self._items.append(words.paired_pole(self._verbs[-1][0], lower))
        if lower in words.boundaries:
            self._negated = 0
        if entry.parts:
            for part in entry.parts:
                self._word(at, part)
            return
        self._small(entry, leads)

    def _small(self, entry: Entry, leads: bool) -> None:
        if self._led and not (leads or entry.is_determiner or self._is_in_clause(entry.lower)):
            self._led = 0
        if self._negated and self._negated < _NEGATED_WORDS and (leads or entry.is_preposition):
            self._negated = 0
        if not entry.is_determiner:
            self._frame.append(entry.lower)
        if self._capitals:
            self._end_name()

    def _is_in_clause(self, lower: str) -> bool:
        """True if the preposition before leads a clause, which a small word opens or goes on in."""
        words = self._words
        if self._roles not in _OF_CLAUSES:
            return False
        opens = self._led == _LED_WORDS and lower not in words.boundaries
        return opens or lower in words.prepositions or lower in words.agents

    def _add(self, found: int) -> None:
        """A number or a code."""
        self._items.append(found)
        self._lead(found)
        self._frame.append("*")

    def _content(self, at: int, part: Part) -> None:
        self._items.append(part.word)
        self._frame.append("*")
        self._verbs.append((part.stem, at))

    def _word(self, at: int, part: Part) -> None:
        self._lead(part.word)
        self._content(at, part)
        # "Can it be locked?" asks for an action, as "Can I lock it?" does.
        is_action = at > 0 and self._lowered[at - 1] == "be"
        if self._negated:
            self._negated -= 1
            self._items.append(item(Kind.NEGATED, part.word & PAYLOAD))
        elif part.poles:
            self._items += [pole & ~STATE for pole in part.poles] if is_action else part.poles
        self._items += part.choices
        if part.turned:
            self._items += [found for found in part.turned if not (is_action and found >> PAYLOAD_BITS == Kind.STATE)]
        # German writes all nouns with a capital, and no capital inside.
        is_capital = part.is_capital and self._words.language != "de" and not self._begins(at)
        if (is_capital or part.is_mixed) and self._capitals_are_rare:
            self._name(part)
        elif self._capitals:
            self._end_name()

    @cached_property
    def _capitals_are_rare(self) -> bool:
        capitals = sum(token[0].isupper() for token in self._tokens[1:])
        return capitals <= max(2, _CAPITALS_SHARE * len(self._tokens))

    def _begins(self, at: int) -> bool:
        """True if a sentence or a quotation begins here."""
        if at > 1 and self._lowered[at - 1] == ".":
            # "Dr. Meyer" goes on.
            return len(self._lowered[at - 2]) > _LONGEST_TITLE
        return at == 0 or self._lowered[at - 1] in _SENTENCE_ENDS

    def _name(self, part: Part) -> None:
        if self._capitals:
            # A name of several words goes by its last, as persons and products do.
            self._items = [found for found in self._items if found != self._last_name]
        self._last_name = item(Kind.NAME, part.word & PAYLOAD)
        self._items.append(self._last_name)
        self._capitals.append(part.stem[0])

    def _end_name(self) -> None:
        if len(self._capitals) > 1:
            self._items.append(item(Kind.ALIAS, hashed(self._words.stem("".join(self._capitals)))))
        self._capitals.clear()

    def _lead(self, found: int) -> None:
        """The preposition before leads this too."""
        if self._led:
            self._led -= 1
            self._items += [item(Kind.ROLE, role << 24 | found & 0xFFFFFF) for role in self._roles]

    def _negation(self, at: int, entry: Entry) -> bool:
        """True if that is all that the word says."""
        words, lower = self._words, entry.lower
        before, following = self._lowered[at - 1] if at else "", self._following(at)
        stopped = lower in words.stopped
        if stopped and not following.endswith("ing"):
            return False
        if lower == "no" and following == "one":
            return True
        if lower in words.failing_next:
            # What fails is not the failing.
            for part in entry.parts:
                self._word(at, part)
        # "Can't I ...?" asks the same as "Can I ...?", "Don't tell ..." not as "Tell ..."; "or not" negates nothing.
        is_asking = entry.is_contraction and at == 0 and (lower not in _DO_NOT or following in words.function)
        if not is_asking and before != "or":
            self._negated = _NEGATED_WORDS
            self._flags |= Flag.NEGATES
            if stopped or lower in words.failing or self._reports_failure(at, before, following):
                self._flags |= Flag.FAILING
            if words.language == "de":
                # The verb and its objects are before it.
                recent = [found for found in self._items[-2:] if found >> PAYLOAD_BITS == Kind.WORD]
                self._items += [item(Kind.NEGATED, found & PAYLOAD) for found in recent]
        return True

    def _is_month(self, at: int) -> bool:
        """True if `may` is at a place where a verb is not."""
        before = self._lowered[at - 1] if at else ""
        is_led = before in self._words.roles or before in self._words.prepositions
        return self._words.language == "en" and (is_led or self._following(at)[:1].isdigit())

    def _reports_failure(self, at: int, before: str, following: str) -> bool:
        words = self._words
        if before in words.failing_after or following.endswith("ing") or "yet" in self._lowered:
            return True
        return not words.failing_verbs.isdisjoint(self._lowered[at + 1 : at + 5])

    def _preposition(self, at: int, lower: str) -> bool:
        """True if the word leads what follows."""
        words, following = self._words, self._following(at)
        roles = words.roles.get(lower) or words.roles.get(f"{lower}_{following}")
        before = self._lowered[at - 1] if at else ""
        if lower in words.objects and not (before in words.prepositions or before in words.roles):
            self._roles, self._led = (Role.OBJECT,), 1
            return True
        if roles is None:
            if lower in words.agents and self._is_participle(before):
                self._roles, self._led = (Role.AGENT,), _LED_WORDS
                return True
            return False
        if lower == "to" and (following in words.verbs or before in words.infinitive):
            return False
        if before != "without":
            self._roles, self._led = roles, _LED_WORDS
        return True

    def _following(self, at: int) -> str:
        return self._lowered[at + 1] if at + 1 < len(self._lowered) else ""

    def _is_participle(self, word: str) -> bool:
        return word.endswith(("ed", "en", "é", "ée", "és", "ées")) or word in self._words.irregular

    def _phrase(self, at: int, particle: str) -> None:
        for stem, place in reversed(self._verbs):
            if at - place > _PARTICLE_REACH:
                return
            poles = self._words.phrases.get((stem, particle))
            if poles:
                self._items += poles
                return
