"""`questream bench gpu` as a user would run it, with few questions; and what it works out."""

from __future__ import annotations

from dataclasses import replace

from questream.lab.bench.gpu import HostFigures, ProcessFigures, needed
from tests.kit.command import questream
from tests.kit.servers import KafkaServer

FIGURES = ProcessFigures(
    workers=1,
    owner=False,
    questions=1000,
    questions_per_second=2000.0,
    rate_ratio=1.0,
    worker_microseconds=200.0,
    owner_microseconds=0.0,
    cpu_ratio=1.0,
    duplicates=0,
    load_average=1.0,
)


def test_the_parts_are_measured_and_the_processes_worked_out(kafka: KafkaServer, redis_url: str) -> None:
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    size = ("--processes=2", "--questions=600", "--topics=10", "--turns=2", "--rate=50000", "--batch_questions=16")
    ran = questream("bench", "gpu", *size, *servers, "--model.device=cpu", "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["gpu"] is False
    assert [one["questions"] for one in told["device"]] == [16, 64, 256]
    assert all(one["questions_per_second"] > 0 and one["cpu_microseconds"] > 0 for one in told["device"])
    host, (alone, both) = told["host"], told["processes"]
    assert min(host.values()) > 0
    assert (alone["workers"], alone["owner"], alone["rate_ratio"], alone["owner_microseconds"]) == (1, False, 1, 0)
    assert (both["workers"], both["owner"], both["duplicates"]) == (2, True, 0)
    assert 0 <= both["owner_microseconds"] < both["worker_microseconds"]
    microseconds = both["worker_microseconds"] + host["tokenise"]
    assert told["needed"]["worker_microseconds"] == microseconds
    assert told["needed"]["processes"] == -(-50_000 * microseconds // 1_000_000)


def test_processes_follow_from_the_cost_of_the_most_workers() -> None:
    host = HostFigures(tokens_per_question=15.0, tokenise=40.0, hand_over_by_worker=1.0, hand_over_by_owner=1.0)
    two = replace(FIGURES, workers=2, owner=True, worker_microseconds=160.0, owner_microseconds=2.0)
    wanted = needed(100_000, host, [FIGURES, two])
    assert (wanted.worker_microseconds, wanted.processes, wanted.owner_cores) == (200.0, 20, 0.2)


def test_where_there_is_no_gpu_the_table_says_so(kafka: KafkaServer, redis_url: str) -> None:
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    size = ("--processes=1", "--questions=256", "--topics=10", "--turns=1", "--batch_questions=16")
    ran = questream("bench", "gpu", *size, *servers, "--model.device=cpu")
    assert ran.code == 0, ran.err
    assert "THERE IS NO GPU HERE" in ran.out
    assert "Computed: 100,000 questions/s" in ran.out
