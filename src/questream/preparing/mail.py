"""The question in a mail or a ticket: without quoted mail, headers, greeting, closing, signature and legal notices.

Line by line, each with bounded patterns: a regular expression over a whole mail takes as long as its sender makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from itertools import takewhile

from questream.preparing.phrases import begins_with, phrases

# No model reads further.
MOST_LINES = 400
_LOOKED_AT = 400
# More words are a sentence, not a line of a frame.
_SHORT_WORDS = 10
_NAME_WORDS = 5
_SIGNATURE_LINES = 16
_SUBJECT_WORDS = 3
_CLOSING_WORDS = 4
# More than that behind the phrase may be what the mail is about.
_COURTESY_WORDS = 2

_RULE = re.compile(r"[-_=*~#\u2014\u2500]{5,}")
_DASHES = re.compile(r"--+|__+|\u2014")
_FIELD = re.compile(r"[*_ ]{0,3}([^\W\d_][\w .'/#-]{0,24}?)[*_ ]{0,3}:[*_]{0,2}(?:\s+(.*)|)$")
_REPLY_PREFIX = re.compile(r"(?:(?:re|aw|wg|fw|fwd|rv|tr|antw|sv|vs)(?:\[\d+\])?:\s*)+", re.IGNORECASE)
_NUMBER = re.compile(
    r"\W*(?:(?:ticket|case|request|vorgang|incident|ref)\b\W*)?[#\[]?[A-Z]{0,8}[-#]?\d{3,}\W*", re.IGNORECASE
)
_CONTACT = re.compile(
    r"https?://|www\.|[\w.+-]{1,64}@[\w-]{1,64}\.|(?:\+|\b00|\(0)\d|\b\d{2,}[\s./-]\d{3,}|\d{6,}"
    # The word alone is what many questions are about.
    r"|\b(?:tel|phone|mobile|fax|mob|cell|telefon|mobil|tél|téléphone|teléfono)\b\.?\s*[:+(\d]",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_](?:[^\W_]|['\u2019.-](?=[^\W_]))*")
_NAME = re.compile(r"[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*\.?")
_QUESTION_MARKS = frozenset("?\uff1f\u061f\u00bf")
_SENTENCE = re.compile(r"[^.!?]*[.!?]+(?:\s+|$)")
_GREETING_ENDS = re.compile(r"[,!:;\u2013]|\s-\s|\.\s")


class _Line:
    """A line of a mail; its words in lower case."""

    def __init__(self, raw: str) -> None:
        self.text = raw.strip()
        self.blank = not self.text
        self.words = [] if self.blank else _WORD.findall(self.text[:_LOOKED_AT].lower().replace("\u2019", "'"))
        # Its words, each between spaces.
        self.said = f" {' '.join(self.words)} "

    @property
    def quoted(self) -> bool:
        return self.text.startswith(">")

    @property
    def rule(self) -> bool:
        return _RULE.fullmatch(self.text) is not None

    @cached_property
    def contact(self) -> bool:
        """Whether it has a telephone number, a link or an address."""
        return _CONTACT.search(self.text[:_LOOKED_AT]) is not None

    @cached_property
    def asks(self) -> bool:
        return not _QUESTION_MARKS.isdisjoint(self.text) and not self.contact

    @cached_property
    def field(self) -> tuple[str, str] | None:
        """Name and content of a header's field."""
        found = _FIELD.match(self.text[:_LOOKED_AT])
        if found is None:
            return None
        name = " ".join(found[1].lower().replace("#", " ").split())
        return (name, found[2] or "") if name in phrases().headers else None

    @cached_property
    def number(self) -> bool:
        """Whether it is the number of a ticket."""
        return _NUMBER.fullmatch(self.text) is not None


_BLANK = _Line("")


def body(text: str) -> str:
    """The lines of a mail in which its sender says what it is about; the text itself where it is all of that.

    A text of one line is no mail. Of a long one the first MOST_LINES lines count.
    """
    if "\n" not in text:
        return text
    lines = [_Line(line) for line in text.split("\n", MOST_LINES)[:MOST_LINES]]
    framed = _without_signature(_without_notices(_without_greeting(_without_headers(_written(lines)))))
    kept = _without_courtesies(framed)
    if not _any(kept) or (kept == framed and len(kept) == len(_trimmed(lines))):
        return text
    # A name below what thanks for an answer hid it.
    said = _without_courtesies(_without_name(kept))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.text for line in said))


def _any(lines: Iterable[_Line]) -> bool:
    return any(not line.blank for line in lines)


def _trimmed(lines: list[_Line]) -> list[_Line]:
    """Without the blank lines around them."""
    first, last = 0, len(lines)
    while first < last and lines[first].blank:
        first += 1
    while last > first and lines[last - 1].blank:
        last -= 1
    return lines[first:last]


