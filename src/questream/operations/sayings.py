"""What people say of a cluster as a whole: an operation each, with what it makes of the ruling and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from questream.domain import Ruling

Pinning = Literal["pin", "unpin"]
Standing = Literal["mute", "unmute", "resolve", "reopen"]
SayingKind = Pinning | Standing


@dataclass(frozen=True, slots=True)
class Saying:
    """One of them: `change` makes the new ruling of the old one and the cluster's size.

    `meaning` says to people what would follow, `done` what follows.
    """

    change: Callable[[Ruling, int], Ruling]
    meaning: str
    done: str


SAYINGS: Mapping[SayingKind, Saying] = {
    "pin": Saying(
        lambda ruling, _: replace(ruling, pinned=True),
        "No automatic merge joins it to another.",
        "It never merges automatically.",
    ),
    "unpin": Saying(
        lambda ruling, _: replace(ruling, pinned=False),
        "It may merge automatically again.",
        "It may merge automatically again.",
    ),
    "mute": Saying(lambda ruling, _: replace(ruling, muted=True), "It raises no events.", "It raises no events."),
    "unmute": Saying(
        lambda ruling, _: replace(ruling, muted=False), "It raises events again.", "It raises events again."
    ),
    # A question that comes later makes it return.
    "resolve": Saying(
        lambda ruling, size: replace(ruling, resolved_size=size),
        "The cluster is marked as dealt with, until its next question.",
        "The cluster is resolved, until its next question.",
    ),
    "reopen": Saying(
        lambda ruling, _: replace(ruling, resolved_size=None),
        "The cluster is no longer marked as dealt with.",
        "It is open again.",
    ),
}
