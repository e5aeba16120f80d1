"""The doctor on real servers, sound ones and ailing ones."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from redis.exceptions import ResponseError

from questream import QuestionClusterer
from questream.clustering.rules import Rules, Similarity
from questream.deciding.config import identity_of
from questream.embedded import embedded_broker, embedded_store
from questream.errors import ExitCode
from questream.settings import RedisSettings, Settings
from questream.store.protocol import Identity
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore
from questream.tools.doctor.diagnosis import diagnose
from questream.tools.doctor.findings import Check, CheckContext, Finding
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, RedisCluster, RedisSentinel, RedisServer, Topics
from tests.kit.servers.kafka import PASSWORD
from tests.kit.stream import wait_until

MakeTopics = Callable[..., Topics]
NOWHERE = "127.0.0.1:1"


def findings(*flags: str) -> dict[str, dict[str, Any]]:
    """What the doctor finds, by the name of the check."""
    outcome = questream("doctor", "--json", *flags)
    found = {finding["check"]: finding for finding in outcome.json}
    failed = any(finding["status"] == "fail" for finding in found.values())
    assert outcome.code == (ExitCode.FAILED if failed else ExitCode.OK)
    for finding in found.values():
        assert finding["remedy"] or finding["status"] in ("ok", "skipped") or finding["told"], finding
    return found


def flags_of(kafka: KafkaServer, topics: Topics, redis_url: str, model: Path) -> list[str]:
    return [
        f"--kafka.bootstrap_servers={kafka.bootstrap_servers}",
        f"--kafka.group_id=group-{topics.input_topic}",
        *(f"--kafka.{name}={topic}" for name, topic in topics.settings().items()),
        f"--redis.url={redis_url}",
        f"--model.name={model}",
    ]


def redis_findings(url: str, **more: str) -> dict[str, dict[str, Any]]:
    """What the doctor finds of a Redis; there is no Kafka."""
    extra = [f"--redis.{name}={value}" for name, value in more.items()]
    return findings(
        f"--redis.url={url}",
        *extra,
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
        "--model.name=/nowhere",
    )


def test_all_is_well_where_all_is_there(kafka: KafkaServer, topics: MakeTopics, redis_url: str, minilm: Path) -> None:
    found = findings(*flags_of(kafka, topics(2), redis_url, minilm))
    # The test's Redis has no memory limit, and its topics take no longer records than the input topic.
    assert {name for name, finding in found.items() if finding["status"] not in ("ok", "warn")} == set()
    assert found["redis eviction"]["status"] == "warn"
    assert "Kafka 4." in found["broker"]["told"]
    assert "384 dimensions" in found["model"]["told"]
    assert "is new" in found["namespace"]["told"]
    assert "cpu" in found["device"]["told"]
    assert found["transactions"]["told"] == "idempotent and transactional producing work"
    assert any("compact" in finding["told"] for finding in found.values())


def test_a_line_is_told_for_each_check_with_its_remedy(redis_url: str) -> None:
    outcome = questream(
        *("doctor", f"--redis.url={redis_url}", f"--kafka.bootstrap_servers={NOWHERE}", "--model.name=/nowhere"),
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    lines = outcome.out.splitlines()
    assert lines[0].startswith("ok      settings: ")
    assert any(line.startswith("fail    broker: no broker answered at 127.0.0.1:1") for line in lines)
    assert any(" -> check kafka.bootstrap_servers" in line for line in lines)
    assert any(line.startswith("skipped topics: needs broker") for line in lines)


def test_everything_down_is_told_in_time_and_not_raised() -> None:
    started = time.monotonic()
    found = findings(
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=200",
        f"--redis.url=redis://me:hunter2-open-sesame@{NOWHERE}",
        "--model.name=/nowhere",
        "--model.device=nonsense",
    )
    assert time.monotonic() - started < 60
    assert {name for name, finding in found.items() if finding["status"] == "fail"} == {
        *("broker", "redis", "model", "device")
    }
    assert {name for name, finding in found.items() if finding["status"] == "skipped"} >= {"topics", "namespace"}
    assert "hunter2-open-sesame" not in str(found)


def test_a_wrong_setting_is_the_only_finding() -> None:
    found = findings("--clusters.threshold=2")
    assert list(found) == ["settings"]
    assert "clusters.threshold" in found["settings"]["told"]


def test_a_broker_that_does_not_answer_costs_no_more_than_the_limit(redis_url: str) -> None:
    def hang(_: CheckContext) -> Iterator[Finding]:
        threading.Event().wait()
        yield Finding("hanging", "ok", "never")

    def work(_: CheckContext) -> Iterator[Finding]:
        yield Finding("working", "ok", "done")

    checks = [
        Check("hanging", hang, limit_seconds=0.2),
        Check("after", work, needs=("hanging",)),
        Check("working", work),
    ]
    found = list(diagnose(Settings(), checks))
    assert [(finding.check, finding.status) for finding in found] == [
        ("hanging", "fail"),
        ("after", "skipped"),
        ("working", "ok"),
    ]
    assert "no answer within 0.2 s" in found[0].told


def test_a_check_that_breaks_tells_its_kind_and_not_its_text() -> None:
    def broken(_: CheckContext) -> Iterator[Finding]:
        raise RuntimeError("hunter2-open-sesame")
        yield

    (finding,) = diagnose(Settings(), [Check("broken", broken)])
    assert (finding.status, finding.told) == ("fail", "the check failed: RuntimeError")


# Kafka


def kafka_findings(kafka: KafkaServer, topics: Topics, *more: str) -> dict[str, dict[str, Any]]:
    """What the doctor finds of a broker; there is no Redis."""
    return findings(*flags_of(kafka, topics, f"redis://{NOWHERE}", Path("/nowhere")), *more)


def as_guest(kafka: KafkaServer) -> list[str]:
    return [
        f"--kafka.bootstrap_servers={kafka.sasl_bootstrap_servers}",
        "--kafka.options.security_protocol=SASL_PLAINTEXT",
        "--kafka.options.sasl_mechanism=PLAIN",
        "--kafka.options.sasl_plain_username=guest",
        f"--kafka.sasl_plain_password={PASSWORD}",
    ]


def test_topics_that_do_not_exist_are_told_with_the_command_that_creates_them(kafka: KafkaServer) -> None:
    missing = Topics("no-q", "no-d", "no-c", "no-x")
    found = kafka_findings(kafka, missing)
    told = {name: finding for name, finding in found.items() if name.startswith("topic ")}
    # Without the last two questions are decided all the same. No worker uses the topic of events.
    assert {name: finding["status"] for name, finding in told.items()} == {
        **{f"topic {name}": "fail" for name in ("no-q", "no-d", "no-c", "no-x")},
        f"topic {missing.operation_topic}": "warn",
        f"topic {missing.correction_topic}": "warn",
    }
    assert {finding["remedy"] for finding in told.values()} == {"questream topics create"}


def test_a_cluster_topic_that_forgets_is_told(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    mistaken = Topics(mine.input_topic, mine.output_topic, mine.dead_letter_topic, mine.cluster_topic)
    found = kafka_findings(kafka, mistaken)
    assert "cleanup.policy is delete" in found[f"topic {mistaken.cluster_topic}"]["told"]
    assert "compact" in found[f"topic {mistaken.cluster_topic}"]["remedy"]
    assert "cleanup.policy is compact" in found[f"topic {mistaken.dead_letter_topic}"]["told"]


def test_a_topic_of_events_that_forgets_before_a_receiver_is_back_is_told(
    kafka: KafkaServer, topics: MakeTopics
) -> None:
    mine = topics()
    name = mine.event_topic
    assert f"topic {name}" not in kafka_findings(kafka, mine)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_topics([NewTopic(name, 1, 1)])
    for config, status, told in (
        ({"retention.ms": "3600000"}, "warn", "are kept for 3600000 ms"),
        ({"retention.ms": "86400000"}, "ok", "event, delete"),
        ({"retention.ms": "-1"}, "ok", "event, delete"),
        ({"cleanup.policy": "compact"}, "warn", "replace each other"),
    ):
        admin.alter_configs([ConfigResource("TOPIC", name, config)])
        until = time.monotonic() + 30
        found: dict[str, Any] = {}
        while told not in found.get("told", "") and time.monotonic() < until:
            found = kafka_findings(kafka, mine).get(f"topic {name}", {})
        assert (found["status"], told in found["told"]) == (status, True), found
    admin.close()


def test_missing_rights_are_told_one_by_one(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    rights = [
        (ResourceType.TOPIC, mine.input_topic, ACLOperation.READ),
        (ResourceType.TOPIC, mine.output_topic, ACLOperation.DESCRIBE),
    ]
    admin.create_acls(
        [
            ACL("User:guest", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
            for kind, name, operation in rights
        ]
    )
    admin.close()
    found = kafka_findings(kafka, mine, *as_guest(kafka))
    deadline = time.monotonic() + 10
    while found[f"topic {mine.input_topic}"]["status"] != "ok" and time.monotonic() < deadline:
        found = kafka_findings(kafka, mine, *as_guest(kafka))
    assert "as guest" in found["authentication"]["told"]
    assert found[f"topic {mine.input_topic}"]["status"] == "ok"
    assert "the right to WRITE is missing" in found[f"topic {mine.output_topic}"]["told"]
    assert "DESCRIBE" in found[f"topic {mine.cluster_topic}"]["told"]
    assert "the right to READ group" in found["consumer group"]["told"]
    assert "the right to WRITE transactional ids" in found["transactions"]["told"]
    assert PASSWORD not in str(found)


def test_a_transaction_time_beyond_the_broker_s_is_told(kafka_factory: Callable[..., KafkaServer]) -> None:
    kafka = kafka_factory(properties={"transaction.max.timeout.ms": "10000"})
    found = kafka_findings(kafka, Topics("q", "d", "c", "x"))
    assert found["transactions"]["status"] == "fail"
    assert "kafka.transaction_timeout_seconds" in found["transactions"]["told"]
    assert "transaction.max.timeout.ms" in found["transactions"]["remedy"]
    found = kafka_findings(kafka, Topics("q", "d", "c", "x"), "--kafka.transaction_timeout_seconds=5")
    assert found["transactions"]["status"] == "ok"


def test_transactions_are_not_asked_for_where_they_are_not_used(kafka: KafkaServer, topics: MakeTopics) -> None:
    found = kafka_findings(kafka, topics(), "--delivery=at-least-once", *as_guest(kafka))
    assert found["transactions"]["status"] == "ok"
    assert "not used" in found["transactions"]["told"]


def test_records_from_the_future_are_told(kafka: KafkaServer, topics: MakeTopics) -> None:
    mine = topics()
    assert kafka_findings(kafka, mine)["clock of records"]["told"] == "no record yet"
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    producer.send(mine.input_topic, b"x", timestamp_ms=int((time.time() + 600) * 1000)).get(timeout=20)
    producer.close()
    finding = kafka_findings(kafka, mine)["clock of records"]
    assert finding["status"] == "warn"
    assert "ahead of this machine's clock" in finding["told"]


def test_the_embedded_pair_can_be_examined(minilm: Path) -> None:
    with embedded_broker() as bootstrap_servers, embedded_store() as url:
        flags = [f"--kafka.bootstrap_servers={bootstrap_servers}", f"--redis.url={url}", f"--model.name={minilm}"]
        assert questream("topics", "create", *flags).code in (ExitCode.OK, ExitCode.FAILED)
        found = findings(*flags)
        assert {name for name, finding in found.items() if finding["status"] == "fail"} == set()
        assert "Valkey" in found["redis"]["told"]
        assert "a crash forgets all" in found["redis persistence"]["told"]


# Redis


def test_persistence_tells_the_guarantee(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory(appendfsync="always", directives={"maxmemory": "64mb"})
    found = redis_findings(server.url)
    assert found["redis persistence"]["told"] == "every committed batch survives a crash of Redis"
    assert found["redis eviction"]["status"] == "ok"
    assert "of 64 MiB used" in found["redis eviction"]["told"]
    with server.client() as client:
        client.config_set("appendfsync", "everysec")
        assert "may forget the last second" in redis_findings(server.url)["redis persistence"]["told"]
        client.config_set("appendfsync", "no")
        assert redis_findings(server.url)["redis persistence"]["status"] == "warn"
        client.config_set("appendonly", "no")
        finding = redis_findings(server.url)["redis persistence"]
    assert (finding["status"], finding["remedy"]) == ("warn", "set appendonly to yes")


def test_a_redis_that_evicts_is_told(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory(directives={"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"})
    finding = redis_findings(server.url)["redis eviction"]
    assert finding["status"] == "fail"
    assert "allkeys-lru" in finding["told"]
    assert "noeviction" in finding["remedy"]


def test_a_redis_that_is_full_is_told_as_workers_tell_it(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory()
    with server.client() as client:
        client.config_set("maxmemory", 1)
    found = redis_findings(server.url)
    for check in ("redis eviction", "redis rights"):
        assert found[check]["status"] == "fail", check
        assert "its memory is full" in found[check]["told"]
        assert "raise its maxmemory" in found[check]["remedy"]


def test_a_redis_that_a_script_keeps_busy_is_told_as_workers_tell_it(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory()

    def keep_busy() -> None:
        with server.client() as client, pytest.raises(ResponseError, match="SCRIPT KILL"):
            client.eval("while true do end", 0)

    def is_busy() -> bool:
        try:
            return not client.ping()
        except ResponseError as error:
            return str(error).startswith("BUSY")

    with server.client() as client, ThreadPoolExecutor() as threads:
        client.config_set("lua-time-limit", 10)
        busy = threads.submit(keep_busy)
        try:
            wait_until(is_busy, "the script keeps it busy")
            finding = redis_findings(server.url)["redis"]
        finally:
            client.script_kill()
        busy.result()
    assert finding["status"] == "fail"
    assert finding["told"] == "Redis takes no writes: somebody's script keeps it busy"
    assert finding["remedy"] == "end it with SCRIPT KILL"


def test_a_user_without_rights_to_scripts_is_told(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory()
    with server.client() as client:
        client.acl_setuser(
            "reader", enabled=True, passwords=["+hunter2-open-sesame"], keys=["*"], categories=["+@read", "+@admin"],
            commands=["+info", "+time", "+config"],
        )  # fmt: skip
    found = redis_findings(server.url.replace("redis://", "redis://reader:hunter2-open-sesame@"))
    assert found["redis"]["status"] == "ok"
    assert found["redis rights"]["status"] == "fail"
    assert "EVALSHA" in found["redis rights"]["told"]
    assert "+evalsha" in found["redis rights"]["remedy"]
    assert "hunter2-open-sesame" not in str(found)


def test_a_wrong_password_of_redis_is_told_and_not_shown(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory()
    with server.client() as client:
        client.config_set("requirepass", "the-right-one")
    for url in (server.url, server.url.replace("redis://", "redis://:a-wrong-one@")):
        finding = redis_findings(url)["redis"]
        assert finding["status"] == "fail"
        assert "refused" in finding["told"]
        assert "a-wrong-one" not in str(finding)


def test_a_replica_is_told_that_it_cannot_be_written_to(redis_sentinel: RedisSentinel) -> None:
    found = redis_findings(redis_sentinel.replica.url)
    assert found["redis rights"]["status"] == "fail"


def test_a_failover_is_named_where_there_are_replicas(redis_sentinel: RedisSentinel) -> None:
    found = redis_findings(
        "redis://ignored",
        mode="sentinel",
        sentinels=",".join(redis_sentinel.sentinels),
        sentinel_service=redis_sentinel.service,
    )
    assert found["redis"]["status"] == "ok"
    assert "a failover may lose the last writes" in found["redis persistence"]["told"]


def test_every_primary_of_a_redis_cluster_is_looked_at(redis_cluster: RedisCluster) -> None:
    found = redis_findings(redis_cluster.url, mode="cluster")
    assert "cluster, 3 primaries" in found["redis"]["told"]
    assert found["redis rights"]["status"] == "ok"
    with redis_cluster.nodes[1].client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert redis_findings(redis_cluster.url, mode="cluster")["redis eviction"]["status"] == "fail"


# The stream


def test_a_transaction_left_open_on_the_input_is_told(
    kafka: KafkaServer, topics: MakeTopics, redis_url: str, minilm: Path
) -> None:
    made = topics(2)
    flags = flags_of(kafka, made, redis_url, minilm)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"open-{made.input_topic}")
    producer.init_transactions()
    producer.begin_transaction()
    for _ in range(7):
        producer.send(made.input_topic, b"Why?", partition=1)
    producer.flush()
    found = findings(*flags)["input held back"]
    assert found["status"] == "warn"
    assert f"7 offsets of {made.input_topic} lie behind an open transaction, in partition 1:" in found["told"]
    assert "find-hanging" in found["remedy"]
    producer.commit_transaction()
    producer.close()
    assert findings(*flags)["input held back"]["status"] == "ok"


def test_a_redis_that_does_not_serve_the_stream_is_told(
    kafka: KafkaServer, topics: MakeTopics, redis_url: str, minilm: Path
) -> None:
    made = topics()
    flags = flags_of(kafka, made, redis_url, minilm)
    assert findings(*flags)["redis home"]["told"] == "nothing is published yet"
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    headers = [("questream-store", b"3 0123456789abcdef fedcba9876543210")]
    producer.send(made.cluster_topic, key=b"shop/c1", value=b"{}", headers=headers)
    producer.close()
    found = findings(*flags)["redis home"]
    assert found["status"] == "fail"
    assert "another Redis serves namespace shop" in found["told"]
    assert "restore --adopt" in found["remedy"]


def test_workers_with_other_settings_are_told(
    kafka: KafkaServer, topics: MakeTopics, redis_url: str, minilm: Path
) -> None:
    flags = flags_of(kafka, topics(), redis_url, minilm)
    assert findings(*flags)["settings in use"]["status"] == "ok"
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    store.open("default", Identity("m", "1", 4, "cosine", "average", 0.5))
    store.note_settings("default", "one", b'{"delivery":"exactly-once","clusters.max_clusters":5}', 60)
    found = findings(*flags)["settings in use"]
    assert (found["status"], found["told"]) == ("warn", "clusters.max_clusters: unset here, 5 in worker one")
    store.note_settings("default", "two", b'{"delivery":"exactly-once","clusters.max_clusters":6}', 60)
    found = findings(*flags)["settings in use"]
    assert found["status"] == "warn"
    assert "workers run by different settings: clusters.max_clusters: " in found["told"]


# Model


def test_a_namespace_of_another_model_is_told(redis_url: str, minilm: Path) -> None:
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    QuestionClusterer(dimension=4, store=store).assign(np.eye(4, dtype=np.float32))
    found = findings(
        f"--redis.url={redis_url}",
        f"--model.name={minilm}",
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    assert found["namespace"]["status"] == "fail"
    assert "was built with vectors" in found["namespace"]["told"]
    assert "clusters.namespace" in found["namespace"]["remedy"]


def test_a_namespace_of_this_model_is_fine(redis_url: str, minilm: Path, encoder: Any) -> None:
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    QuestionClusterer(encoder, store=store).assign(["Why?"])
    found = findings(
        f"--redis.url={redis_url}",
        f"--model.name={minilm}",
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    assert found["namespace"]["status"] == "ok"
    assert "as this worker would" in found["namespace"]["told"]
    assert "preparation" not in found
    # What is read from the files without torch is what the loaded model has.
    assert f"{encoder.name} at {encoder.revision[:19]}, {encoder.dimension} dimensions" == found["model"]["told"]
    assert found["device"]["told"].startswith(f"{encoder.device} (")
    assert found["device"]["told"].endswith(f"dtype {encoder.dtype}")


@pytest.mark.parametrize(("similarity", "low", "high"), [("cosine", 0.35, 0.65), ("centred", 0.4, 0.55)])
def test_a_threshold_that_unrelated_questions_reach_is_told_with_the_least_that_they_do_not(
    redis_url: str, similarity: Similarity, low: float, high: float
) -> None:
    """Of questions with nothing in common but a quarter of their squared length."""
    vectors = np.hstack([np.full((200, 1), 0.5), 0.75**0.5 * np.eye(200)]).astype(np.float32)
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    for namespace, threshold in (("low", low), ("high", high)):
        QuestionClusterer(
            dimension=201, store=store, namespace=namespace, similarity=similarity, threshold=threshold
        ).assign(vectors)
    flags = [f"--redis.url={redis_url}", f"--kafka.bootstrap_servers={NOWHERE}", "--model.name=/nowhere"]
    flags.append("--kafka.options.bootstrap_timeout_ms=50")
    warned = findings(*flags, "--clusters.namespace=low")["threshold"]
    assert warned["status"] == "warn"
    assert f"its threshold of {low:.3f}" in warned["told"]
    least = float(re.findall(r"clusters\.threshold to (\S+) or more", warned["remedy"])[0])
    assert low < least < high
    assert findings(*flags, "--clusters.namespace=high")["threshold"]["status"] == "ok"
    assert "threshold" not in findings(*flags, "--clusters.namespace=new")


@pytest.mark.parametrize("similarity", ["cosine", "centred"])
def test_of_questions_that_are_all_alike_no_threshold_is_called_low(redis_url: str, similarity: Similarity) -> None:
    """As of 125 mails of one kind, which have a mean cosine of .83."""
    own = np.eye(125, dtype=np.float32)
    vectors = np.hstack([np.full((125, 1), 0.83**0.5), 0.17**0.5 * own]).astype(np.float32)
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    QuestionClusterer(dimension=126, store=store, similarity=similarity).assign(vectors)
    flags = [f"--redis.url={redis_url}", f"--kafka.bootstrap_servers={NOWHERE}", "--model.name=/nowhere"]
    told = findings(*flags, "--kafka.options.bootstrap_timeout_ms=50")["threshold"]
    assert told["status"] == "ok"
    assert "too alike to show how near unrelated ones come" in told["told"]


def test_clusters_of_questions_with_little_in_common_are_told_at_any_threshold(redis_url: str) -> None:
    vectors = np.eye(200, dtype=np.float32)
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    for threshold in (-1.0, 0.9):
        QuestionClusterer(dimension=200, store=store, linkage="average", threshold=threshold).assign(vectors[:150])
    flags = [f"--redis.url={redis_url}", f"--kafka.bootstrap_servers={NOWHERE}", "--model.name=/nowhere"]
    warned = findings(*flags, "--kafka.options.bootstrap_timeout_ms=50")["threshold"]
    assert warned["status"] == "warn"
    assert "50% of the questions of default are in clusters of questions with little in common" in warned["told"]


def test_a_namespace_of_texts_that_were_prepared_in_another_way_is_told(
    redis_url: str, minilm: Path, encoder: Any
) -> None:
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    QuestionClusterer(encoder, store=store).assign(["Why?"])
    found = findings(
        f"--redis.url={redis_url}",
        f"--model.name={minilm}",
        "--input.prepare=off",
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    assert found["namespace"]["status"] == "ok"
    assert found["preparation"]["status"] == "warn"
    assert "prepared by mail-6, this worker's are by nothing" in found["preparation"]["told"]
    assert "set input.prepare" in found["preparation"]["remedy"]


def test_of_a_namespace_that_an_earlier_release_prepared_no_setting_is_to_be_changed(
    redis_url: str, minilm: Path, encoder: Any
) -> None:
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    store.open("default", replace(identity_of(encoder, Rules(0.7, 0.7)), prepared_by="mail-5"))
    found = findings(
        f"--redis.url={redis_url}",
        f"--model.name={minilm}",
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    assert found["preparation"]["status"] == "warn"
    assert "prepared by mail-5, this worker's are by mail-6" in found["preparation"]["told"]
    assert "nothing has to be done" in found["preparation"]["remedy"]


def test_a_model_that_is_still_to_be_fetched_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = findings(
        "--model.name=somebody/some-model-that-is-not-here",
        f"--redis.url=redis://{NOWHERE}",
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    assert found["model"]["status"] == "warn"


def test_a_licence_that_was_not_accepted_is_told() -> None:
    found = findings(
        "--model.name=aiknowyou/all-mpnet-base-questions-clustering-en",
        f"--redis.url=redis://{NOWHERE}",
        f"--kafka.bootstrap_servers={NOWHERE}",
        "--kafka.options.bootstrap_timeout_ms=50",
    )
    assert found["model"]["status"] == "fail"
    assert "accept_license" in found["model"]["remedy"]