def _written(lines: list[_Line]) -> list[_Line]:
    """What the sender wrote, not what is quoted; of a mail that only forwards another, the other."""
    kept: list[_Line] = []
    at = 0
    while at < len(lines):
        announced = _announces_quote(lines, at)
        if announced:
            rest = _trimmed(lines[at + announced :])
            # Lines marked as quoted may have an answer below them; what is not marked is quoted to its end.
            if rest and not rest[0].quoted:
                if _any(_without_greeting(_without_headers(kept))):
                    break
                kept = []
            at += announced
        else:
            if not lines[at].quoted:
                kept.append(lines[at])
            at += 1
    return _trimmed(kept if _any(kept) else [_Line(line.text.lstrip("> ")) for line in lines])


def _announces_quote(lines: list[_Line], at: int) -> int:
    """How many lines from here on say that a quoted mail follows; 0 where they do not."""
    if lines[at].blank:
        return 0
    return int(_is_separator(lines[at], at)) or _attribution(lines, at) or _header_of_quoted(lines, at)


def _is_separator(line: _Line, at: int) -> bool:
    """Whether it is such as "-----Original Message-----"."""
    if len(line.words) > _SHORT_WORDS or not (line.text[0] in "-_=*#" or line.text[-1] == ":" or at == 0):
        return False
    return phrases().forwarded.search(line.said) is not None


def _attribution(lines: list[_Line], at: int) -> int:
    """How many lines are such as "On Tuesday at 10:12, Anna <a@example.com> wrote:", which may be broken into three."""
    first = lines[at]
    if not (first.text[-1] == ":" or any(word[0].isdigit() for word in first.words)):
        return 0
    together = list(takewhile(lambda line: not line.blank, lines[at : at + 3]))
    count = next((count for count, line in enumerate(together, 1) if line.text[-1] == ":"), 0)
    said = "".join(line.said for line in together[:count]).replace("  ", " ")
    wrote = phrases().wrote.search(said) is not None
    return count if wrote and any(c.isdigit() for c in said) else 0


def _header_of_quoted(lines: list[_Line], at: int) -> int:
    """How many lines are the header of a quoted mail, and the rule above it."""
    if at == 0 or not (lines[at].rule or lines[at - 1].blank or lines[at - 1].rule):
        return 0
    first = at
    while first < min(len(lines), at + 3) and (lines[first].rule or lines[first].blank):
        first += 1
    fields = sum(1 for _ in takewhile(lambda line: line.field is not None, lines[first : first + _SIGNATURE_LINES]))
    return first - at + fields if fields >= (2 if first > at else 3) else 0


def _without_headers(lines: list[_Line]) -> list[_Line]:
    """Without the fields that a mail or a ticket begins with, but for what its subject says."""
    lines = _trimmed(lines)
    subjects: list[_Line] = []
    at = fields = 0
    while at < len(lines):
        line = lines[at]
        if line.field is not None:
            name, content = line.field
            subject = _Line(_NUMBER.sub("", _REPLY_PREFIX.sub("", content))) if name in phrases().subjects else _BLANK
            subjects += [subject] if len(subject.words) >= _SUBJECT_WORDS else []
            fields += 1
        elif line.number:
            fields += 1
        elif not (fields and (line.blank or line.rule)):
            break
        at += 1
    return [*subjects, *_trimmed(lines[at:])] if fields else lines


def _without_greeting(lines: list[_Line]) -> list[_Line]:
    lines = _trimmed(lines)
    if not lines:
        return lines
    first, count = lines[0], begins_with(lines[0].words, phrases().greetings)
    if not count:
        return lines
    alone = not first.asks and len(first.words) <= count + _NAME_WORDS
    if (
        alone
        and len(lines) > 1
        and (first.text[-1] in ",!:.;-\u2013" or lines[1].blank or len(first.words) <= count + 3)
    ):
        return _trimmed(lines[1:])
    ends = _GREETING_ENDS.search(first.text[:80])
    if ends and len(_Line(first.text[: ends.start()]).words) <= count + 3:
        rest = _Line(first.text[ends.end() :].lstrip(" -,"))
        return [rest, *lines[1:]] if rest.words else lines
    return lines


def _without_courtesies(lines: list[_Line]) -> list[_Line]:
    """Without the sentences around it that only say hello or thank you, such as "I hope this mail finds you well."."""
    kept = _trimmed(lines)
    while kept:
        found = _SENTENCE.match(kept[0].text[:_LOOKED_AT])
        end = len(kept[0].text) if found is None else found.end()
        if not _is_courtesy(kept[0].text[:end], phrases().courtesies):
            break
        rest = _Line(kept[0].text[end:])
        kept = _trimmed(kept[1:] if rest.blank else [rest, *kept[1:]])
    while kept:
        begin = _last_sentence(kept[-1].text)
        if not _is_courtesy(kept[-1].text[begin:], phrases().endings):
            return kept
        rest = _Line(kept[-1].text[:begin])
        kept = _trimmed(kept[:-1] if rest.blank else [*kept[:-1], rest])
    return lines


