"""The test servers themselves: what they promise is what every other test stands on."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from tests.conftest import built
from tests.kit.servers import (
    KafkaServer,
    MissingServer,
    RedisCluster,
    RedisSentinel,
    RedisServer,
    Topics,
    create_topics,
    shared,
)
from tests.kit.servers.kafka import PASSWORD
from tests.kit.servers.process import ServerFailed, free_port, listens
from tests.kit.servers.redis import wait_until

# A parent that starts a server, says where it is, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from tests.kit.servers import RedisServer
server = RedisServer(Path(sys.argv[1]))
server.start()
print(server.port, flush=True)
time.sleep(60)
"""

# Another process of a run that shares a server; it leaves at the end of its input.
SHARER = """
import sys
from pathlib import Path
from tests.kit.servers import RedisServer, shared
with shared(Path(sys.argv[1]), RedisServer) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""
# It takes a port on which nothing listens yet.
TAKER = """
import sys
from tests.kit.servers.process import free_port
print(free_port(), flush=True)
sys.stdin.read()
"""


def child(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def port_said_by(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def produce(kafka: KafkaServer, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    try:
        producer.send(topic, value, partition=0).get(30)
    finally:
        producer.close()


def values(kafka: KafkaServer, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, isolation_level="read_committed")
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning()
        end = consumer.end_offsets([partition])[partition]
        read: list[bytes] = []
        deadline = time.monotonic() + 30
        while consumer.position(partition) < end and time.monotonic() < deadline:
            read += [record.value for batch in consumer.poll(500).values() for record in batch]
        return read
    finally:
        consumer.close()


def test_kafka_keeps_its_records_through_a_restart_and_a_crash(kafka_factory: Callable[..., KafkaServer]) -> None:
    kafka = kafka_factory()
    address = kafka.bootstrap_servers
    topics = create_topics(address)
    produce(kafka, topics.input_topic, b"before the restart")
    kafka.restart()
    produce(kafka, topics.input_topic, b"before the crash")
    kafka.kill()
    assert not listens(int(address.rpartition(":")[2]))
    kafka.start()
    assert kafka.bootstrap_servers == address
    assert values(kafka, topics.input_topic) == [b"before the restart", b"before the crash"]


def test_a_broker_that_is_formatted_without_the_tool_has_what_the_tool_writes(
    kafka_factory: Callable[..., KafkaServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_tool = KafkaServer(tmp_path / "by-tool")
    by_tool._format_by_tool()
    kafka_factory()
    monkeypatch.setattr(KafkaServer, "_format_by_tool", lambda _: pytest.fail("the tool has run for its like before"))
    kafka = kafka_factory()
    topics = create_topics(kafka.bootstrap_servers)
    produce(kafka, topics.input_topic, b"kept")
    kafka.restart()
    assert values(kafka, topics.input_topic) == [b"kept"]
    written, copied = (formatted(server.folder / "data") for server in (by_tool, kafka))
    assert written == copied | {"cluster.id": by_tool.cluster_id, "directory.id": written["directory.id"]}
    assert len(copied["features"]) > 1
    assert copied["cluster.id"] == kafka.cluster_id
    assert copied["directory.id"] != written["directory.id"]


def formatted(data: Path) -> dict[str, str | list[bytes]]:
    """The fields of `meta.properties`, and the features in the records that a broker begins with."""
    lines = (data / "meta.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return fields | {"features": re.findall(rb"[a-z.]+\.version.{3}", (data / "bootstrap.checkpoint").read_bytes())}


def test_topics_of_two_tests_differ_and_the_cluster_topic_is_compacted(
    kafka: KafkaServer, topics: Callable[..., Topics]
) -> None:
    first, second = topics(), topics(partitions=3)
    assert not set(first.settings().values()) & set(second.settings().values())
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    partitions = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    resource = ConfigResource(ConfigResourceType.TOPIC, second.cluster_topic)
    configuration = str(admin.describe_configs([resource]))
    admin.close()
    created = [name for name in second.settings().values() if name != second.event_topic]
    assert [partitions[name] for name in created] == [3, 3, 1, 1, 1, 3]
    assert re.search(r"cleanup\.policy.{0,40}compact", configuration)


def test_kafka_over_sasl_knows_who_asks_and_checks_rights(kafka: KafkaServer, topics: Callable[..., Topics]) -> None:
    topic = topics().input_topic
    rights = {user: sasl_producer(kafka, user, PASSWORD) for user in ("owner", "guest")}
    assert rights["owner"].send(topic, b"allowed").get(30).offset == 0
    with pytest.raises(KafkaError, match="Authorization"):
        rights["guest"].send(topic, b"refused").get(30)
    for producer in rights.values():
        producer.close()
    with pytest.raises(KafkaError):
        sasl_producer(kafka, "owner", "wrong")


def sasl_producer(kafka: KafkaServer, user: str, password: str) -> KafkaProducer:
    return KafkaProducer(
        bootstrap_servers=kafka.sasl_bootstrap_servers,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=user,
        sasl_plain_password=password,
        max_block_ms=10_000,
        bootstrap_timeout_ms=5_000,
    )


@pytest.mark.usefixtures("redis_server")
def test_processes_share_a_server_which_ends_after_the_last(tmp_path: Path) -> None:
    sharing = shared(tmp_path, RedisServer)
    server = sharing.__enter__()
    with child(SHARER, str(tmp_path)) as other:
        assert port_said_by(other) == server.port
        leaving = threading.Thread(target=sharing.__exit__, args=(None, None, None))
        leaving.start()
        leaving.join(0.5)
        assert leaving.is_alive()
        assert listens(server.port)
        other.communicate()
    leaving.join(10)
    assert not leaving.is_alive()
    assert not listens(server.port)


@pytest.mark.usefixtures("redis_server")
def test_a_shared_server_that_died_with_its_process_is_started_again(tmp_path: Path) -> None:
    with child(SHARER, str(tmp_path)) as starter:
        port = port_said_by(starter)
        starter.kill()
    wait_until(lambda: not listens(port), "the server has died with its process")
    with shared(tmp_path, RedisServer) as server:
        assert server.port != port
        assert server.answers()


def test_a_port_is_given_to_one_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with child(TAKER) as taker:
        taken = port_said_by(taker)
        monkeypatch.setattr("tests.kit.servers.process._PORTS", [taken, taken, taken, *range(20_000, 20_050)])
        assert taken not in {free_port() for _ in range(20)}
        taker.communicate()


def test_redis_keeps_its_keys_through_a_restart(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory(appendfsync="everysec")
    url = server.url
    with redis.Redis.from_url(url) as client:
        client.set("key", "kept")
        server.restart()
        assert (server.url, client.get("key")) == (url, b"kept")


def test_redis_that_always_syncs_keeps_its_keys_through_a_crash(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory(appendfsync="always")
    with redis.Redis.from_url(server.url) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
        client.set("key", "kept")
        server.kill()
        assert not listens(server.port)
        server.start()
        assert client.get("key") == b"kept"


def test_redis_refuses_writes_beyond_its_memory_instead_of_forgetting(
    redis_factory: Callable[..., RedisServer],
) -> None:
    server = redis_factory(directives={"maxmemory": "16mb"})
    with server.client() as client:
        client.set("first", "kept")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client)
        assert client.get("first") == "kept"


def fill(client: redis.Redis) -> None:
    for number in range(32):
        client.set(f"key {number}", "x" * 1024 * 1024)


def test_a_paused_server_does_not_answer_until_it_goes_on(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory()
    server.pause()
    with server.client() as client:
        with pytest.raises(redis.exceptions.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()


def test_each_test_gets_an_empty_database_of_its_own(redis_url: str, redis_server: RedisServer) -> None:
    assert redis_url != redis_server.url
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_sentinel_names_the_replica_as_master_after_the_master_died(redis_sentinel: RedisSentinel) -> None:
    addresses = [(host, int(port)) for host, port in (address.split(":") for address in redis_sentinel.sentinels)]
    sentinel = redis.Sentinel(addresses)  # type: ignore[no-untyped-call] # redis-py leaves it untyped
    assert redis_sentinel.master_port() == redis_sentinel.master.port
    client = sentinel.master_for(redis_sentinel.service)  # type: ignore[no-untyped-call] # as above
    client.set("key", b"kept")
    assert client.wait(1, 5000) == 1
    redis_sentinel.master.kill()
    redis_sentinel.wait_until(lambda: redis_sentinel.master_port() == redis_sentinel.replica.port, "a failover")
    # When a master that came back follows the new one is Sentinel's affair; nothing here waits for it.
    redis_sentinel.wait_until(lambda: answer(client, "key") == b"kept", "the replica is master, with what was written")
    client.close()


def answer(client: redis.Redis, key: str) -> object:
    """The value; None while Sentinel names no master or that one does not answer."""
    try:
        return client.get(key)
    except redis.ConnectionError:
        return None


def test_cluster_spreads_keys_and_takes_a_node_back_after_its_crash(redis_cluster: RedisCluster) -> None:
    client = redis.RedisCluster.from_url(redis_cluster.url)
    for number in range(60):
        client.set(f"questream:{{{number}}}:meta", number)
    held = []
    for node in redis_cluster.nodes:
        with node.client() as direct:
            held.append(direct.dbsize())
    assert sum(held) == 60
    assert min(held) > 0
    redis_cluster.nodes[1].kill()
    redis_cluster.nodes[1].start()
    wait_until(redis_cluster.is_whole, "the cluster is whole again")
    assert [client.get(f"questream:{{{number}}}:meta") for number in range(60)] == [b"%d" % n for n in range(60)]
    client.close()


@pytest.mark.usefixtures("redis_server")
def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    assert listens(port)
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    wait_until(lambda: not listens(port), "the server is gone", 10)


@pytest.mark.usefixtures("redis_server")
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerFailed, match="no-such-directive"),
        RedisServer(tmp_path, directives={"no-such-directive": "1"}),
    ):
        pass


def test_a_server_whose_port_is_taken_does_not_pass_for_the_other_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    second = RedisServer(tmp_path, directives={"port": str(redis_server.port)})
    second.port = redis_server.port
    with pytest.raises(ServerFailed, match="in use"):
        second.start()


@pytest.mark.parametrize("server", [KafkaServer, RedisServer, RedisSentinel, RedisCluster])
def test_a_missing_program_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Callable[[Path], object]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServer, match="is not on PATH; install"):
        server(tmp_path)


def test_kafka_without_maven_and_without_jars_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "java").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("QUESTREAM_TEST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MissingServer, match="mvn is not on PATH"):
        KafkaServer(tmp_path / "kafka")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["kafka.lock"]


def test_what_is_missing_skips_on_a_laptop_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> object:
        raise MissingServer("no such server")

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such server"):
        built(build)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such server"):
        built(build)
