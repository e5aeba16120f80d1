"""The levels of a namespace as a run left them, with what ended before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from questream.clustering.levels import Levels, Node


@dataclass(frozen=True, slots=True)
class StoredLevels:
    """What a run found. `version` is the store's number of it, 0 before the first run; a later run has a higher one.

    `opened` clusters had been opened by then: those with a higher number are new since. `ended` are communities that
    are no more, the last that ended last, and where most of their questions went; None where all their leaves are gone.
    """

    levels: Levels = field(default_factory=Levels)
    opened: int = 0
    ended: Mapping[Node, Node | None] = field(default_factory=dict)
    version: int = 0
