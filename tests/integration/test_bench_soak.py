"""`questream bench soak` as a user would run it, but for an hour of a stream instead of a day."""

from __future__ import annotations

from pathlib import Path

from questream.bench.soak_plot import _TITLES
from tests.command import questream


def test_a_soak_ends_with_a_verdict_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "soak.png"
    short = "--questions 12000 --workers 1 --dimension 32 --every 0.5 --warm-up 0"
    ran = questream("bench", "soak", *short.split(), "--plot", str(picture), "--json")
    assert ran.out, ran.err
    told = ran.json
    assert ran.code == (0 if told["flat"] else 1)
    assert told["flat"] == all(one["rise"] <= one["allowed"] for one in told["trends"].values())
    assert told["trends"].keys() == _TITLES.keys()
    assert told["decided"] == 12000
    assert told["retired"] > 0
    last = told["samples"][-1]
    assert 0 < last["figures"]["clusters"] < told["opened"]
    assert last["figures"]["threads"] >= 4
    assert last["figures"]["worker_mib"] > 20
    assert picture.stat().st_size > 10_000
