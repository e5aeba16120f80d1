"""A text out of several fields of a JSON document."""

from __future__ import annotations

from string import Formatter
from typing import Any

from questream.records.parsing import plain_number
from questream.records.paths import ABSENT, find
from questream.records.reasons import Reason, undecodable


class Template:
    """Dotted paths in braces among words: `{subject}\\n{body}`."""

    def __init__(self, template: str) -> None:
        self._parts = [
            (literal, None if path is None else path.split(".")) for literal, path, _, _ in Formatter().parse(template)
        ]
        self.shown = template
        self.paths = [".".join(path) for _, path in self._parts if path is not None]

    def fill(self, document: Any) -> Any:
        """The text with the values at the paths, or ABSENT where all are absent or null.

        Raises BadRecord `wrong_type` for what is neither a string nor a number.
        """
        text: list[str] = []
        found_any = False
        for literal, path in self._parts:
            text.append(literal)
            if path is not None:
                found = find(document, path)
                if found is not ABSENT and found is not None:
                    found_any = True
                    text.append(_shown(found, path))
        return "".join(text).strip() if found_any else ABSENT


def _shown(found: Any, path: list[str]) -> str:
    if type(found) is str:
        return found
    if type(found) in (int, float):
        return plain_number(found)
    raise undecodable(Reason.WRONG_TYPE, f"`{'.'.join(path)}` must be a string or a number")
