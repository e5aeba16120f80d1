"""Operations that mark a whole cluster: each with its change of the ruling and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from questream.domain import Ruling

PinKind = Literal["pin", "unpin"]
StatusKind = Literal["mute", "unmute", "resolve", "reopen"]
MarkKind = PinKind | StatusKind


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark: `change` makes the new ruling of the old one and the cluster's size.

    `meaning` is its effect in words before it is applied, `done` after.
    """

    change: Callable[[Ruling, int], Ruling]
    meaning: str
    done: str


MARKS: Mapping[MarkKind, Mark] = {
    "pin": Mark(
        lambda ruling, _: replace(ruling, pinned=True),
        "No automatic merge joins it to another.",
        "It never merges automatically.",
    ),
    "unpin": Mark(
        lambda ruling, _: replace(ruling, pinned=False),
        "It may merge automatically again.",
        "It may merge automatically again.",
    ),
    "mute": Mark(lambda ruling, _: replace(ruling, muted=True), "It raises no events.", "It raises no events."),
    "unmute": Mark(
        lambda ruling, _: replace(ruling, muted=False), "It raises events again.", "It raises events again."
    ),
    # A question that comes later makes it return.
    "resolve": Mark(
        lambda ruling, size: replace(ruling, resolved_size=size),
        "The cluster is marked as dealt with, until its next question.",
        "The cluster is resolved, until its next question.",
    ),
    "reopen": Mark(
        lambda ruling, _: replace(ruling, resolved_size=None),
        "The cluster is no longer marked as dealt with.",
        "It is open again.",
    ),
}
