"""One line of a mail, or one sentence: what it may be by its words alone.

With bounded patterns: a regular expression over a long text takes as long as its sender makes it.
"""

from __future__ import annotations

import re

from questream.preparing.phrases import Beginnings, asks_in, phrases
from questream.preparing.words import words_of

_LOOKED_AT = 400
# More words are a sentence, not a line of a frame.
SHORT_WORDS = 10
NAME_WORDS = 5
# Names and titles are capitalised, but for the small words in them.
_SENTENCE_WORDS = 3

_RULE = re.compile(r"[-_=*~#\u2014\u2500]{5,}")
# Of no width: what editors and programs of newsletters leave behind.
_UNSEEN = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad")
_UNSEEN_AROUND = "".join(_UNSEEN) + " \t\r\xa0"
_ENCODED_CHARACTERS = 60
# Base64 is put in lines of 60 to 76 characters, the last of which is shorter. A fingerprint has letters of one case.
_ENCODED = re.compile(r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=\D*\d)[A-Za-z0-9+/]+={0,2}")
# Letters alone are rather a word.
_ENCODED_END = re.compile(r"(?=[A-Za-z]*[0-9+/=])[A-Za-z0-9+/]{4,}={0,2}")
# The characters of rules and separators.
RULES = frozenset("-_=*~#\u2014\u2500")
_BETWEEN_PARTS = re.compile(r"\s[|\u2022\u00b7]\s")
_LEAST_PARTS = 3
_DASHES = re.compile(r"--+|__+|\u2014")
_FIELD = re.compile(r"[*_ ]{0,3}([^\W\d_][\w .'/#-]{0,24}?)[*_ ]{0,3}:[*_]{0,2}(?:\s+(.*)|)$")
TICKET_NUMBER = re.compile(
    r"\W*(?:(?:ticket|case|request|vorgang|incident|ref)\b\W*)?[#\[]?[A-Z]{0,8}[-#]?\d{3,}\W*", re.IGNORECASE
)
# In small letters.
_CONTACT = re.compile(
    r"https?://|www\.|[\w.+-]@[\w-]{1,64}\.|(?:\+|\b00|\(0)\d|\b\d{2,}[\s./-]\d{3,}|\d{6,}"
    # The word alone is what many questions are about.
    r"|\b(?:tel|phone|mobile|fax|mob|cell|telefon|mobil|tél|téléphone|teléfono)\b\.?\s*[:+(\d]",
)
_MAY_BE_CONTACT = re.compile(r"[\d@:+(]|[wW]{3}\.")
_LOOKED_UP = re.compile(r"\d{3}")
# How German puts together what is numbered and the word for its number.
_NUMBERS = ("nr", "nummer")
_JOINT = re.compile(r"[-'.]")
_MAIL_ADDRESS = re.compile(r"\S{1,64}@\S*")
_AND = (["and"], ["und"], ["et"], ["y"])
_QUESTION_MARKS = "?\uff1f\u061f\u00bf"
_SENTENCE = re.compile(r"[^.!?]*[.!?]+(?:\s+|$)")
# Before a digit it is rather an abbreviation, such as "Order no. 4711". A remark in brackets ends by itself, and a
# Spanish question says where it begins. Each run of spaces is read once and whole.
_BETWEEN_SENTENCES = re.compile(
    r"(?=\s)(?<!\s)(?:(?<=[.!?])\s++(?!\d)|(?<=\))\s++(?=[A-Z\u00c0-\u00d6\u00d8-\u00de])|\s++(?=[\u00bf\u00a1]))"
)


