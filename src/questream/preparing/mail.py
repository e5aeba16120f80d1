"""The question in a mail or a ticket: without quoted mail, headers, greeting, closing, signature and legal notices.

Line by line: `line` has the kinds that a line may be by itself, its place in the mail decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import dropwhile, takewhile

from questream.preparing.html import is_html, to_text
from questream.preparing.line import NAME_WORDS, RULES, SHORT_WORDS, TICKET_NUMBER, Line, only_names
from questream.preparing.phrases import asks_in, phrases
from questream.preparing.words import words_of

# No model reads further.
MOST_LINES = 400
_SIGNATURE_LINES = 16
_SUBJECT_WORDS = 3
_BANNER_LINES = 8
# So many phrases of a warning are one; of a sender who speaks of themself it has one more.
_WARNINGS = 2
# Sentences that are looked at, as a text may be of nothing but short ones.
_MOST_ASIDES = 400

_REPLY_PREFIX = re.compile(r"(?:(?:re|aw|wg|fw|fwd|rv|tr|antw|sv|vs)(?:\[\d+\])?:\s*)+", re.IGNORECASE)
_GREETING_ENDS = re.compile(r"[,!:;\u2013]|\s-\s|\.\s")
_BLANK = Line("")


def said_in(text: str) -> str:
    """The question in a mail, HTML or plain; the text itself if the question is all of it."""
    return _body((to_text(text) or text) if is_html(text) else text)


def _body(text: str) -> str:
    """A text of one line is no mail. Of a long one the first MOST_LINES lines count."""
    if "\n" not in text:
        return text
    lines = [Line(line) for line in text.split("\n", MOST_LINES)[:MOST_LINES]]
    framed = _without_signature(_without_notices(_without_opening(_without_banner(_written(_readable(lines))))))
    kept = _without_asides(framed)
    if not _any(kept) or (kept == framed and len(kept) == len(_trimmed(lines))):
        return text
    if kept[0] is not framed[0] and all(line.name for line in kept):
        # Only thanks or a number was above it: by a name alone it would be near to all else of that name.
        said = framed
    else:
        # A name below what thanks for an answer hid it.
        unnamed = _without_name(kept)
        said = kept if unnamed is kept else _without_asides(unnamed)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.text for line in said))


def _any(lines: Iterable[Line]) -> bool:
    return any(not line.blank for line in lines)


def _trimmed(lines: list[Line]) -> list[Line]:
    """Without the blank lines around them."""
    first, last = 0, len(lines)
    while first < last and lines[first].blank:
        first += 1
    while last > first and lines[last - 1].blank:
        last -= 1
    return lines[first:last]


def _written(lines: list[Line]) -> list[Line]:
    """The lines that the sender wrote, not what is quoted; of a mail that only forwards another, the other."""
    kept: list[Line] = []
    at = 0
    while at < len(lines):
        announced = _announces_quote(lines, at)
        if announced:
            rest = _trimmed(lines[at + announced :])
            # Lines marked as quoted may have an answer below them; what is not marked is quoted to its end.
            if rest and not rest[0].quoted:
                said = _without_opening(kept)
                if _any(said) and not _passes_on(said):
                    break
                kept = []
            at += announced
        else:
            if not lines[at].quoted:
                kept.append(lines[at])
            at += 1
    return _trimmed(kept if _any(kept) else [Line(line.text.lstrip("> ")) for line in lines])


def _readable(lines: list[Line]) -> list[Line]:
    """Without pictures and attachments inside the text as Base64."""
    if not any(line.encoded for line in lines):
        return lines
    kept: list[Line] = []
    encoded = False
    for line in lines:
        encoded = line.encoded or (encoded and line.ends_encoded)
        if not encoded:
            kept.append(line)
    return kept if _any(kept) else lines


def _passes_on(lines: list[Line]) -> bool:
    """True if they only say that the mail below is the one to read, such as "FYI", below no greeting."""
    words = [word for line in _without_signature(lines) for word in line.words]
    if not phrases().passed_on.among(words):
        return False
    return phrases().small.issuperset(phrases().passed_on.left_out_of(words))


def _without_banner(lines: list[Line]) -> list[Line]:
    """Without the lines above by which a gateway warns of mail from outside."""
    first = list(takewhile(lambda line: not line.blank, lines))
    said, warning = _warnings(first[:_BANNER_LINES]), first[:_BANNER_LINES]
    if len(said) < _WARNINGS:
        return lines
    while _warnings(warning[:-1]) == said:
        warning.pop()
    if any(line.asks for line in warning) or (any(line.own for line in warning) and len(said) == _WARNINGS):
        return lines
    # The rest of the paragraph may be the mail, or the end of the warning.
    rest = first[len(warning) :]
    kept = rest if any(line.says for line in rest) else []
    return _trimmed([*kept, *lines[len(first) :]]) or lines


def _warnings(lines: list[Line]) -> set[str]:
    return phrases().banners.among([word for line in lines for word in line.words])


def _announces_quote(lines: list[Line], at: int) -> int:
    """The number of lines from here on that announce a quoted mail; 0 without one."""
    if lines[at].blank:
        return 0
    # Nearly every line ends here.
    if at > 0 and lines[at].text[0] not in RULES and ":" not in "".join([line.text for line in lines[at : at + 3]]):
        return 0
    return int(_is_separator(lines[at], at)) or _attribution(lines, at) or _header_of_quoted(lines, at)


def _is_separator(line: Line, at: int) -> bool:
    """True if it is such as "-----Original Message-----"."""
    marked = line.text[0] in "-_=*#"
    if not (marked or line.text[-1] == ":" or at == 0) or len(line.words) > SHORT_WORDS:
        return False
    if not phrases().forwarded.among(line.words):
        return False
    beside = phrases().forwarded.left_out_of(line.words)
    return not beside or (marked and not asks_in(beside))


def _attribution(lines: list[Line], at: int) -> int:
    """The number of lines of "On Tuesday at 10:12, Anna <a@example.com> wrote:", which may be broken into three."""
    together: list[Line] = []
    for line in lines[at : at + 3]:
        if line.blank:
            return 0
        together.append(line)
        if line.text[-1] == ":":
            break
    else:
        return 0
    if len(together) > 1 and not any(word[0].isdigit() for word in together[0].words):
        return 0
    words = [word for line in together for word in line.words]
    if not phrases().wrote.among(words) or not any(c.isdigit() for word in words for c in word):
        return 0
    return 0 if any(line.own for line in together) else len(together)


def _header_of_quoted(lines: list[Line], at: int) -> int:
    """The number of lines of the header of a quoted mail and the rule above it."""
    if at == 0 or not (lines[at].rule or lines[at - 1].blank or lines[at - 1].rule):
        return 0
    first = at
    while first < min(len(lines), at + 3) and (lines[first].rule or lines[first].blank):
        first += 1
    end, names = first, list[str]()
    while end < min(len(lines), first + 2 * _SIGNATURE_LINES):
        field = lines[end].field
        if field is not None and field[0] not in phrases().bodies:
            names.append(field[0])
        elif not lines[end].blank:
            break
        # A mail in HTML may have a paragraph for each.
        end += 1
    # Without a sender they are those of a form, above the question of who fills it in.
    is_header = len(names) >= (2 if first > at else 3) and not phrases().senders.isdisjoint(names)
    return end - at if is_header else 0


def _without_opening(lines: list[Line]) -> list[Line]:
    """Without greeting, and the fields that a mail or a ticket begins with, but for what its subject says."""
    lines = _trimmed(lines)
    subjects: list[Line] = []
    at = fields = 0
    while at < len(lines):
        line = lines[at]
        if line.field is not None:
            name, content = line.field
            if name in phrases().bodies:
                lines[at] = Line(content)
                break
            if name not in phrases().subjects and Line(content).says:
                break
            subject = (
                Line(TICKET_NUMBER.sub("", _REPLY_PREFIX.sub("", content))) if name in phrases().subjects else _BLANK
            )
            subjects += [subject] if len(subject.words) >= _SUBJECT_WORDS and not subject.aside else []
            fields += 1
        elif line.number:
            fields += 1
        elif not (fields and (line.blank or line.rule)):
            break
        at += 1
    return [*subjects, *_without_greeting(lines[at:])]


def _without_greeting(lines: list[Line]) -> list[Line]:
    lines = _trimmed(lines)
    if not lines:
        return lines
    first, count = lines[0], phrases().greetings.begin(lines[0].words)
    if not count:
        return lines
    named = only_names(first.written[count:]) or _is_salutation(first, count, lines[1:2])
    alone = not first.asks and len(first.words) <= count + SHORT_WORDS and named
    if (
        alone
        and len(lines) > 1
        and (first.text[-1] in ",!:.;-\u2013" or lines[1].blank or len(first.words) <= count + 3)
    ):
        return _trimmed(lines[1:])
    ends = _GREETING_ENDS.search(first.text[:80])
    greeted = words_of(first.text[: ends.start()])[count:] if ends else []
    if ends and len(greeted) <= 3 and only_names(greeted):
        rest = Line(first.text[ends.end() :].lstrip(" -,"))
        return [rest, *lines[1:]] if rest.words else lines
    return lines


def _is_salutation(line: Line, count: int, below: list[Line]) -> bool:
    """True if it has the form of one, with nothing below: "Hi tom,", or "Hello bank team,", the last for people."""
    form = line.text[-1] in ",:" and bool(below) and below[0].blank and not line.says
    one_word = len(line.words) == count + 1
    return form and (one_word or ("," not in line.text[:-1] and only_names(line.written[-1:])))


def _without_asides(lines: list[Line]) -> list[Line]:
    """Without the sentences that do not say what it is about, such as "I hope this mail finds you well."."""
    kept = _trimmed(_without_aside_sentences(lines))
    for _ in range(_MOST_ASIDES):
        if not kept:
            return lines
        begin = 0 if kept[-1].aside else kept[-1].last_sentence()
        last = Line(kept[-1].text[begin:]) if begin else kept[-1]
        rest = Line(kept[-1].text[:begin])
        if not (last.aside or last.closing) or _is_announced(last, [rest.text], kept[:-1]):
            break
        kept = _trimmed(kept[:-1] if rest.blank else [*kept[:-1], rest])
    return kept or lines


def _without_aside_sentences(lines: list[Line]) -> list[Line]:
    kept: list[Line] = []
    looked_at = 0
    for line in lines:
        if line.blank or looked_at >= _MOST_ASIDES:
            kept.append(line)
            continue
        sentences = line.sentences(_MOST_ASIDES - looked_at)
        looked_at += len(sentences)
        if len(sentences) == 1 or line.aside:
            if not line.aside or _is_announced(line, [], kept):
                kept.append(line)
            continue
        said: list[str] = []
        for sentence in map(Line, sentences):
            if not sentence.aside or _is_announced(sentence, said, kept):
                said.append(sentence.text)
        if len(said) == len(sentences):
            kept.append(line)
        elif said:
            kept.append(Line(" ".join(said)))
    return kept


def _is_announced(number: Line, before: list[str], above: list[Line]) -> bool:
    """True if it is a number of a list that is asked about, such as "Please cancel these:".

    That is `before` it in its line, or in the line above the list.
    """
    if not number.reference:
        return False
    said = next(dropwhile(lambda line: line.blank or line.reference, reversed(above)), None)
    return any(":" in one for one in before) or (said is not None and said.text[-1] == ":")


def _without_notices(lines: list[Line]) -> list[Line]:
    """Without the paragraphs below the first that speak of confidence, liability, registers and the like."""
    paragraphs: list[list[Line]] = [[]]
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


def _is_notice(paragraph: list[Line], *, last: bool) -> bool:
    words = [word for line in paragraph for word in line.words]
    said = len(phrases().legal.among(words))
    if not said:
        return False
    beside = phrases().legal.left_out_of(words)
    asks = any(line.asks for line in paragraph) and not phrases().small.issuperset(beside)
    own = asks or asks_in(beside)
    return said >= (3 if own else 2) or (last and not own)


def _without_signature(lines: list[Line]) -> list[Line]:
    """Up to two dashes or the closing, where no more of the question follows; without addresses at the end."""
    lines = _trimmed(lines)
    kept: list[Line] = []
    at = 0
    while at < len(lines):
        line, rest = lines[at], lines[at + 1 :]
        at += 1
        if line.sent_from:
            continue
        ends = line.dashes
        if kept and (ends or line.closing):
            if _is_signature(rest):
                break
            if not ends:
                # More follows, such as a postscript: the closing goes, and the name below it.
                at += sum(1 for _ in takewhile(lambda line: line.may_be_name, rest))
                continue
        kept.append(line)
    return _without_addresses(kept)


def _is_signature(lines: list[Line]) -> bool:
    written = [line for line in lines if not line.blank and not line.sent_from]
    return len(written) <= _SIGNATURE_LINES and all(
        not line.says and (len(line.words) <= SHORT_WORDS or line.contact or line.parted) for line in written
    )


def _without_name(lines: list[Line]) -> list[Line]:
    """Without a name alone below the last sentence, of what is known to be a mail."""
    if len(lines) < 3 or not lines[-1].name:
        return lines
    above = lines[-2]
    ending = Line(above.text[above.last_sentence() :])
    alone = above.blank or ending.aside or ending.closing
    rest = _trimmed(lines[:-1])
    return rest if alone and rest[-1].text[-1] in ".!?" else lines


def _without_addresses(lines: list[Line]) -> list[Line]:
    """Without lines at the end that have a telephone number or the like, and the short ones above them."""
    lines = _trimmed(lines)
    end = len(lines)
    seen = False
    for at in range(len(lines) - 1, 0, -1):
        line = lines[at]
        if line.blank:
            continue
        address = line.contact and len(line.words) <= SHORT_WORDS
        name = seen and len(line.words) <= NAME_WORDS and line.text[-1] not in ".!"
        if line.says or not (address or name):
            break
        seen = seen or address
        end = at
    return _trimmed(lines[:end])
