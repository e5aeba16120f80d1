"""The delay of events after incidents, and the rate of false alarms, beside other methods in use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import median

from questream.events.detector import Detector, EventRules
from questream.events.rhythm import HOUR_MS
from questream.lab.bench.incidents import SIZES, Asked, IncidentStream

_SOON_MS = 2 * HOUR_MS
_AGAIN_MS = 6 * HOUR_MS
_LEAST = 4
_DEVIATIONS = 3.0
_TIMES_THE_MEAN = 3.0
_MEAN_HOURS = 24
_KEPT_HOURLY = 0.5 ** (1 / 168)

Sees = Callable[[Asked, int], bool]


@dataclass(frozen=True, slots=True)
class EventFigures:
    """The figures of one method on a stream; minutes are medians over the incidents that it found.

    `median_seconds_after_fourth` is 0 where the fourth question itself raised the event. `quiet_per_day` are events
    that a silence raises, which only ours knows. Processor time is for a question.
    """

    method: str
    found: float
    found_by_size: dict[str, float]
    minutes_after_first: float | None
    median_seconds_after_fourth: float | None
    false_alarms_per_day: float
    quiet_per_day: float
    microseconds: float


def measure_events(stream: IncidentStream, budgets: Sequence[float]) -> list[EventFigures]:
    """The detector with each budget, a z-score and a moving average, on the same stream."""
    figures = []
    for budget in budgets:
        ours = _Ours(EventRules(false_alarms_per_day=budget))
        figures.append(_measure(f"questream, {budget:g} a day", stream, ours.see, ours))
    figures.append(_measure("z-score over 3", stream, _ZScore().see, None))
    figures.append(_measure("3 x moving average", stream, _MovingAverage().see, None))
    return figures


def _measure(method: str, stream: IncidentStream, sees: Sees, ours: _Ours | None) -> EventFigures:
    began = time.process_time()
    alarms = [(one.time_ms, one.group) for number, one in enumerate(stream.asked) if sees(one, number)]
    seconds = time.process_time() - began
    by_group: dict[str, list[int]] = {}
    for at, group in alarms:
        if at >= stream.measured_from_ms:
            by_group.setdefault(group, []).append(at)
    found: dict[int, list[int]] = {}
    explained: set[tuple[int, str]] = set()
    for number, incident in enumerate(stream.incidents):
        near = [
            at
            for at in by_group.get(incident.group, [])
            if incident.times_ms[0] <= at <= incident.times_ms[-1] + _SOON_MS
        ]
        explained.update((at, incident.group) for at in near)
        if near:
            found[number] = [near[0] - incident.times_ms[0], max(near[0] - incident.times_ms[3], 0)]
    raised = sum(len(times) for times in by_group.values())
    sizes = {size: [n for n, one in enumerate(stream.incidents) if one.size == size] for size in SIZES}
    return EventFigures(
        method,
        len(found) / len(stream.incidents),
        {str(size): sum(n in found for n in numbers) / len(numbers) for size, numbers in sizes.items() if numbers},
        median(first for first, _ in found.values()) / 60_000 if found else None,
        median(fourth for _, fourth in found.values()) / 1000 if found else None,
        (raised - len(explained)) / stream.measured_days,
        (ours.quiet if ours else 0) / stream.measured_days,
        seconds / len(stream.asked) * 1e6,
    )


class _Ours:
    def __init__(self, rules: EventRules) -> None:
        self._detector = Detector(rules)
        self.quiet = 0

    def see(self, asked: Asked, number: int) -> bool:
        events = self._detector.see(asked.group, asked.time_ms, number, created=asked.is_first)
        self.quiet += sum(event.kind == "quiet" for event in events)
        return any(event.kind in ("emerging", "spiking") for event in events)


@dataclass(slots=True)
class _Hours:
    """A group's questions of the last hour, and mean and mean square of its hours before, newer ones counting more."""

    recent: deque[int] = field(default_factory=deque)
    day: deque[int] = field(default_factory=deque)
    hour: int = 0
    count: int = 0
    mean: float = 0.0
    square: float = 0.0
    alarmed_ms: int = -_AGAIN_MS


class _LastHour:
    """Compares a group's last hour with a limit, at each question; says so once in six hours."""

    def __init__(self) -> None:
        self._groups: dict[str, _Hours] = {}

    def see(self, asked: Asked, number: int) -> bool:
        del number
        state = self._groups.setdefault(asked.group, _Hours(hour=asked.time_ms // HOUR_MS))
        for times, kept_ms in ((state.recent, HOUR_MS), (state.day, _MEAN_HOURS * HOUR_MS)):
            times.append(asked.time_ms)
            while times[0] <= asked.time_ms - kept_ms:
                times.popleft()
        passed = asked.time_ms // HOUR_MS - state.hour
        if passed:
            for count in [state.count] + [0] * min(passed - 1, 1000):
                state.mean = state.mean * _KEPT_HOURLY + count * (1 - _KEPT_HOURLY)
                state.square = state.square * _KEPT_HOURLY + count**2 * (1 - _KEPT_HOURLY)
            state.hour, state.count = asked.time_ms // HOUR_MS, 0
        state.count += 1
        if len(state.recent) < _LEAST or len(state.recent) <= self.limit(state):
            return False
        again, state.alarmed_ms = asked.time_ms - state.alarmed_ms < _AGAIN_MS, asked.time_ms
        return not again

    def limit(self, state: _Hours) -> float:
        raise NotImplementedError


class _ZScore(_LastHour):
    def limit(self, state: _Hours) -> float:
        return state.mean + _DEVIATIONS * sqrt(max(state.square - state.mean**2, 0.0))


class _MovingAverage(_LastHour):
    def limit(self, state: _Hours) -> float:
        return _TIMES_THE_MEAN * (len(state.day) - len(state.recent)) / (_MEAN_HOURS - 1)
