"""`questream bench latency` as a user would run it, but for seconds; and the arrivals that it sends by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from questream.lab.bench.latency import bursty_arrivals, poisson_arrivals
from questream.metrics import STAGES
from tests.kit.command import questream
from tests.kit.servers import KafkaServer

ARRIVALS = [poisson_arrivals, bursty_arrivals]
Arrive = Callable[[np.random.Generator, float, float], NDArray[np.float64]]


def test_questions_are_timed_from_when_they_were_due_at_a_share_of_the_capacity(kafka: KafkaServer) -> None:
    servers = f"--bootstrap-servers={kafka.bootstrap_servers}"
    ran = questream(
        "bench", "latency", servers, "--questions=256", "--share=0.2", "--seconds=2", "--wait-ms=1500", "--json"
    )
    assert ran.code == 0, ran.err
    told = ran.json
    assert [(one["share"], one["arrivals"], one["wait_milliseconds"]) for one in told["loads"]] == [
        (0.2, arrivals, wait) for arrivals in ("poisson", "bursts") for wait in (0, 1500)
    ]
    at_once, waited = told["loads"][:2]
    assert waited["questions_per_batch"] > at_once["questions_per_batch"]
    for one in told["loads"]:
        assert one["questions"] == pytest.approx(2 * one["share"] * told["capacity_per_second"], abs=1)
        assert 0 < one["p50"] <= one["p99"] <= one["p999"] <= one["longest"]
        assert one["batches_of_p99"] == pytest.approx(one["p99"] / told["batch_milliseconds"])
        assert 1 <= one["questions_per_batch"] <= 256
        assert one["stage_milliseconds"].keys() == set(STAGES)
        assert one["stage_milliseconds"]["embed"] > 0


@pytest.mark.parametrize("arrive", ARRIVALS)
def test_arrivals_come_at_their_rate_and_in_order(arrive: Arrive) -> None:
    due = arrive(np.random.default_rng(3), 200.0, 500.0)
    assert len(due) == 100_000
    assert (np.diff(due) >= 0).all()
    assert due[-1] == pytest.approx(500.0, rel=0.05)


def test_poisson_arrivals_do_not_know_one_another_and_bursts_come_at_once() -> None:
    rng = np.random.default_rng(5)
    steady, bursts = (np.diff(arrive(rng, 100.0, 1000.0)) for arrive in ARRIVALS)
    # Of an exponential distribution mean and deviation are one.
    assert steady.std() == pytest.approx(steady.mean(), rel=0.02)
    assert (bursts == 0).mean() == pytest.approx(1 - 1 / 16, abs=0.005)
