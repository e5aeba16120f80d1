"""The words of a text."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.replace("\u2019", "'"))
