"""Levels of a namespace in the store: which intent and topic each cluster was in when they were last found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from questream.clustering.stored_levels import StoredLevels

# The last that are kept.
ENDED_KEPT = 1000


class LevelsMark(NamedTuple):
    """The state of a namespace and its levels: the levels' `version` and `opened` as in StoredLevels, and by now the
    numbers of clusters that were opened (`opened_now`) and that live (`live`). `published` is the last version that
    the cluster topic has, 0 for none. They are not `heeding` what people decided of them where another release found
    them, or a recovery put them back. They are `by_rules` where they were found by the resolutions that people set for
    the namespace, or set none."""

    version: int
    opened: int
    opened_now: int
    live: int
    published: int = 0
    heeding: bool = True
    by_rules: bool = True


class LevelCalls(Protocol):
    """The levels above the clusters: one value for each namespace, which one worker at a time finds anew."""

    def levels(self, namespace: str) -> StoredLevels:
        """The levels as last written; of version 0 where there are none.

        Raises RecoveryNeeded where they cannot be read, NamespaceRefused where a later release has written them with
        another meaning.
        """

    def levels_marks(self, namespaces: Sequence[str]) -> dict[str, LevelsMark]:
        """The marks of each namespace and its levels, in one round trip, without namespaces that do not exist."""

    def lease_levels(self, namespace: str, holder: str, seconds: float) -> bool:
        """Lease the run of levels to the holder, for so many seconds; false if another has it; 0 ends it.

        It spares work that is done twice: `write_levels` looks at the version alone. Raises RecoveryNeeded, and ends
        the store epoch, where a release that knows no levels has recovered the namespace; so do `write_levels` and an
        operation on levels.
        """

    def write_levels(self, namespace: str, store_epoch: str, levels: StoredLevels, ruled: str = "") -> bool:
        """Put the levels in the place of their `version`, whole; False where another version is current.

        `ruled` is the `level_rules_text` of the namespace that they were found by.

        Raises RecoveryNeeded if the store epoch is another.
        """

    def confirm_levels(self, namespace: str, version: int) -> None:
        """The levels of this version are published; nothing where another is current by now."""

    def restore_levels(self, namespace: str, token: str, levels: StoredLevels, published: int | None = None) -> bool:
        """Put levels back under the token of a recovery, with their version; what cannot be read goes.

        `published` is the version that the topic has, by default that of the levels. False, and nothing is changed,
        where the store has later ones or the recovery is another's, or there are none to restore (version 0).
        """
