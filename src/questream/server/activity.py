"""What a cluster is doing: new, growing, steady, quiet, come back or dealt with."""

from __future__ import annotations

from math import sqrt
from typing import Literal

from questream.domain import ClusterState
from questream.server.volumes import Volume

Activity = Literal["new", "growing", "steady", "quiet", "returned", "resolved"]

_WEEK_MS = 7 * 86_400_000
# More than last week by half, and by more than chance: three deviations of the difference of two counts.
_GROWTH = 1.5
_DEVIATIONS = 3.0


def activity_of(state: ClusterState, volume: Volume | None, now_ms: int) -> Activity | None:
    """The state of a cluster at a time in ms; None where it is growing or steady and last week is not known.

    What people said comes first: resolved, or returned since. New is what has no last week, quiet what was not asked
    for in seven days.
    """
    if state.status != "open":
        return state.status
    if now_ms - state.last_seen_at > _WEEK_MS:
        return "quiet"
    if now_ms - state.created_at < _WEEK_MS:
        return "new"
    if volume is None or volume.week_before is None:
        return None
    return "growing" if is_growing(volume.week, volume.week_before) else "steady"


def is_growing(week: int, before: int) -> bool:
    """Whether a week has so many more questions than the one before that chance does not explain it."""
    return week > _GROWTH * before and week - before > _DEVIATIONS * sqrt(week + before)
