"""Streams of questions by group and time, and incidents that are put into them: many ask the same within an hour."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from questream.errors import QuestreamError
from questream.events.rhythm import HOUR_MS
from questream.records.rows import read_rows

SIZES = (10, 20, 40, 100)
SHAPES = ("steady", "rising", "burst")
# A Monday, so that days of the week are those of a calendar.
_START_MS = 1_767_571_200_000
_DAY_MS = 24 * HOUR_MS
_WARM_UP_DAYS = 7
# How much is asked in each hour of a working day; on a weekend two fifths of it.
_HOURS = np.array([1, 1, 1, 1, 1, 2, 3, 5, 8, 10, 10, 9, 8, 9, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], float)
_WEEKEND = 0.4


class Asked(NamedTuple):
    """A question: when (ms), the group that is taken for its cluster, and whether the group is new with it."""

    time_ms: int
    group: str
    is_first: bool


@dataclass(frozen=True, slots=True)
class Incident:
    """An injected incident: `size` questions of `group` within an hour, at `times_ms`."""

    group: str
    size: int
    shape: str
    times_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IncidentStream:
    """A stream with its incidents, in the order of time; `measured_from_ms` is where the first incident may begin."""

    asked: Sequence[Asked]
    incidents: Sequence[Incident]
    measured_from_ms: int

    @property
    def measured_days(self) -> float:
        """The length of the measured part of the stream."""
        return (self.asked[-1].time_ms - self.measured_from_ms) / _DAY_MS


def incident_stream(path: Path, days: int, incidents: int, seed: int) -> IncidentStream:
    """The questions of a file with `incidents` of all sizes and shapes, half of them of groups that are new.

    A file whose rows have `ts` keeps its times; one without is spread over `days` by a rhythm of day and week.
    Raises QuestionFileError, or QuestreamError for a file without groups or shorter than two weeks.
    """
    random = np.random.default_rng(seed)
    rows = [row for _, row in read_rows(path, [["text", "gold"], ["text", "cluster"]])]
    groups = [str(row.get("gold", row.get("cluster", ""))) for row in rows]
    if not groups or not all(groups):
        raise QuestreamError(f'{path} names no gold groups: each question needs a "gold" or "cluster"')
    if all("ts" in row for row in rows):
        times = [_time(str(row["ts"])) for row in rows]
    else:
        times = _rhythmic(len(rows), days, random)
        groups = [groups[at] for at in random.permutation(len(groups))]
    began, ended = min(times), max(times)
    measured_from = began + _WARM_UP_DAYS * _DAY_MS
    if ended < measured_from + _WARM_UP_DAYS * _DAY_MS:
        raise QuestreamError(f"{path} lasts less than two weeks")
    put_in = _incidents(groups, incidents, measured_from, ended - 2 * HOUR_MS, random)
    base = sorted(zip(times, groups, strict=True))
    added = sorted((time, one.group) for one in put_in for time in one.times_ms)
    seen: set[str] = set()
    asked = []
    for time, group in heapq.merge(base, added):
        asked.append(Asked(time, group, group not in seen))
        seen.add(group)
    return IncidentStream(asked, put_in, measured_from)


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def _rhythmic(count: int, days: int, random: np.random.Generator) -> list[int]:
    weights = np.concatenate([_HOURS * (_WEEKEND if day % 7 >= 5 else 1.0) for day in range(days)])
    # Days differ by more than chance, and so do their hours.
    weights *= np.repeat(random.gamma(20.0, 1 / 20.0, days), 24) * random.gamma(20.0, 1 / 20.0, days * 24)
    hours: NDArray[np.int64] = random.choice(days * 24, count, p=weights / weights.sum())
    return sorted((_START_MS + (hours + random.random(count)) * HOUR_MS).astype(np.int64).tolist())


def _incidents(
    groups: Sequence[str], count: int, from_ms: int, to_ms: int, random: np.random.Generator
) -> list[Incident]:
    known = sorted(set(groups))
    # None twice, while there are enough.
    old = [known[at] for at in random.permutation(len(known))]
    made = []
    for number in range(count):
        size, shape = SIZES[number % len(SIZES)], SHAPES[number % len(SHAPES)]
        group = f"incident {number}" if number // 12 % 2 else old[number % len(old)]
        start = int(random.integers(from_ms, to_ms))
        made.append(Incident(group, size, shape, tuple(_times(size, shape, start, random))))
    return made


def _times(size: int, shape: str, start_ms: int, random: np.random.Generator) -> list[int]:
    parts = random.random(size)
    if shape == "rising":
        parts = np.sqrt(parts)
    elif shape == "burst":
        parts = parts**3
    return sorted((start_ms + parts * HOUR_MS).astype(np.int64).tolist())
