"""A judge that is asked about each pair once, however many times an evaluation clusters the same questions."""

from __future__ import annotations

from collections.abc import Sequence

from questream.deciding.close_calls import Judge

# Of two texts of 1,000 characters at most: below a gigabyte. With more, the oldest are asked about again.
_MOST_VERDICTS = 200_000


class RememberingJudge:
    """Gives the verdicts of another, and keeps the last of them; it belongs to one thread."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._verdicts: dict[tuple[str, str], bool] = {}

    def same(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each pair of a cluster's text and a question's."""
        new = list(dict.fromkeys(pair for pair in pairs if pair not in self._verdicts))
        if new:
            self._verdicts.update(zip(new, self._judge.same(new), strict=True))
        verdicts = [self._verdicts[pair] for pair in pairs]
        while len(self._verdicts) > _MOST_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        return verdicts
