"""Events of clusters: what a stream of counts raises, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from jsonschema import Draft202012Validator

from questream.errors import QuestreamError
from questream.events.counts import Rate
from questream.events.detector import DetectedEvent, Detector, EventRules
from questream.events.rhythm import HOUR_MS, Rhythm
from questream.lab.bench.events import measure_events
from questream.lab.bench.incidents import incident_stream
from questream.records import load_schema
from questream.records.events import event_document
from tests.kit.command import questream

MONDAY_MS = 1_767_571_200_000
MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS


def steady(clusters: int = 20, days: int = 14, per_day: float = 6.0) -> list[tuple[int, str]]:
    """Time and cluster of questions that come by chance alone, each cluster as often as any."""
    random = np.random.default_rng(7)
    count = int(clusters * days * per_day)
    times = np.sort(random.integers(0, days * DAY_MS, count)) + MONDAY_MS
    return [(int(time), f"c{random.integers(1, clusters + 1)}") for time in times]


def events_of(
    stream: list[tuple[int, str]], detector: Detector | None = None, askers: Iterator[int] | None = None
) -> list[DetectedEvent]:
    """All events; each question has an asker of its own unless `askers` says who asks."""
    detector = detector or Detector(EventRules())
    askers = askers or iter(range(len(stream)))
    seen: set[str] = set()
    found = []
    for time, cluster in sorted(stream):
        found += detector.see(cluster, time, next(askers), created=cluster not in seen)
        seen.add(cluster)
    return found


def after(stream: list[tuple[int, str]], cluster: str, count: int, every_ms: int) -> list[tuple[int, str]]:
    """So many questions of a cluster, the first a minute after the stream."""
    return [(stream[-1][0] + MINUTE_MS + number * every_ms, cluster) for number in range(count)]


def test_the_tail_of_a_sure_rate_is_that_of_a_poisson_distribution() -> None:
    assert Rate(1e7, 1e7).reaches(4, 1.0) == pytest.approx(1 - np.exp(-1) * (1 + 1 + 1 / 2 + 1 / 6), rel=1e-4)


def test_a_rate_that_is_hardly_known_makes_many_questions_less_surprising() -> None:
    assert Rate(0.5, 0.5).reaches(8, 1.0) > 50 * Rate(500, 500).reaches(8, 1.0)


def test_silence_and_one_question_or_more_are_all_there_is() -> None:
    rate = Rate(2.0, 9.0)
    assert rate.silence(3.0) + rate.reaches(1, 3.0) == pytest.approx(1.0)


def test_a_busy_hour_of_each_day_is_learnt() -> None:
    rhythm = Rhythm()
    for day in range(14):
        for number in range(100):
            rhythm.add(MONDAY_MS + day * DAY_MS + 9 * HOUR_MS + number)
        rhythm.learn()
    nine = MONDAY_MS + 21 * DAY_MS + 9 * HOUR_MS
    assert rhythm.hours(nine, nine + HOUR_MS) > 5 * rhythm.hours(nine + HOUR_MS, nine + 2 * HOUR_MS)
    assert rhythm.hours(nine, nine + 7 * DAY_MS) == pytest.approx(168, rel=0.1)


def test_a_new_cluster_that_many_ask_about_emerges_with_its_fourth_question() -> None:
    stream = steady()
    new = after(stream, "c99", 6, MINUTE_MS)
    (event,) = [one for one in events_of(stream + new) if one.cluster == "c99"]
    assert (event.kind, event.count, event.time_ms, event.since_ms) == ("emerging", 4, new[3][0], new[0][0])


def test_a_cluster_emerges_although_the_question_that_opened_it_came_second() -> None:
    detector, stream = Detector(EventRules()), steady()
    events_of(stream, detector)
    found: list[DetectedEvent] = []
    for number, (time, cluster) in enumerate(after(stream, "c99", 6, MINUTE_MS)):
        found += detector.see(cluster, time, -number, created=number == 1)
    assert [event.kind for event in found if event.cluster == "c99"] == ["emerging"]


def test_a_small_incident_is_found_after_many_large_ones() -> None:
    stream = steady(clusters=60, days=28, per_day=10)
    large = [
        (MONDAY_MS + (100 + 11 * number) * HOUR_MS + minute * MINUTE_MS, f"large {number}")
        for number in range(40)
        for minute in range(60)
    ]
    small = after(stream, "small", 10, 6 * MINUTE_MS)
    assert [one.kind for one in events_of(stream + large + small) if one.cluster == "small"] == ["emerging"]


def test_clusters_that_open_where_the_stream_begins_do_not_count_as_new_ones() -> None:
    stream = steady(clusters=100, days=5, per_day=12)
    new = after(stream, "new", 6, 8 * MINUTE_MS)
    assert [one.kind for one in events_of(stream + new) if one.cluster == "new"] == ["emerging"]


def test_new_clusters_that_usually_have_followers_keep_to_the_budget() -> None:
    random = np.random.default_rng(4)
    stream = steady(clusters=100, days=40, per_day=1.5)
    for number in range(40 * 20):
        born = int(MONDAY_MS + random.random() * 40 * DAY_MS)
        followers = random.poisson(random.gamma(0.3, 3.0 / 0.3))
        stream += [(born, f"new {number}")]
        stream += [(int(born + part * DAY_MS), f"new {number}") for part in random.random(followers)]
    crowds = [one for one in events_of(stream, Detector(EventRules(1.0))) if one.kind in ("emerging", "spiking")]
    assert len(crowds) <= 38


def test_an_old_cluster_spikes() -> None:
    stream = steady()
    burst = after(stream, "c3", 12, MINUTE_MS)
    (event,) = [one for one in events_of(stream + burst) if one.time_ms >= burst[0][0]]
    assert (event.kind, event.cluster) == ("spiking", "c3")
    assert event.expected < 1 < event.count


def test_one_asker_who_asks_again_and_again_raises_nothing() -> None:
    stream = steady()
    new = after(stream, "c99", 40, MINUTE_MS)
    askers = iter([*range(len(stream)), *[-1] * 40])
    assert [one for one in events_of(stream + new, askers=askers) if one.cluster == "c99"] == []


def test_a_day_on_which_all_is_asked_more_is_no_spike_of_a_cluster() -> None:
    stream = steady(clusters=40)
    random = np.random.default_rng(3)
    last = stream[-1][0]
    busy = [(int(last + random.integers(0, 4 * HOUR_MS)), f"c{random.integers(1, 41)}") for _ in range(160)]
    assert len([one for one in events_of(stream + busy) if one.time_ms > last]) <= 4


def test_chance_alone_keeps_to_the_budget() -> None:
    stream = steady(clusters=50, days=40)
    found = events_of(stream, Detector(EventRules(false_alarms_per_day=1.0)))
    assert len(found) <= 38


def test_a_cluster_that_nobody_asks_for_any_more_is_quiet_and_returns() -> None:
    stream = [one for one in steady(days=28) if one[1] != "c3" or one[0] < MONDAY_MS + 14 * DAY_MS]
    back = after(stream, "c3", 1, MINUTE_MS)
    told = [one for one in events_of(stream + back) if one.cluster == "c3" and one.time_ms > MONDAY_MS + 14 * DAY_MS]
    assert [one.kind for one in told] == ["quiet", "returned"]
    assert told[0].since_ms == told[1].since_ms < MONDAY_MS + 14 * DAY_MS


def test_nothing_is_told_before_a_stream_is_known() -> None:
    assert events_of([(MONDAY_MS + number * MINUTE_MS, "c1") for number in range(100)]) == []


def test_clusters_beyond_the_limit_are_forgotten() -> None:
    detector = Detector(EventRules(most_clusters=10))
    events_of([(MONDAY_MS + number * HOUR_MS, f"c{number}") for number in range(500)], detector)
    assert len(detector._clusters) == 10


def test_a_late_question_does_not_turn_time_back() -> None:
    detector = Detector(EventRules())
    detector.see("c1", MONDAY_MS + DAY_MS, 1, created=True)
    assert detector.see("c1", MONDAY_MS, 2, created=False) == []
    assert detector._now_ms == MONDAY_MS + DAY_MS


def test_what_was_seen_is_learnt_again_wherever_a_run_was_cut() -> None:
    stream = [one for one in steady(days=24) if one[1] != "c3" or one[0] < MONDAY_MS + 12 * DAY_MS]
    bursts = [
        (stream[-1][0] - days * DAY_MS + number * 4 * MINUTE_MS, cluster)
        for days, cluster in ((9, "c77"), (7, "c4"), (3, "c78"), (1, "c4"))
        for number in range(30)
    ]
    stream = sorted([*stream, *bursts, *after(stream, "c3", 1, MINUTE_MS)])
    whole = seen_after(stream, 0, [])
    assert {event.kind for _, event in whole} == {"emerging", "spiking", "quiet", "returned"}
    cuts = {at for told_at, _ in whole for at in (told_at, told_at + 1, told_at + 7)}
    for cut in sorted(cuts):
        told = [event for at, event in whole if at < cut]
        assert seen_after(stream, cut, told) == [one for one in whole if one[0] >= cut], cut


def seen_after(stream: list[tuple[int, str]], cut: int, told: list[DetectedEvent]) -> list[tuple[int, DetectedEvent]]:
    """The events of the questions from number `cut` on, each with its question's number; those before were told."""
    detector, born, found, told = Detector(EventRules()), set[str](), [], [*told]
    for number, (time, cluster) in enumerate(stream):
        created = cluster not in born
        born.add(cluster)
        if number >= cut:
            found += [(number, event) for event in detector.see(cluster, time, number, created=created)]
            continue
        detector.learn(cluster, time, number, created=created)
        while told and told[0].time_ms <= time:
            detector.recall(told[0].kind, told[0].cluster, told.pop(0).time_ms)
    return found