class Line:
    """A line of a mail; blank where it says nothing."""

    __slots__ = ("_aside", "_says", "_words", "blank", "text")

    def __init__(self, raw: str) -> None:
        text = raw.strip()
        self.text = text if text[:1] not in _UNSEEN and text[-1:] not in _UNSEEN else text.strip(_UNSEEN_AROUND)
        self.blank = not self.text
        self._words: list[str] | None = None
        self._says: bool | None = None
        self._aside: bool | None = None

    @property
    def words(self) -> list[str]:
        """In lower case, each at the place that it has in `written`."""
        if self._words is None:
            # In lower case it alone has two characters, the second of which would part a word.
            self._words = words_of(self.text[:_LOOKED_AT].replace("\u0130", "I").lower())
        return self._words

    @property
    def written(self) -> list[str]:
        """Its words as they are written."""
        return words_of(self.text[:_LOOKED_AT])

    @property
    def quoted(self) -> bool:
        return self.text.startswith(">")

    @property
    def rule(self) -> bool:
        return self.text[:1] in RULES and _RULE.fullmatch(self.text) is not None

    @property
    def encoded(self) -> bool:
        """True if it is part of a picture or an attachment inside the text."""
        return len(self.text) >= _ENCODED_CHARACTERS and _ENCODED.fullmatch(self.text) is not None

    @property
    def ends_encoded(self) -> bool:
        return _ENCODED_END.fullmatch(self.text) is not None

    @property
    def dashes(self) -> bool:
        """True if it is the line above a signature that mail programs put there."""
        return self.text[:1] in RULES and (_DASHES.fullmatch(self.text) is not None or self.rule)

    @property
    def contact(self) -> bool:
        """True if it has a telephone number, a link or an address."""
        text = self.text[:_LOOKED_AT]
        # Of most lines the fast pattern already says that they have none.
        return _MAY_BE_CONTACT.search(text) is not None and _CONTACT.search(text.lower()) is not None

    @property
    def parted(self) -> bool:
        """Whether it is a signature in one line, such as "Anna | Sales | Northwind Ltd."."""
        parts = _BETWEEN_PARTS.split(self.text[:_LOOKED_AT])
        return len(parts) >= _LEAST_PARTS and all(len(words_of(part)) <= SHORT_WORDS for part in parts)

    @property
    def asks(self) -> bool:
        return any(mark in self.text for mark in _QUESTION_MARKS) and not self.contact

    @property
    def own(self) -> bool:
        """True if its writer asks, or speaks of themself."""
        text = self.text[:_LOOKED_AT]
        return self.asks or asks_in(self.words if "@" not in text else words_of(_MAIL_ADDRESS.sub(" ", text.lower())))

    @property
    def says(self) -> bool:
        """True if a mail may be about it, and it is no line of the frame."""
        if self._says is None:
            self._says = self.own or _is_sentence(self.text[:_LOOKED_AT])
        return self._says

    @property
    def field(self) -> tuple[str, str] | None:
        """Name and content of a header's field."""
        found = _FIELD.match(self.text[:_LOOKED_AT]) if ":" in self.text else None
        if found is None:
            return None
        name = " ".join(found[1].lower().replace("#", " ").split())
        content = "" if found[2] is None else self.text[found.start(2) :]
        return (name, content) if name in phrases().headers else None

    @property
    def number(self) -> bool:
        """True if it is the number of a ticket."""
        return TICKET_NUMBER.fullmatch(self.text) is not None

    @property
    def aside(self) -> bool:
        """True if no mail is about it: it thanks, asks for an answer or gives a number to look up."""
        if self._aside is None:
            # Of a longer one the rest may say it.
            self._aside = len(self.text) <= _LOOKED_AT and (self.courteous or self.reference)
        return self._aside

    @property
    def courteous(self) -> bool:
        """True if it is a courtesy and small words alone, such as "I'd be grateful for a swift reply."."""
        known = phrases()
        if not _is_courtesy(self.words, known.courtesies_and_remarks):
            return False
        # "I am available by phone." is a remark; "Are you available by phone?" is what the mail is about.
        asks = self.asks or not known.wanting.isdisjoint(self.words)
        return not asks or _is_courtesy(self.words, known.courtesies)

    @property
    def reference(self) -> bool:
        """True if it only gives a number, such as "Order no. 4711", and does not ask about it."""
        if _LOOKED_UP.search(self.text[:_LOOKED_AT]) is None or self.asks:
            return False
        known = phrases()
        beside = [word for word in self.words if not word[0].isdigit() and not _LOOKED_UP.search(word)]
        named = [word for word in beside if word.endswith(_NUMBERS) or word in known.references]
        return len(named) == len(beside) and not known.small.issuperset(beside)

    @property
    def closing(self) -> bool:
        """True if it is a closing, with a name perhaps: "Thanks, Anna", not "Thanks for looking into my refund"."""
        count = _closings(self.words)
        if len(self.words) > (count + 4 if count else NAME_WORDS) or self.asks:
            return False
        if count and only_names(self.written[count:]):
            return True
        if len(self.words) > NAME_WORDS:
            return False
        # In other words than those that are known, such as "With fond regards" or "Warm wishes from Rome,".
        if not phrases().regards.isdisjoint(self.words) and self.courteous:
            return True
        if self.text[-1:] != ",":
            return False
        return self.courteous or (
            not self.own
            and any(
                word in phrases().regards and only_names(self.written[at:]) for at, word in enumerate(self.words, 1)
            )
        )

    @property
    def sent_from(self) -> bool:
        """True if it is such as "Sent from my iPhone": names of devices alone follow."""
        count = phrases().sent_from.begin(self.words)
        if not count or self.asks or len(self.words) > SHORT_WORDS:
            return False
        behind = list(zip(self.written[count:], self.words[count:], strict=True))
        devices = phrases().devices
        return not behind or (
            any(lower in devices for _, lower in behind)
            and all(
                lower in devices or lower in phrases().small or _is_name(word) or word.isupper() or word[-1].isdigit()
                for word, lower in behind
            )
        )

    @property
    def may_be_name(self) -> bool:
        return not self.blank and len(self.words) <= 3 and not self.says

    @property
    def name(self) -> bool:
        """True if it is a name alone."""
        return len(self.text.split()) <= 3 and not self.says and all(map(_is_name, self.written))

    def sentences(self, most: int) -> list[str]:
        """Its sentences, so many of them; the last has what follows it."""
        return _BETWEEN_SENTENCES.split(self.text, most - 1) if most > 1 else [self.text]

    def last_sentence(self) -> int:
        """The position at which its last sentence begins."""
        looked_at = self.text[-_LOOKED_AT:].rstrip()
        before = [found.end() for found in _SENTENCE.finditer(looked_at) if found.end() < len(looked_at)]
        return max(0, len(self.text) - _LOOKED_AT) + (before[-1] if before else 0)


