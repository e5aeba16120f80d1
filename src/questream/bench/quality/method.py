"""A way to cluster that is compared with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from questream.evaluation.stream import Clustering, Stream


@dataclass(frozen=True, slots=True)
class Method:
    """One way to cluster. `settings` are tried in turn and the best for the data is reported, its oracle setting.

    With one setting nothing is looked up in the gold groups. `needs` names the package that it takes, `orders` limits
    how many orders it is run in, since some take minutes for each.
    """

    name: str
    settings: Sequence[object]
    run: Callable[[Stream, object], Clustering]
    needs: str | None = None
    orders: int | None = None
