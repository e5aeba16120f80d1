"""A judge of close calls on a real Kafka and Redis: its word is published, and told to who asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from questream.deciding.config import rules_of
from questream.encoder import load_judge
from questream.operations import ask
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

CARD, PARCEL = "please tell me where is my card", "please tell me where is my parcel"


def test_what_the_judge_says_is_published_and_told_to_who_asks(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, tmp_path: Path
) -> None:
    from tests.kit.models import save_cross_encoder

    settings = {
        "clusters.threshold": 0.7,
        "judge.model": str(save_cross_encoder(tmp_path)),
        "judge.margin": 0.3,
        # Nothing is that sure: all close calls are of others.
        "judge.min_probability": 0.99,
    }
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, settings)
    judge = load_judge(stream.settings().judge, "cpu")
    stream.send([question(1, CARD), question(2, PARCEL)])
    with running_worker(stream.settings(), hash_encoder(), judge=judge) as worker, stream.decisions() as reader:
        first, second = reader.values(2)
        assert [value["outcome"] for value in (first, second)] == ["created", "created"]
        assert (second["checked_by"], second["reason"]) == ("judge", "judge")
        assert second["runner_up"]["cluster_id"] == first["cluster_id"]
        wait_until(lambda: stream.store().unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        assert worker.metrics.judged.labels("other")._value.get() == 1
    encoder = hash_encoder()
    rules = rules_of(stream.settings(), encoder)
    asked = ask(stream.store(), "default", encoder, rules, CARD.replace("card", "bill"), judge)
    assert asked.joins is None
    assert [one.reason for one in asked.candidates] == ["judge", "judge"]
    assert ask(stream.store(), "default", encoder, rules, CARD.replace("card", "bill")).joins is not None
