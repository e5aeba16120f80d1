"""The question in a mail or a ticket: without quoted mail, headers, greeting, closing, signature and legal notices.

Line by line, each with bounded patterns: a regular expression over a whole mail takes as long as its sender makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from itertools import takewhile

from questream.preparing.phrases import asks_in, begins_with, phrases

# No model reads further.
MOST_LINES = 400
_LOOKED_AT = 400
# More words are a sentence, not a line of a frame.
_SHORT_WORDS = 10
_NAME_WORDS = 5
_SIGNATURE_LINES = 16
_SUBJECT_WORDS = 3
# Names and titles are capitalised, but for the small words in them.
_SENTENCE_WORDS = 3

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
_JOINT = re.compile(r"[-'.]")
_MAIL_ADDRESS = re.compile(r"\S{1,64}@\S*")
_QUESTION_MARKS = frozenset("?\uff1f\u061f\u00bf")
_SENTENCE = re.compile(r"[^.!?]*[.!?]+(?:\s+|$)")
_GREETING_ENDS = re.compile(r"[,!:;\u2013]|\s-\s|\.\s")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("\u2019", "'"))


def _is_name(word: str) -> bool:
    return all(part.istitle() for part in _JOINT.split(word))


def _only_names(words: list[str]) -> bool:
    """Whether all are names, or words that say nothing beside one."""
    lower = [word.lower() for word in words]
    named = all(one in phrases().fillers or _is_name(word) for word, one in zip(words, lower, strict=True))
    return named and not asks_in(lower)


def _is_sentence(text: str) -> bool:
    """Whether so many of its words are in lower case that it is no name, title or address."""
    words = [word.rstrip(".,!") for word in text.split()]
    count = sum(word.isalpha() and word[0].islower() for word in words)
    return count >= _SENTENCE_WORDS - (text[-1:] in ".!")


class _Line:
    """A line of a mail; its words in lower case, and as they are written."""

    def __init__(self, raw: str) -> None:
        self.text = raw.strip()
        self.blank = not self.text
        self.words = [] if self.blank else _words(self.text[:_LOOKED_AT].lower())
        # Its words, each between spaces.
        self.said = f" {' '.join(self.words)} "

    @property
    def quoted(self) -> bool:
        return self.text.startswith(">")

    @property
    def rule(self) -> bool:
        return _RULE.fullmatch(self.text) is not None

    @cached_property
    def written(self) -> list[str]:
        return _words(self.text[:_LOOKED_AT])

    @cached_property
    def contact(self) -> bool:
        """Whether it has a telephone number, a link or an address."""
        return _CONTACT.search(self.text[:_LOOKED_AT]) is not None

    @cached_property
    def asks(self) -> bool:
        return not _QUESTION_MARKS.isdisjoint(self.text) and not self.contact

    @cached_property
    def own(self) -> bool:
        """Whether its writer asks, or speaks of themself."""
        text = self.text[:_LOOKED_AT]
        return self.asks or asks_in(self.words if "@" not in text else _words(_MAIL_ADDRESS.sub(" ", text.lower())))

    @cached_property
    def says(self) -> bool:
        """Whether it may be what a mail is about, and not a line of its frame."""
        return self.own or _is_sentence(self.text[:_LOOKED_AT])

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
    framed = _without_signature(_without_notices(_without_opening(_written(lines))))
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
                if _any(_without_opening(kept)):
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
    if phrases().forwarded.search(line.said) is None:
        return False
    beside = phrases().forwarded.sub("", line.said).split()
    return not beside or (line.text[0] in "-_=*#" and not asks_in(beside))


def _attribution(lines: list[_Line], at: int) -> int:
    """How many lines are such as "On Tuesday at 10:12, Anna <a@example.com> wrote:", which may be broken into three."""
    first = lines[at]
    if not (first.text[-1] == ":" or any(word[0].isdigit() for word in first.words)):
        return 0
    together = list(takewhile(lambda line: not line.blank, lines[at : at + 3]))
    count = next((count for count, line in enumerate(together, 1) if line.text[-1] == ":"), 0)
    said = "".join(line.said for line in together[:count]).replace("  ", " ")
    wrote = phrases().wrote.search(said) is not None
    own = any(line.own for line in together[:count])
    return count if wrote and not own and any(c.isdigit() for c in said) else 0


def _header_of_quoted(lines: list[_Line], at: int) -> int:
    """How many lines are the header of a quoted mail, and the rule above it."""
    if at == 0 or not (lines[at].rule or lines[at - 1].blank or lines[at - 1].rule):
        return 0
    first = at
    while first < min(len(lines), at + 3) and (lines[first].rule or lines[first].blank):
        first += 1
    fields = sum(1 for _ in takewhile(lambda line: line.field is not None, lines[first : first + _SIGNATURE_LINES]))
    return first - at + fields if fields >= (2 if first > at else 3) else 0


def _without_opening(lines: list[_Line]) -> list[_Line]:
    """Without greeting, and the fields that a mail or a ticket begins with, but for what its subject says."""
    lines = _trimmed(lines)
    subjects: list[_Line] = []
    at = fields = 0
    while at < len(lines):
        line = lines[at]
        if line.field is not None:
            name, content = line.field
            if name not in phrases().subjects and _Line(content).says:
                break
            subject = _Line(_NUMBER.sub("", _REPLY_PREFIX.sub("", content))) if name in phrases().subjects else _BLANK
            subjects += [subject] if len(subject.words) >= _SUBJECT_WORDS else []
            fields += 1
        elif line.number:
            fields += 1
        elif not (fields and (line.blank or line.rule)):
            break
        at += 1
    return [*subjects, *_without_greeting(lines[at:])]


def _without_greeting(lines: list[_Line]) -> list[_Line]:
    lines = _trimmed(lines)
    if not lines:
        return lines
    first, count = lines[0], begins_with(lines[0].words, phrases().greetings)
    if not count:
        return lines
    named = _only_names(first.written[count:]) or _is_salutation(first, lines[1:2])
    alone = not first.asks and len(first.words) <= count + _NAME_WORDS and named
    if (
        alone
        and len(lines) > 1
        and (first.text[-1] in ",!:.;-\u2013" or lines[1].blank or len(first.words) <= count + 3)
    ):
        return _trimmed(lines[1:])
    ends = _GREETING_ENDS.search(first.text[:80])
    greeted = _words(first.text[: ends.start()])[count:] if ends else []
    if ends and len(greeted) <= 3 and _only_names(greeted):
        rest = _Line(first.text[ends.end() :].lstrip(" -,"))
        return [rest, *lines[1:]] if rest.words else lines
    return lines


def _is_salutation(line: _Line, below: list[_Line]) -> bool:
    """Whether it has the form of one, such as "Hello bank team,", with nothing below: the last word is for people."""
    form = line.text.find(",") == len(line.text) - 1 and bool(below) and below[0].blank
    return form and not line.says and _only_names(line.written[-1:])


def _without_courtesies(lines: list[_Line]) -> list[_Line]:
    """Without the sentences around it that only say hello or thank you, such as "I hope this mail finds you well."."""
    kept = _trimmed(lines)
    while kept:
        found = _SENTENCE.match(kept[0].text[:_LOOKED_AT])
        end = len(kept[0].text) if found is None else found.end()
        if not _is_courtesy(_Line(kept[0].text[:end]), phrases().courtesies):
            break
        rest = _Line(kept[0].text[end:])
        kept = _trimmed(kept[1:] if rest.blank else [rest, *kept[1:]])
    while kept:
        begin = _last_sentence(kept[-1].text)
        if not _is_ending(_Line(kept[-1].text[begin:])):
            return kept
        rest = _Line(kept[-1].text[:begin])
        kept = _trimmed(kept[:-1] if rest.blank else [*kept[:-1], rest])
    return lines


def _is_courtesy(sentence: _Line, those: frozenset[str]) -> bool:
    count = begins_with(sentence.words, those)
    return count > 0 and not sentence.asks and phrases().fillers.issuperset(sentence.words[count:])


def _is_ending(sentence: _Line) -> bool:
    return _is_courtesy(sentence, phrases().endings) or _is_closing(sentence)


def _last_sentence(text: str) -> int:
    """Where the last sentence of a line begins."""
    looked_at = text[-_LOOKED_AT:].rstrip()
    before = [found.end() for found in _SENTENCE.finditer(looked_at) if found.end() < len(looked_at)]
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
    own = any(line.asks for line in paragraph) or asks_in(phrases().legal.sub("", text).split())
    return said >= (3 if own else 2) or (last and said > 0 and not own)


def _without_signature(lines: list[_Line]) -> list[_Line]:
    """Up to two dashes or the closing, where no more of the question follows; without addresses at the end."""
    lines = _trimmed(lines)
    kept: list[_Line] = []
    at = 0
    while at < len(lines):
        line, rest = lines[at], lines[at + 1 :]
        at += 1
        if _is_sent_from(line):
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


def _is_sent_from(line: _Line) -> bool:
    """Whether it is such as "Sent from my iPhone": names of devices alone follow."""
    count = begins_with(line.words, phrases().sent_from)
    if not count or line.asks or len(line.words) > _SHORT_WORDS:
        return False
    behind = list(zip(line.written[count:], line.words[count:], strict=True))
    devices = phrases().devices
    return not behind or (
        any(lower in devices for _, lower in behind)
        and all(
            lower in devices | phrases().fillers or _is_name(word) or word.isupper() or word[-1].isdigit()
            for word, lower in behind
        )
    )


def _is_closing(line: _Line) -> bool:
    """Whether it is a closing, with a name perhaps: "Thanks, Anna" is, "Thanks for looking into my refund" is not."""
    if line.asks:
        return False
    count = begins_with(line.words, phrases().closings)
    if count and len(line.words) <= count + 4 and _only_names(line.written[count:]):
        return True
    # In other words than those that are known, such as "Warm wishes from Rome,".
    if line.text[-1:] != "," or len(line.words) > _NAME_WORDS or line.own:
        return False
    return any(word in phrases().regards and _only_names(line.written[at:]) for at, word in enumerate(line.words, 1))


def _may_be_name(line: _Line) -> bool:
    return not line.blank and len(line.words) <= 3 and not line.says


def _is_signature(lines: list[_Line]) -> bool:
    written = [line for line in lines if not line.blank and not _is_sent_from(line)]
    return len(written) <= _SIGNATURE_LINES and all(
        not line.says and (len(line.words) <= _SHORT_WORDS or line.contact) for line in written
    )


def _without_name(lines: list[_Line]) -> list[_Line]:
    """Without a name alone below the last sentence, of what is known to be a mail."""
    name = lines[-1]
    if len(lines) < 3 or len(name.text.split()) > 3 or name.says or not all(map(_is_name, name.written)):
        return lines
    above = lines[-2]
    alone = above.blank or _is_ending(_Line(above.text[_last_sentence(above.text) :]))
    rest = _trimmed(lines[:-1])
    return rest if alone and rest[-1].text[-1] in ".!?" else lines


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
        if line.says or not (address or name):
            break
        seen = seen or address
        end = at
    return _trimmed(lines[:end])
