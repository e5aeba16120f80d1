"""Texts as they are asked: a mail becomes the question in it, and what is plain stays as it was sent."""

from questream.preparing.prepare import (
    NO_SENTENCES,
    KnownSentences,
    Preparation,
    is_of_one_kind,
    no_sentences,
    version_of,
    version_of_function,
    without_frame,
)

__all__ = [
    "NO_SENTENCES",
    "KnownSentences",
    "Preparation",
    "is_of_one_kind",
    "no_sentences",
    "version_of",
    "version_of_function",
    "without_frame",
]
