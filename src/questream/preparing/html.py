"""HTML to the text that a reader of it sees."""

from __future__ import annotations

import re
from itertools import islice

from selectolax.lexbor import LexborHTMLParser, LexborNode

_BLOCKS = (
    "address,article,aside,blockquote,br,center,dd,div,dl,dt,figure,footer,form,h1,h2,h3,h4,h5,h6,header,hr,li,main,"
    "nav,ol,p,pre,section,table,tr,ul"
)
# Marks the edges of blocks while the white space between is made even; no text that is decoded has it.
_EDGE = "\x1e"
_UNSEEN = ("head", "style", "script", "title", "noscript", "template", "svg", "object", "iframe", "select", "button")
# How the mail programs mark what a reply quotes, and a signature.
_FRAMES = (
    "blockquote,.gmail_quote,.gmail_signature,.gmail_extra,.yahoo_quoted,.moz-cite-prefix,.moz-signature,"
    ".protonmail_quote,#divRplyFwdMsg,#appendonsend,#Signature,#signature"
)
_OPENS = re.compile(
    r"\s*<(?:!doctype\s+html|!--|\?xml|html|head|body|meta|style|div|p|br|span|table|font|center|section|h[1-6]|ul|ol|b|strong)"
    r"(?:[\s/>]|$)",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<(?:br\s*/?|/?p|/?div)(?:\s[^<>]{0,200})?>", re.IGNORECASE)
_LEAST_BREAKS = 3
# A mail of a newsletter has three thousand. To open them in one another takes a parser the square of their number.
_MOST_TAGS = 5000


def is_html(text: str) -> bool:
    """True if a text is marked up: it begins with a tag and has another, or lines of it end in `<br>` and the like.

    A question about HTML, which names a tag or two, is none.
    """
    if "<" not in text:
        return False
    if _OPENS.match(text) and text.count("<") > 1 and ("</" in text or _BREAK.search(text) is not None):
        return True
    return len(list(islice(_BREAK.finditer(text), _LEAST_BREAKS))) == _LEAST_BREAKS


def to_text(html: str) -> str:
    """The visible text of a mail in HTML, a line for each block of it.

    What it quotes, and its signature, go where its program has marked them, unless nothing else is there. Of a mail of
    more than 5,000 tags only the beginning counts.
    """
    tree = LexborHTMLParser("<".join(html.split("<", _MOST_TAGS)[:_MOST_TAGS]))
    tree.strip_tags(list(_UNSEEN), recursive=True)
    for node in tree.css(_BLOCKS):
        node.insert_before(_EDGE)
        node.insert_after(_EDGE)
    for node in tree.css("td,th"):
        node.insert_after(" ")
    whole = _lines(tree.body)
    framed = tree.css(_FRAMES)
    if not framed:
        return whole
    for node in framed:
        node.decompose()
    return _lines(tree.body) or whole


def _lines(body: LexborNode | None) -> str:
    if body is None:
        return ""
    text = re.sub(r"[ \t\r\n\f\xa0]+", " ", body.text())
    lines = (line.strip() for line in text.split(_EDGE))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
