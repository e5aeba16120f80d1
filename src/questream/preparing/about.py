"""What a mail is about, parted from the sentences that frame it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from typing import NamedTuple

from questream.prepared import about_above
from questream.preparing.framing import UNLIKE, Framing, framing
from questream.preparing.line import Line
from questream.preparing.phrases import phrases
from questream.preparing.repeated import SeenMails, digest_of

# Sentences that are looked at, as a text may be of nothing but short ones.
_MOST_SENTENCES = 400
_MOST_CHARACTERS = 400
# What a sentence must exceed to stand below. One that says something costs more there than one that frames stays above;
# beside a sentence that asks, others rather frame it.
_FRAMES = 1.5
_FRAMES_A_QUESTION = -1.0
# A sentence that stands in many mails frames one so much the rather; what is clearly about something stays above.
_REPEATED = 5.0
_ASKS = re.compile(r"[?\uff1f\u061f][\"')\]\u00bb\u201c\u201d\u2019]?\s*\Z")
_QUESTION_ENDS = 4
_LOOKED_UP = re.compile(r"\d{3}")
# A mail program breaks a line at 60 to 80 characters, where a sentence may go on in the next.
_LEAST_BROKEN = 50
_ENDS = ".!?:;,)"


class _Sentence(NamedTuple):
    """A sentence; `digest` is '' for one that asks or requests, and for one too long or too short to be counted."""

    text: str
    framing: Framing
    digest: str


def about_first(text: str, repeated: Set[str] = frozenset(), seen: SeenMails | None = None) -> str:
    """The sentences that say what a mail is about as its first paragraph, and below it those that frame it.

    Sentences with one of the digests `repeated` stand in many mails: they rather frame it. The text itself where none
    frame it, or all but a name: by that alone it would be near to all else of that name. Behind the first 400 sentences
    a line is taken for one. Its own sentences are counted in `seen`.
    """
    sentences = [_sentence(sentence) for sentence in _sentences(text)]
    if seen is not None:
        _count(sentences, seen)
    if repeated:
        sentences = [one._replace(framing=_often(one.framing)) if one.digest in repeated else one for one in sentences]
    asked = any(one.framing.total <= _FRAMES and _asks(one.text) for one in sentences)
    about: list[str] = []
    beside: list[str] = []
    for sentence, likeness, _ in sentences:
        least = _FRAMES_A_QUESTION if asked and _may_frame_a_question(sentence, likeness) else _FRAMES
        (beside if likeness.total > least else about).append(sentence)
    said = any(not Line(sentence).name for sentence in about)
    return about_above(" ".join(about), " ".join(beside)) if said and beside else text


def _count(sentences: Iterable[_Sentence], seen: SeenMails) -> None:
    """Count those that the examples do not know as a frame."""
    said = [one for one in sentences if one.framing.total <= _FRAMES and not Line(one.text).name]
    seen.add({one.digest for one in said if one.digest}, alone=len(said) == 1)


def _often(likeness: Framing) -> Framing:
    """Of a sentence that stands in many mails, a word that no example has is no name of what one of them is about."""
    return Framing(likeness.known + _REPEATED, likeness.known + _REPEATED)


def _sentences(text: str) -> Iterator[str]:
    """Its sentences, none empty; behind the most that are looked at, one for each line."""
    left = _MOST_SENTENCES
    for line in _unbroken(text.split("\n")):
        sentences = Line(line).sentences(left) if left > 0 else [line]
        left -= len(sentences)
        yield from filter(None, map(str.strip, sentences))


def _sentence(sentence: str) -> _Sentence:
    if len(sentence) > _MOST_CHARACTERS:
        return _Sentence(sentence, UNLIKE, "")
    words = Line(sentence).words
    asks = _asks(sentence) or phrases().requests.among(words)
    return _Sentence(sentence, framing(words), "" if asks else digest_of(words))


def _may_frame_a_question(sentence: str, likeness: Framing) -> bool:
    """True but for one that asks too, and one in which nothing speaks for a frame, as in the name of a product.

    A number to look up does, whatever it is called.
    """
    return not _asks(sentence) and (likeness.known > 0.0 or _LOOKED_UP.search(sentence) is not None)


def _asks(sentence: str) -> bool:
    return _ASKS.search(sentence[-_QUESTION_ENDS:]) is not None


def _unbroken(lines: Iterable[str]) -> Iterator[str]:
    """The lines, with those that go on in the next joined."""
    joined: list[str] = []
    for line in map(str.strip, lines):
        joined.append(line)
        if len(line) < _LEAST_BROKEN or line[-1] in _ENDS:
            yield " ".join(joined)
            joined = []
    if joined:
        yield " ".join(joined)
