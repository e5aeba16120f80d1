"""A way to cluster that is compared with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from questream.lab.evaluation.stream import Clustering, Stream


def _unchanged(stream: Stream) -> Stream:
    return stream


@dataclass(frozen=True, slots=True)
class Method:
    """One way to cluster: `run(prepare(stream), setting)`.

    `settings` are tried in turn and the best for the data is reported, its oracle setting; with one setting nothing is
    looked up in the gold groups. `prepare` is what all settings share; its seconds count for each. `needs` names the
    package that it takes. `order_matters` is False for what answers the same in every order: it is run in one.
    """

    name: str
    settings: Sequence[object]
    run: Callable[[Any, Any], Clustering]
    prepare: Callable[[Stream], Any] = _unchanged
    needs: str | None = None
    order_matters: bool = True
