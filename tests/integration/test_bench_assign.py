"""`questream bench assign` as a user would run it, with few clusters."""

from __future__ import annotations

from tests.kit.command import questream
from tests.kit.servers import KafkaServer


def test_assignment_is_measured_with_and_without_rejected_questions(kafka: KafkaServer, redis_url: str) -> None:
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    size = ("--clusters", "50", "--dimensions", "8", "--runs", "2", "--exemplars", "20")
    ran = questream("bench", "assign", *size, *servers, "--json")
    assert ran.code == 0, ran.err
    assert [figures["clusters"] for figures in ran.json["assignment"]] == [50] * len(ran.json["assignment"])
    (figures,) = ran.json["exemplars"]
    assert (figures["clusters"], figures["exemplars"], figures["runs"]) == (50, 20, 2)
    assert min(figures["cpu_median"], figures["without_cpu_median"]) > 0
    operations = ran.json["operations"]
    assert [one["kind"] for one in operations] == ["label", "pin", "reject", "split", "merge"]
    assert all((one["clusters"], one["runs"]) == (50, 25) and one["cpu_mean"] > 0 for one in operations)
    assert all(one["store_cpu_mean"] is not None for one in operations)
