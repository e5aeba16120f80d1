"""Events of one namespace's clusters, in the time of its questions.

Each question of a cluster gives the time that its last k askers took, for several k. The probability of k or more in it
is the tail of a negative binomial: the cluster's rate is known by its own past, by the rates of the namespace's other
clusters, and by the hour of the week. A crowd less likely than `Budget` allows is an event. Given that a question came
now, only the k - 1 others are surprising; each question is tested once for each k, so that a day's false alarms are at
most questions x scales x the limit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from questream.events.counts import Rate
from questream.events.kinds import EventKind
from questream.events.rhythm import HOUR_MS, Rhythm

_DAY_MS = 24 * HOUR_MS
_SCALES = (4, 5, 6, 8, 11, 16, 24, 36, 64)
# The scales overlap: their tests are about as many as these that have nothing to do with each other.
_SCALES_APART = 6.0
_KEPT_DAILY = 0.95
# No rate is surer than this many questions make it: busy days differ by more than chance.
_SUREST = 12.0
_YOUNG_SHAPE = 0.3
_OLD_SHAPE = 0.5
# So many questions make the namespace's level as much as its week does.
_LEVEL_QUESTIONS = 10.0
# Followers in a cluster's first day, as if one in fifty had one, until the namespace has data.
_YOUNG_CLUSTERS = 50.0
_YOUNG_FOLLOWERS = 1.0
_TAUGHT_MS = HOUR_MS // 4


@dataclass(frozen=True, slots=True)
class EventRules:
    """The rules of events; times in hours of the questions' own time.

    `false_alarms_per_day` is the budget of a namespace for emerging and spiking; a tenth of it judges silences.
    """

    false_alarms_per_day: float = 2.0
    young_hours: float = 24.0
    returned_hours: float = 14 * 24.0
    again_hours: float = 6.0
    warm_up_hours: float = 48.0
    most_clusters: int = 100_000


@dataclass(frozen=True, slots=True)
class DetectedEvent:
    """Something that happened to a cluster at `time_ms`.

    `count` questions of as many askers came since `since_ms`, where `expected` were to be expected; for quiet and
    returned `since_ms` is the last question before the silence.
    """

    kind: EventKind
    cluster: str
    time_ms: int
    since_ms: int
    count: int
    expected: float


@dataclass(slots=True)
class _Cluster:
    born_ms: int
    is_born_here: bool
    learnt_ms: int
    last_ms: int
    questions: float = 0.0
    hours: float = 0.0
    pending: int = 0
    alarmed_ms: int | None = None
    is_quiet: bool = False
    taught: int = -1
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_SCALES[-1]))


class Detector:
    """Finds the events of one namespace; questions come in the order of their times.

    Memory: at most `most_clusters`, each with its last 64 askers as numbers; who was silent for longest goes first.
    """

    def __init__(self, rules: EventRules) -> None:
        self.rules = rules
        self._rhythm = Rhythm()
        self._clusters: OrderedDict[str, _Cluster] = OrderedDict()
        self._began_ms: int | None = None
        self._now_ms = 0
        self._day = 0
        self._hour = 0
        self._today = 0
        self._per_day = 0.0
        self._young_followers = _YOUNG_FOLLOWERS
        self._young_clusters = _YOUNG_CLUSTERS
        self._old_rate = 0.0
        self._hourly: deque[tuple[int, int]] = deque(maxlen=25)

    def see(self, cluster: str, time_ms: int, asker: int, *, created: bool) -> list[DetectedEvent]:
        """The events that a question raises, and those of the hours since the last one.

        `asker` is a number for who asked: several questions of one asker count once in a day. A time before the last
        one's is taken for that.
        """
        time_ms, hour = self._pass_time(time_ms)
        events = self._silences(time_ms) if hour else []
        state = self._take(cluster, time_ms, created)
        events += self._returned(cluster, state, time_ms)
        state.last_ms = time_ms
        return events + (self._crowded(cluster, state, time_ms) if _counts(state, asker, time_ms) else [])

    def learn(self, cluster: str, time_ms: int, asker: int, *, created: bool) -> None:
        """Take in a question that was seen before: its events were published then, and come by `recall`."""
        time_ms, _ = self._pass_time(time_ms)
        state = self._take(cluster, time_ms, created)
        state.last_ms, state.is_quiet = time_ms, False
        if not _counts(state, asker, time_ms) or state.alarmed_ms is None or self._may_alarm(state, time_ms):
            return
        if self._crowd(state, time_ms) is not None:
            state.alarmed_ms = time_ms

    def recall(self, kind: str, cluster: str, time_ms: int) -> None:
        """An event was published at `time_ms`, after the questions that were learnt: it is not raised again."""
        state = self._clusters.get(cluster)
        if state is None:
            return
        if kind in ("emerging", "spiking"):
            state.alarmed_ms = max(time_ms, state.alarmed_ms or time_ms)
        elif kind == "quiet" and state.last_ms <= time_ms:
            state.is_quiet = True

    def _take(self, cluster: str, time_ms: int, created: bool) -> _Cluster:
        """Count a question for the namespace; returns its cluster, with what came before today in its past."""
        self._rhythm.add(time_ms)
        self._today += 1
        if not self._hourly or self._hourly[-1][0] != self._hour:
            self._hourly.append((self._hour, 0))
        self._hourly[-1] = (self._hour, self._hourly[-1][1] + 1)
        state = self._clusters.get(cluster)
        # Where a stream begins all its clusters open, and most of them are no news.
        created = created and self._is_warm(time_ms)
        if state is None:
            state = _Cluster(time_ms, created, time_ms, time_ms)
            self._clusters[cluster] = state
            self._young_clusters += created
            if len(self._clusters) > self.rules.most_clusters:
                self._clusters.popitem(last=False)
        else:
            if created and not state.is_born_here:
                # Of questions that are decided at once, the one that opened the cluster need not have come first.
                state.is_born_here = True
                self._young_clusters += 1
            self._teach(state, time_ms)
        self._clusters.move_to_end(cluster)
        self._learn(state, time_ms)
        return state

    def _teach(self, state: _Cluster, time_ms: int) -> None:
        """Count a follower of a cluster's first day for what new clusters are like.

        One in a quarter of an hour: followers who come in a crowd are an incident, after which each new cluster
        would seem to be due as many.
        """
        age = (time_ms - state.born_ms) // _TAUGHT_MS
        if state.is_born_here and age < _DAY_MS // _TAUGHT_MS and age != state.taught:
            state.taught = age
            self._young_followers += 1

    def _pass_time(self, time_ms: int) -> tuple[int, bool]:
        """Learn at the turn of a day; returns the time, never before the last one, and whether an hour has begun."""
        if self._began_ms is None:
            self._began_ms, self._now_ms = time_ms, time_ms
            self._day, self._hour = time_ms // _DAY_MS, time_ms // HOUR_MS
        time_ms = self._now_ms = max(time_ms, self._now_ms)
        if time_ms // _DAY_MS > self._day:
            days = time_ms // _DAY_MS - self._day
            self._day += days
            mean = self._today / days
            self._per_day = mean if not self._per_day else 0.7 * self._per_day + 0.3 * mean
            self._today = 0
            self._young_followers = _YOUNG_FOLLOWERS + (self._young_followers - _YOUNG_FOLLOWERS) * _KEPT_DAILY
            self._young_clusters = _YOUNG_CLUSTERS + (self._young_clusters - _YOUNG_CLUSTERS) * _KEPT_DAILY
            self._rhythm.learn()
            self._old_rate = self._per_day / 24 / max(len(self._clusters), 1)
        before, self._hour = self._hour, time_ms // HOUR_MS
        return time_ms, self._hour != before

    def _silences(self, time_ms: int) -> list[DetectedEvent]:
        if not self._is_warm(time_ms):
            return []
        found = (self._silent(cluster, state, time_ms) for cluster, state in self._clusters.items())
        return [event for event in found if event is not None]

    def _is_warm(self, time_ms: int) -> bool:
        return time_ms - (self._began_ms or 0) >= self.rules.warm_up_hours * HOUR_MS

    def _learn(self, state: _Cluster, time_ms: int) -> None:
        """Take into the cluster's past what came on days before this one."""
        days = time_ms // _DAY_MS - state.learnt_ms // _DAY_MS
        if days <= 0:
            return
        midnight = time_ms // _DAY_MS * _DAY_MS
        kept = _KEPT_DAILY**days
        state.questions = (state.questions + state.pending) * kept
        state.hours = (state.hours + self._rhythm.hours(state.learnt_ms, midnight)) * kept
        state.pending, state.learnt_ms = 0, midnight

    def _rate(self, state: _Cluster, time_ms: int) -> Rate:
        """The estimated rate of a cluster, without today."""
        if state.is_born_here and time_ms - state.born_ms < self.rules.young_hours * HOUR_MS:
            per_hour = self._young_followers / self._young_clusters / 24
            shape = _YOUNG_SHAPE
        else:
            per_hour, shape = max(self._old_rate, 1e-6), _OLD_SHAPE
        rate = Rate(shape + state.questions, shape / per_hour + state.hours)
        if rate.shape > _SUREST:
            rate = Rate(_SUREST, rate.hours * _SUREST / rate.shape)
        return rate

    def _crowded(self, cluster: str, state: _Cluster, time_ms: int) -> list[DetectedEvent]:
        """An event if the last askers came closer together than the cluster's past explains."""
        crowd = self._crowd(state, time_ms)
        if crowd is None:
            return []
        is_repeated = not self._may_alarm(state, time_ms)
        state.alarmed_ms = time_ms
        if is_repeated:
            return []
        young = state.is_born_here and time_ms - state.born_ms < self.rules.young_hours * HOUR_MS
        count, since_ms, expected = crowd
        return [DetectedEvent("emerging" if young else "spiking", cluster, time_ms, since_ms, count, expected)]

    def _may_alarm(self, state: _Cluster, time_ms: int) -> bool:
        """True if an event of a cluster would not repeat the last one."""
        return state.alarmed_ms is None or time_ms - state.alarmed_ms >= self.rules.again_hours * HOUR_MS

    def _crowd(self, state: _Cluster, time_ms: int) -> tuple[int, int, float] | None:
        """So many askers since a time in ms, and how many were expected, if that is less likely than the budget."""
        if not self._is_warm(time_ms):
            return None
        rate = self._rate(state, time_ms)
        limit = self.rules.false_alarms_per_day / max(self._per_day, 24.0) / _SCALES_APART
        # The askers of an event do not raise another on the same day.
        alarmed_ms = state.alarmed_ms if self._may_alarm(state, time_ms) else None
        after_ms = max(alarmed_ms or 0, time_ms - _DAY_MS)
        for count in _SCALES:
            if len(state.recent) < count or state.recent[-count][0] <= after_ms:
                break
            since_ms = state.recent[-count][0]
            hours = max(self._rhythm.hours(since_ms, time_ms), 1e-4)
            if rate.reaches(count - 1, hours) >= limit:
                continue
            hours *= self._level(since_ms, time_ms, count)
            if rate.reaches(count - 1, hours) < limit:
                return count, since_ms, rate.shape / rate.hours * hours
        return None

    def _level(self, since_ms: int, time_ms: int, own: int) -> float:
        """The factor of questions of the namespace above its usual week, without this cluster's `own` questions."""
        first = since_ms // HOUR_MS
        asked = sum(count for hour, count in self._hourly if hour >= first) - own
        expected = self._per_day / 24 * self._rhythm.hours(first * HOUR_MS, time_ms)
        return max((asked + _LEVEL_QUESTIONS) / (expected + _LEVEL_QUESTIONS), 1.0)

    def _silent(self, cluster: str, state: _Cluster, time_ms: int) -> DetectedEvent | None:
        """An event if a cluster that was asked for regularly is no more."""
        # Before a dozen questions a cluster has no habit that it could break.
        if state.is_quiet or state.questions < _SUREST:
            return None
        hours = self._rhythm.hours(state.last_ms, time_ms)
        rate = self._rate(state, time_ms)
        # Each cluster is tested at each hour.
        limit = self.rules.false_alarms_per_day / 10 / 24 / max(len(self._clusters), 1)
        if rate.silence(hours) >= limit:
            return None
        state.is_quiet = True
        return DetectedEvent("quiet", cluster, time_ms, state.last_ms, 0, rate.shape / rate.hours * hours)

    def _returned(self, cluster: str, state: _Cluster, time_ms: int) -> list[DetectedEvent]:
        """An event if a cluster is asked for after it fell quiet, or after a long silence."""
        silent_hours = (time_ms - state.last_ms) / HOUR_MS
        if not state.is_quiet and silent_hours < self.rules.returned_hours:
            return []
        state.is_quiet = False
        return [DetectedEvent("returned", cluster, time_ms, state.last_ms, 1, 0.0)]


def _counts(state: _Cluster, asker: int, time_ms: int) -> bool:
    """True if a question is its asker's first in a day; it is one of the cluster's last askers then."""
    if any(number == asker and time_ms - at < _DAY_MS for at, number in state.recent):
        return False
    state.pending += 1
    state.recent.append((time_ms, asker))
    return True
