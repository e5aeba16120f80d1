"""A text as its model should read it."""

from __future__ import annotations

from questream.preparing.html import is_html, to_text
from questream.preparing.mail import body

# Of what becomes of a mail. A later one may give another text, so that vectors of the two are not alike.
PREPARATION = "mail-1"


def without_frame(text: str) -> str:
    """The question in a mail or a ticket, HTML or plain; any other text as it is, to the byte.

    What is taken away: markup, quoted replies, headers but the subject, greetings, closings, signatures and legal
    notices, in the languages of `phrases/`. A text that is all frame stays, without its markup.
    """
    if is_html(text):
        text = to_text(text) or text
    return body(text)
