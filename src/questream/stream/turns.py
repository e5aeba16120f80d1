"""Names by turns: so many at once, and each comes round, however many there are."""

from __future__ import annotations

from bisect import bisect_right


class Turns:
    """Goes round `at_once` names at a time; for one thread."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._last = ""

    def next(self, names: list[str]) -> list[str]:
        """The next of the sorted names; a name that was added or left out since changes nothing for the others."""
        start = bisect_right(names, self._last)
        turn = (names[start:] + names[:start])[: self._at_once]
        self._last = turn[-1] if turn else ""
        return turn
