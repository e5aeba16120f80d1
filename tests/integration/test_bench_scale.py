"""`questream bench scale` as a user would run it, with few batches."""

from __future__ import annotations

from tests.kit.command import questream


def test_workers_that_open_clusters_in_one_namespace_are_counted_and_compared(redis_url: str) -> None:
    size = ("--workers", "1,2", "--clusters", "50", "--dimension", "32", "--batches", "12")
    ran = questream("bench", "scale", *size, "--json", "--redis-url", redis_url)
    assert ran.code == 0, ran.err
    one, two = ran.json["scale"]
    assert (one["workers"], two["workers"]) == (1, 2)
    # Nobody is there to come first.
    assert one["refusals_per_batch"] == 0
    assert one["gain"] == one["core_each_gain"] == 1
    for figures in (one, two):
        assert figures["batches"] == 12
        assert figures["most"] >= 12 / figures["workers"]
        # Every question is a subject of its own; some batches more were decided while the workers warmed up.
        assert figures["clusters"] >= 50 + 256 * figures["batches"]
        assert min(figures["worker_microseconds"], figures["redis_microseconds"]) > 0


def test_workers_that_each_have_a_namespace_refuse_nobody(redis_url: str) -> None:
    size = ("--workers", "2", "--namespaces", "2", "--clusters", "50", "--dimension", "32", "--batches", "12")
    ran = questream("bench", "scale", *size, "--json", "--redis-url", redis_url)
    assert ran.code == 0, ran.err
    (two,) = ran.json["scale"]
    assert (two["workers"], two["namespaces"], two["refusals_per_batch"]) == (2, 2, 0)
    assert two["clusters"] >= 100 + 256 * two["batches"]


def test_numbers_of_workers_that_are_none_are_refused() -> None:
    ran = questream("bench", "scale", "--workers", "0,two")
    assert ran.code == 2
    assert "--workers takes whole numbers from 1 up" in ran.err