def _is_courtesy(text: str, those: frozenset[str]) -> bool:
    sentence = _Line(text)
    count = begins_with(sentence.words, those)
    return count > 0 and not sentence.asks and len(sentence.words) <= count + _COURTESY_WORDS


def _last_sentence(text: str) -> int:
    """Where the last sentence of a line begins."""
    ends = [found.end() for found in _SENTENCE.finditer(text[-_LOOKED_AT:].rstrip())]
    before = [end for end in ends if end < len(text[-_LOOKED_AT:].rstrip())]
    return max(0, len(text) - _LOOKED_AT) + (before[-1] if before else 0)


def _without_notices(lines: list[_Line]) -> list[_Line]:
    """Without the paragraphs below the first that speak of confidence, liability, registers and the like."""
    paragraphs: list[list[_Line]] = [[]]
    for line in lines:
        if line.blank:
            paragraphs.append([])
        else:
            paragraphs[-1].append(line)
    kept = [
        paragraph
        for at, paragraph in enumerate(paragraphs)
        if at == 0 or not _is_notice(paragraph, last=at == len(paragraphs) - 1)
    ]
    return [line for paragraph in kept for line in [*paragraph, _BLANK]]


def _is_notice(paragraph: list[_Line], *, last: bool) -> bool:
    text = "".join(line.said for line in paragraph).replace("  ", " ")
    said = len(set(phrases().legal.findall(text)))
    asks = any(line.asks for line in paragraph)
    return said >= (3 if asks else 2) or (last and said > 0 and not asks)


def _without_signature(lines: list[_Line]) -> list[_Line]:
    """Up to two dashes or the closing, where no more of the question follows; without addresses at the end."""
    lines = _trimmed(lines)
    kept: list[_Line] = []
    at = 0
    while at < len(lines):
        line, rest = lines[at], lines[at + 1 :]
        at += 1
        if begins_with(line.words, phrases().sent_from) and len(line.words) <= _SHORT_WORDS:
            continue
        ends = _DASHES.fullmatch(line.text) is not None or line.rule
        if kept and (ends or _is_closing(line)):
            if _is_signature(rest):
                break
            if not ends:
                # More follows, such as a postscript: the closing goes, and the name below it.
                at += sum(1 for _ in takewhile(_may_be_name, rest))
                continue
        kept.append(line)
    return _without_addresses(kept)


def _is_closing(line: _Line) -> bool:
    """Whether it is a closing, with a name perhaps: "Thanks, Anna" is, "Thanks for looking into my refund" is not."""
    count = begins_with(line.words, phrases().closings)
    rest = len(line.words) - count
    return count > 0 and not line.asks and rest <= 4 and (rest <= 1 or "," in line.text[:60])


def _may_be_name(line: _Line) -> bool:
    return not line.blank and len(line.words) <= 3 and not line.asks


def _is_signature(lines: list[_Line]) -> bool:
    written = [line for line in lines if not line.blank]
    return len(written) <= _SIGNATURE_LINES and all(
        not line.asks and (len(line.words) <= _SHORT_WORDS or line.contact) for line in written
    )


def _without_name(lines: list[_Line]) -> list[_Line]:
    """Without a name alone below the last sentence, and the closing above it; of what is known to be a mail."""
    name = lines[-1].text.split()
    if len(lines) < 3 or len(name) > 3 or not all(word[0].isupper() and _NAME.fullmatch(word) for word in name):
        return lines
    rest = _trimmed(lines[:-1])
    # A closing in other words than those that are known.
    if len(rest) > 1 and rest[-1].text[-1] == "," and len(rest[-1].words) <= _CLOSING_WORDS and not rest[-1].asks:
        return _trimmed(rest[:-1])
    return rest if rest[-1].text[-1] in ".!?" else lines


def _without_addresses(lines: list[_Line]) -> list[_Line]:
    """Without lines at the end that have a telephone number or the like, and the short ones above them."""
    lines = _trimmed(lines)
    end = len(lines)
    seen = False
    for at in range(len(lines) - 1, 0, -1):
        line = lines[at]
        if line.blank:
            continue
        address = line.contact and len(line.words) <= _SHORT_WORDS
        name = seen and len(line.words) <= _NAME_WORDS and line.text[-1] not in ".!"
        if line.asks or not (address or name):
            break
        seen = seen or address
        end = at
    return _trimmed(lines[:end])
