"""The activity of a cluster: new, growing, steady, quiet, come back or dealt with."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from questream.domain import ClusterState, ClusterStatus
from questream.server.volumes import Volume

Activity = Literal["growing", "returned", "new", "steady", "quiet", "resolved"]
# In the order in which people look at them; what is growing or steady, as last week is not known, is before the quiet.
ACTIVITIES: tuple[Activity | None, ...] = ("growing", "returned", "new", "steady", None, "quiet", "resolved")
_GROWING, _RETURNED, _NEW, _STEADY, _UNKNOWN, _QUIET, _RESOLVED = range(len(ACTIVITIES))
_PLACES: dict[ClusterStatus, int] = {"resolved": _RESOLVED, "returned": _RETURNED}
STATUSES: tuple[ClusterStatus, ...] = get_args(ClusterStatus)

_LARGEST = 2**61
_WEEK_MS = 7 * 86_400_000
# More than last week by half, and by more than chance: three deviations of the difference of two counts.
_GROWTH = 1.5
_DEVIATIONS = 3.0

Numbers = NDArray[np.int64]


def activities(
    status: Numbers, created_at: Numbers, last_seen_at: Numbers, week: Numbers, before: Numbers | None, now_ms: int
) -> Numbers:
    """The activities of clusters at a time in ms, as indexes of `ACTIVITIES`, from columns (count,) of equal length.

    `status` are places in `STATUSES`, `week` and `before` the questions of the last seven days and of those before.

    What people said comes first: resolved, or returned since. New is what has no last week, quiet what was not asked
    for in seven days.
    """
    going = np.full(len(status), _UNKNOWN) if before is None else np.where(is_growing(week, before), _GROWING, _STEADY)
    found = np.where(now_ms - created_at < _WEEK_MS, _NEW, going)
    found = np.where(now_ms - last_seen_at > _WEEK_MS, _QUIET, found)
    ruled: Numbers = np.array([_PLACES.get(one, -1) for one in STATUSES])[status]
    return np.where(ruled >= 0, ruled, found)


def activity_of(state: ClusterState, volume: Volume | None, now_ms: int) -> Activity | None:
    """The activity of a cluster, as `activities`; None where it is growing or steady and last week is not known."""

    def column(number: int) -> Numbers:
        # A record's timestamp is any 64-bit number that its producer sent.
        return np.array([max(-_LARGEST, min(number, _LARGEST))], np.int64)

    before = None if volume is None else volume.week_before
    (found,) = activities(
        column(STATUSES.index(state.status)),
        column(state.created_at),
        column(state.last_seen_at),
        column(0 if volume is None else volume.week),
        None if before is None else column(before),
        now_ms,
    )
    return ACTIVITIES[int(found)]


def is_growing(week: Numbers, before: Numbers) -> NDArray[np.bool_]:
    """True if a week has so many more questions than the one before that chance does not explain it."""
    grows: NDArray[np.bool_] = (week > _GROWTH * before) & (week - before > _DEVIATIONS * np.sqrt(week + before))
    return grows
