"""`questream bench soak` as a user would run it, but for an hour of a stream instead of a day."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from questream.errors import ExitCode
from questream.lab.bench.drift import DriftingQuestions
from questream.lab.bench.servers import bench_servers
from questream.lab.bench.soak import Soak, SoakPlan, measure_soak
from questream.lab.bench.soak_plot import _TITLES
from questream.lab.bench.worker_process import WorkerProcess, wait_until
from questream.settings import MetricsSettings, Settings
from tests.kit.command import questream


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


def short_soak(announce: Callable[[str], None], questions: int) -> Soak:
    plan = SoakPlan(DriftingQuestions(questions, 32, 1.0), workers=1, warm_up_share=0.0, sample_seconds=0.3)
    with bench_servers(Settings()) as servers:
        return measure_soak(servers.settings, plan, announce)


def test_a_worker_that_does_not_answer_is_a_gap_and_not_the_end_of_a_soak() -> None:
    frozen: list[int] = []

    def freeze_once(_: str) -> None:
        if not frozen:
            frozen.extend(child.pid or 0 for child in multiprocessing.active_children())
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
                threading.Timer(5.0, os.kill, (pid, signal.SIGCONT)).start()

    soak = short_soak(freeze_once, 12_000)
    assert frozen
    assert soak.gaps >= 1
    assert soak.decided == 12_000
    assert soak.restarts == 0


def test_an_interrupted_soak_tells_what_it_reached() -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        said.append(line)
        if len(said) == 6:
            raise KeyboardInterrupt

    soak = short_soak(interrupt, 10_000_000)
    assert said[-1] == "soak: interrupted"
    assert 0 < soak.decided < soak.questions == 10_000_000
    assert len(soak.samples) == 5
    assert soak.trends.keys() == _TITLES.keys()


class _Hangs:
    """In the place of a model: what the watchdog makes of a call to Kafka that hangs."""

    def open(self) -> Any:
        os._exit(ExitCode.STUCK)


def test_a_worker_that_ended_over_a_hanging_call_is_started_again() -> None:
    worker = WorkerProcess(Settings(metrics=MetricsSettings()), _Hangs())
    try:
        first = worker.pid
        wait_until(worker.restart_if_stuck, "it was started again", 60)
        assert worker.pid != first
    finally:
        worker.close()
