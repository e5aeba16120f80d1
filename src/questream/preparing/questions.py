"""The form of a prepared mail, by which its vector is made: the sentences that ask come first."""

from __future__ import annotations

import re

from questream.preparing.line import Line

# Sentences that are looked at, as a text may be of nothing but short ones.
_MOST_SENTENCES = 400
# A tab in the empty line marks the text as prepared: in a plain text, a question above other paragraphs is only that.
_APART = "\n\t\n"
_ASKS = re.compile(r"[?\uff1f\u061f][\"')\]\u00bb\u201c\u201d\u2019]?\s*\Z")


def ask_first(text: str) -> str:
    """The sentences that ask as the first paragraph, the others as they follow; the text itself where all or none ask.

    A sentence that asks ends in a question mark. Those behind the first 400 stay together. The mark between the
    paragraphs stays in the text, so that `asked_in` finds the first one wherever the text is embedded again.
    """
    asked: list[str] = []
    beside: list[str] = []
    looked_at = 0
    for line in text.split("\n"):
        said = list[str]()
        sentences = Line(line).sentences(_MOST_SENTENCES - looked_at) if looked_at < _MOST_SENTENCES else [line]
        looked_at += len(sentences)
        for sentence in sentences:
            (asked if _ASKS.search(sentence) else said).append(sentence.strip())
        if said:
            beside.append(" ".join(said))
    rest = re.sub(r"\n{3,}", "\n\n", "\n".join(beside)).strip()
    return _APART.join((" ".join(asked), rest)) if asked and rest else text


def asked_in(text: str) -> str | None:
    """The first paragraph of a text that `ask_first` made; None of any other text."""
    first, apart, _ = text.partition(_APART)
    return first if apart and "\n" not in first and _ASKS.search(first) else None
