"""What a soak is made of: a stream that drifts, and a verdict that neither noise nor a spike moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.errors import QuestreamError
from questream.lab.bench.drift import DriftingQuestions
from questream.lab.bench.questions import of_letters
from questream.lab.bench.soak import Sample, Soak
from questream.lab.bench.soak_plot import _TITLES, draw
from questream.lab.bench.trend import trend

HOUR_MS = 3_600_000


def topic_of(text: str) -> int:
    return of_letters(text.split()[2].removeprefix("matter"))


def test_topics_come_and_go_as_the_day_goes_on() -> None:
    recipe = DriftingQuestions(20_000, 8, active_topics=100, life_hours=6.0, one_off_share=0.0)
    asked = list(recipe.ask(1000))
    assert len(asked) == 20_000
    assert (asked[0].timestamp, asked[-1].timestamp) == (1000, 1000 + int(24 * HOUR_MS * 19_999 / 20_000))
    seen: dict[int, list[float]] = {}
    for one in asked:
        seen.setdefault(topic_of(one.text), []).append((one.timestamp - 1000) / HOUR_MS)
    assert 300 < len(seen) <= 500
    assert all(hours[-1] - hours[0] <= 6.1 for hours in seen.values())
    first = {topic for topic, hours in seen.items() if hours[-1] < 6}
    last = {topic for topic, hours in seen.items() if hours[0] > 18}
    assert first
    assert last
    assert not first & last
    assert list(recipe.ask(1000)) == asked


def test_questions_of_a_topic_are_near_and_one_offs_are_not() -> None:
    recipe = DriftingQuestions(4000, 64, active_topics=50, one_off_share=0.1)
    encoder = recipe.open()
    texts = [one.text for one in recipe.ask(0)]
    vectors = encoder.encode_tokens(encoder.tokenise(texts))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    topics = np.array([topic_of(text) for text in texts])
    numbers, counts = np.unique(topics, return_counts=True)
    favourite = vectors[topics == numbers[np.argmax(counts)]]
    assert np.median(favourite @ favourite.T) > 0.7
    alone = vectors[topics >= 16384]
    assert 250 < len(alone) < 550
    assert np.quantile(alone @ alone.T - np.eye(len(alone)), 0.99) < 0.7


@given(st.lists(st.floats(-5, 5), min_size=30, max_size=200))
def test_noise_around_a_level_is_flat(noise: list[float]) -> None:
    found = trend(range(len(noise)), [100.0 + n for n in noise], share=0.11, least=0.0)
    assert found.is_flat


def test_what_grows_is_found_and_a_spike_is_not() -> None:
    times = [i * 5.0 for i in range(200)]
    noise = np.random.default_rng(1).normal(0, 2, 200)
    grows = trend(times, [200 + 0.1 * i + n for i, n in enumerate(noise)], share=0.05, least=1.0)
    assert not grows.is_flat
    assert grows.rise == pytest.approx(20, abs=2)
    spiked = [200.0 + n for n in noise]
    spiked[100:110] = [500.0] * 10
    assert trend(times, spiked, share=0.05, least=1.0).is_flat
    assert trend(times, [200 - 0.5 * i for i in range(200)], share=0.0, least=0.0).is_flat


def test_three_points_make_a_trend_and_two_do_not() -> None:
    assert trend([0, 1, 2], [1, 2, 3], 0.0, 1.0).rise == 2
    with pytest.raises(ValueError, match="three points"):
        trend([0, 1], [1, 2], 0.0, 1.0)


def soak() -> Soak:
    samples = [Sample(float(i), i / 10, i, i, i, dict.fromkeys(_TITLES, 1.0)) for i in range(200)]
    verdict = {name: trend([0, 1, 2], [1, 1, 1], 0, 0) for name in _TITLES}
    return Soak(200, 200, 199.0, 1.0, 1, 1, 100.0, 0, 0, verdict, samples)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(tmp_path: Path, suffix: str) -> None:
    draw(soak(), tmp_path / f"soak.{suffix}")
    start = (tmp_path / f"soak.{suffix}").read_bytes()[:5]
    assert start == (b"\x89PNG\r" if suffix == "png" else b"<?xml")


def test_a_format_that_cannot_be_drawn_says_so(tmp_path: Path) -> None:
    with pytest.raises(QuestreamError, match=r"cannot write soak\.nonsense"):
        draw(soak(), tmp_path / "soak.nonsense")
