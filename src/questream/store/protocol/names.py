"""Names that a language model made for clusters: for people to look at, never for a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class MadeName(NamedTuple):
    """A name, the model that made it and when, in ms since the epoch.

    `size` is what the cluster had then, `place` where its centroid was (naming/making.py), and `former` the name
    before, None where there was none.
    """

    name: str
    model: str
    made_at: int
    size: int
    place: str
    former: str | None = None


class NameCalls(Protocol):
    """The made names of a namespace: one for a cluster at most. They are not restored after a loss, but made anew."""

    def made_names(self, namespace: str) -> dict[int, MadeName]:
        """All of them by cluster, without those that cannot be read."""

    def name_changes(self, namespace: str) -> int:
        """A number that grows whenever one is written and whenever texts are erased; 0 where neither was."""

    def write_names(
        self, namespace: str, store_epoch: str, names: Mapping[int, MadeName | None], as_of: int | None = None
    ) -> bool:
        """Write names in the place of former ones; None takes one away.

        False where `name_changes` is no longer `as_of`: the texts that they are made of may be erased. None is written.
        Raises RecoveryNeeded if the store epoch is another.
        """
