"""The form of a prepared mail: what it is about as the first paragraph, and below it the sentences that frame it."""

from __future__ import annotations

# White space in the empty line marks a text as prepared: in a plain text, what stands above other paragraphs is only
# that. An empty line of a single tab is frequent in what editors indent.
_APART = "\n\t \t\n"


def about_above(about: str, beside: str) -> str:
    """A prepared mail of these two paragraphs; the first is one line."""
    return f"{about}{_APART}{beside}"


def about_in(text: str) -> str:
    """What a text is about: the first paragraph of a prepared mail, and all of any other text.

    The model reads no more, nor does anything else that compares or names questions.
    """
    first, apart, _ = text.partition(_APART)
    return first if apart and first.strip() and "\n" not in first else text