def test_the_document_of_an_event_meets_its_schema() -> None:
    event = DetectedEvent("spiking", "c17", MONDAY_MS, MONDAY_MS - HOUR_MS, 8, 1.23456)
    document = event_document("acme", event, "question-clusters")
    Draft202012Validator(load_schema("cluster-event")).validate(document)
    assert document["data"]["expected"] == 1.235


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.jsonl"
    rows = ({"text": f"question {number}", "gold": f"group {number % 40}"} for number in range(4000))
    file.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    return file


def test_the_benchmark_finds_incidents_within_the_budget(questions: Path) -> None:
    ours, *others = measure_events(incident_stream(questions, 28, 60, 1), [1.0])
    assert ours.found >= 0.9
    assert ours.false_alarms_per_day <= 1.0
    assert (ours.median_seconds_after_fourth or 0.0) < 60
    assert [one.method for one in others] == ["z-score over 3", "3 x moving average"]


def test_the_benchmark_is_a_command(questions: Path) -> None:
    figures = questream("bench", "events", str(questions), "--incidents", "24", "--budget", "1", "--json").json
    assert [len(one["found_by_size"]) for one in figures[str(questions)]] == [4, 4, 4]


def test_the_benchmark_refuses_a_file_that_is_too_short(tmp_path: Path) -> None:
    file = tmp_path / "short.jsonl"
    file.write_bytes(b'{"text": "a", "gold": "g", "ts": "2026-01-01 00:00"}\n')
    with pytest.raises(QuestreamError, match="lasts less than two weeks"):
        incident_stream(file, 28, 12, 0)