def _closings(words: list[str]) -> int:
    """The number of words that are a closing, or two: "Thanks and best wishes"."""
    count = phrases().closings.begin(words)
    more = phrases().closings.begin(words, count + 1) if count and words[count : count + 1] in _AND else 0
    return count + 1 + more if more else count


def _is_courtesy(words: list[str], those: Beginnings) -> bool:
    known = phrases()
    at = courtesies = 0
    while at < len(words):
        word, count = words[at], those.begin(words, at)
        regards = word in known.regards
        if not (count or regards or word in known.small or _is_small_number(word)):
            # Nearly every sentence that says something ends here, at one of its first words.
            return False
        courtesies += count > 0 or regards
        at += count or 1
    return courtesies > 0


def _is_small_number(word: str) -> bool:
    """True if it is such as an hour or a count of days."""
    return len(word) <= 2 and word.isdigit()


def only_names(words: list[str]) -> bool:
    """True if all are names, or words that say nothing beside one."""
    lower = [word.lower() for word in words]
    named = all(one in phrases().fillers or _is_name(word) for word, one in zip(words, lower, strict=True))
    return named and not asks_in(lower)


def _is_name(word: str) -> bool:
    return all(part.istitle() for part in _JOINT.split(word))


def _is_sentence(text: str) -> bool:
    """True if so many of its words are in lower case that it is no name, title or address."""
    words = [word.rstrip(".,!") for word in text.split()]
    # "Head of the workshop", "3 quai du Canal".
    fillers = phrases().fillers
    count = sum(word.isalpha() and word[0].islower() and word not in fillers for word in words)
    return count >= _SENTENCE_WORDS - (text[-1:] in ".!")
