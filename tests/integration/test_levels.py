"""A worker that finds intents and topics beside its stream, on Kafka and Redis themselves."""

from __future__ import annotations

import time
from collections.abc import Callable

from questream.clustering.stored_levels import StoredLevels
from questream.deciding.level_runs import is_due
from questream.domain import parse_cluster_id
from questream.tools.intents import find_intents
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import WAIT_SECONDS, Stream, metric_values, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder, spelled

SUBJECTS = 4
EACH = 6
OPTIONS = {"clusters.threshold": 0.9, "clusters.similarity": "cosine"}


def text_of(number: int) -> str:
    return f"subject{spelled(number % SUBJECTS)} " * 2 + f"aspect{spelled(number)}"


def test_a_worker_finds_intents_of_its_clusters_and_says_them_in_decisions(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, OPTIONS)
    # Two questions of a subject have a cosine of .8: other questions, and one intent.
    stream.send(question(n, text_of(n)) for n in range(SUBJECTS * EACH))
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as decisions:
        subject_of = {
            parse_cluster_id(decision["cluster_id"]): int(decision["question_id"][1:]) % SUBJECTS
            for decision in decisions.values(SUBJECTS * EACH)
        }
        wait_until(lambda: stream.store().levels("default").version > 0, "levels are found")
        wait_until(lambda: metric_values(worker.metrics_port)["questream_level_runs_total"] >= 1, "the run is counted")
        found = stream.store().levels("default").levels
        # The worker reads at its next look what it has written.
        path, asked = None, SUBJECTS * EACH
        deadline = time.monotonic() + WAIT_SECONDS
        while path is None and time.monotonic() < deadline:
            stream.send([question(asked, text_of(0))])
            asked += 1
            (decision,) = decisions.values(asked)[asked - 1 :]
            path = decision["path"]
        assert decision["outcome"] == "joined"
        own, intent, topic = found.path(parse_cluster_id(decision["cluster_id"]))
        assert path == [str(topic), str(intent), str(own)]
    ledger = stream.store().ledger("default", stream.topics.input_topic, 0)
    assert ledger.decisions[asked - 1].path == tuple(path)
    intents = find_intents(stream.store(), "default")
    subjects = [sorted({subject_of[state.cluster_id] for state in intent.clusters}) for intent in intents]
    assert sorted(subjects) == [[subject] for subject in range(SUBJECTS)]
    assert {intent.path[1].level for intent in intents if intent.path} == {1}


def standing(stream: Stream) -> StoredLevels:
    """The levels of the store, once they are published and no run is due."""
    found = StoredLevels()

    def is_calm() -> bool:
        nonlocal found
        mark = stream.store().levels_marks(["default"])["default"]
        found = stream.store().levels("default")
        return found.version == mark.version == mark.published > 0 and not is_due(mark)

    wait_until(is_calm, "levels are found and published")
    return found


def levels_of_subjects(stream: Stream) -> StoredLevels:
    """The levels once a worker has decided all subjects; it is gone by then."""
    stream.send(question(n, text_of(n)) for n in range(SUBJECTS * EACH))
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        decisions.until(SUBJECTS * EACH)
        return standing(stream)


def verified(stream: Stream) -> list[str]:
    """What `verify` says does not hold."""
    outcome = questream("verify", "--json", *(f"--{key}={value}" for key, value in stream.overrides().items()))
    return [difference["promise"] for difference in outcome.json["differences"]]


def test_ids_of_intents_outlive_the_memory_of_redis(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, OPTIONS)
    before = levels_of_subjects(stream)
    assert verified(stream) == []
    stream.redis().flushdb()
    assert "the store has all that was published" in verified(stream)
    # Of other subjects: found from nothing, they would get the numbers that others have.
    more = [question(100 + n, text_of(n).replace("subject", "matter")) for n in range(SUBJECTS * EACH)]
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        wait_until(lambda: stream.store().levels("default") == before, "the levels are back")
        stream.send(more)
        decisions.until(2 * SUBJECTS * EACH)
        wait_until(lambda: stream.store().levels("default").version > before.version, "levels are found anew")
        after = standing(stream)
    paths = [found.levels.path(number) for found in (before, after) for number in range(1, SUBJECTS * EACH + 1)]
    assert paths[: SUBJECTS * EACH] == paths[SUBJECTS * EACH :]
    new = {after.levels.path(number)[1] for number in range(SUBJECTS * EACH + 1, 2 * SUBJECTS * EACH + 1)}
    assert not new & {path[1] for path in paths}
    assert verified(stream) == []


def test_an_intent_is_named_and_its_name_outlives_the_memory_of_redis(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, OPTIONS)
    before = levels_of_subjects(stream)
    intent = str(before.levels.path(1)[1])
    options = [f"--{key}={value}" for key, value in stream.overrides().items()]
    named = questream("clusters", "label", intent, "--label", "cards", "--route", "desk", "--json", *options)
    assert named.json["levels"]["after"] == {intent: {"label": "cards", "route": "desk"}}
    shown = questream("clusters", "list", "--level", "intent", "--json", *options).json_lines
    assert {row["id"]: row["route"] for row in shown}[intent] == "desk"

    def decided_with_names(asked: int) -> int:
        """Ask until a decision has them; returns how many were asked."""
        with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
            deadline = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < deadline:
                stream.send([question(asked, text_of(0))])
                asked += 1
                last = decisions.values(asked)[asked - 1]
                if last["label"] == "cards":
                    assert (last["route"], last["path"][1]) == ("desk", intent)
                    standing(stream)
                    return asked
        raise AssertionError("no decision has the label of its intent")

    asked = decided_with_names(SUBJECTS * EACH)
    stream.redis().flushdb()
    decided_with_names(asked)
    assert verified(stream) == []
    undone = questream("undo", str(named.json["operation"]), "--json", *options)
    assert undone.json["levels"]["after"] == {intent: {"label": None, "route": None}}
    assert [row["kind"] for row in questream("clusters", "history", intent, "--json", *options).json_lines] == [
        "undo",
        "label",
    ]


def test_levels_that_were_lost_after_they_were_published_are_seen_by_the_next_worker(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, OPTIONS)
    before = levels_of_subjects(stream)
    # As a backup of Redis that was taken before the run.
    stream.redis().delete("questream:{default}:levels")
    with running_worker(stream.settings(levels__enabled=False), hash_encoder()):
        wait_until(lambda: stream.store().levels("default") == before, "the levels are back")
    assert verified(stream) == []
