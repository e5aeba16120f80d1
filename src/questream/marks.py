"""Operations that mark a whole cluster: each with its change of the ruling and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from questream.domain import Ruling

PinKind = Literal["pin", "unpin"]
StatusKind = Literal["mute", "unmute", "resolve", "reopen"]
MarkKind = Literal[PinKind, StatusKind]


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark: `change` makes the new ruling of the old one and the cluster's size.

    `help` says what its command does, `example` its arguments; `meaning` is its effect in words
    before it is applied, `done` after.
    """

    change: Callable[[Ruling, int], Ruling]
    help: str
    example: str
    meaning: str
    done: str


MARKS: Mapping[MarkKind, Mark] = {
    "pin": Mark(
        lambda ruling, _: replace(ruling, pinned=True),
        "Pin a cluster, which then never merges automatically, or keep in an intent or a topic what is in it.",
        'c17 --reason "reviewed"',
        "No automatic merge joins it to another.",
        "It never merges automatically.",
    ),
    "unpin": Mark(
        lambda ruling, _: replace(ruling, pinned=False),
        "Unpin a cluster, which may then merge automatically again, or release what is kept in an intent or a topic.",
        "c17",
        "It may merge automatically again.",
        "It may merge automatically again.",
    ),
    "mute": Mark(
        lambda ruling, _: replace(ruling, muted=True),
        "Mute a cluster: it raises no events.",
        'c17 --reason "known outage"',
        "It raises no events.",
        "It raises no events.",
    ),
    "unmute": Mark(
        lambda ruling, _: replace(ruling, muted=False),
        "Unmute a cluster: it raises events again.",
        "c17",
        "It raises events again.",
        "It raises events again.",
    ),
    # A question that comes later makes it return.
    "resolve": Mark(
        lambda ruling, size: replace(ruling, resolved_size=size),
        "Mark a cluster as resolved; it returns with the next question.",
        'c17 --reason "fixed in 2.3"',
        "The cluster is marked as dealt with, until its next question.",
        "The cluster is resolved, until its next question.",
    ),
    "reopen": Mark(
        lambda ruling, _: replace(ruling, resolved_size=None),
        "Mark a resolved cluster as open.",
        "c17",
        "The cluster is no longer marked as dealt with.",
        "It is open again.",
    ),
}
