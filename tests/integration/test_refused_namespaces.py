"""A record names a namespace that the store will not serve: it is a dead letter, and all other namespaces go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from questream.errors import NamespaceRefused
from questream.records import encode_namespace_state
from questream.settings import RedisSettings, Settings
from questream.store.redis.store import open_store
from questream.stream.worker import Worker
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import (
    Message,
    Stream,
    assert_one_decision_each,
    question,
    running_worker,
    send,
    wait_for_metrics,
    wait_until,
)
from tests.kit.vectors import hash_encoder

TENANT = "tenant"


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    options = {"input.namespace_header": TENANT}
    return Stream(kafka.bootstrap_servers, topics(), redis_url, options)


def asked(number: int, namespace: str) -> Message:
    return question(number, f"where is card {number}?", headers=[(TENANT, namespace.encode())])


def rights_to(*namespaces: str) -> list[str]:
    """Of ACL SETUSER: the keys of these namespaces, the list of all, and that of the streams."""
    return ["~questream:namespaces", "~questream:streams", *(f"~questream:{{{name}}}:*" for name in namespaces)]


def reasons(records: list[Any]) -> list[tuple[bytes, str, str]]:
    told = [(record.key, {name: value.decode() for name, value in record.headers}) for record in records]
    return [(key, headers["questream-stage"], headers["questream-reason"]) for key, headers in told]


def test_a_record_of_a_namespace_of_another_model_is_a_dead_letter(stream: Stream) -> None:
    stream.send([asked(1, "acme")])
    other = replace(hash_encoder(), revision="another")
    with running_worker(stream.settings(clusters__namespace="acme"), other), stream.decisions() as reader:
        reader.until(1)
    with running_worker(stream.settings(), hash_encoder()) as worker:
        stream.send([asked(2, "bank"), asked(3, "acme"), asked(4, "acme"), asked(5, "bank")])
        with stream.decisions() as reader, stream.dead_letters() as dead:
            assert_one_decision_each(reader.values(3), ["q1", "q2", "q5"])
            letters = dead.until(2)
        assert reasons(letters) == [(key, "recall", "namespace_of_another_model") for key in (b"q3", b"q4")]
        counted = 'questream_dead_lettered_total{reason="namespace_of_another_model"}'
        wait_for_metrics(worker.metrics_port, {counted: 2})
    wait_until(lambda: stream.committed() == {0: 5}, "the offsets are past them")


def test_a_namespace_that_moves_to_another_model_under_a_worker_ends_none(stream: Stream) -> None:
    encoder = hash_encoder()
    with running_worker(stream.settings(), encoder) as worker, stream.decisions() as reader:
        stream.send([asked(1, "acme"), asked(2, "bank")])
        reader.until(2)
        # What `questream migrate` leaves when it dies after its transaction: whoever settles the namespace moves it.
        moved = stream.store().namespace_state("acme")
        assert moved is not None
        moved = replace(moved, model_revision="another", generation=moved.generation + 1)
        key, value = encode_namespace_state(moved)
        send(stream.bootstrap_servers, stream.topics.cluster_topic, [Message(value, key)])
        stream.store().require_recovery("acme")
        stream.send([asked(3, "acme"), asked(4, "bank")])
        assert_one_decision_each(reader.values(3), ["q1", "q2", "q4"])
        with stream.dead_letters() as dead:
            assert reasons(dead.until(1)) == [(b"q3", "recall", "namespace_of_another_model")]
        assert worker.condition.ready() is None


def test_a_namespace_whose_keys_the_login_may_not_touch_is_a_dead_letter(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_factory: Callable[..., RedisServer]
) -> None:
    server = redis_factory()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">right", "+@all", *rights_to("default", "bank"))
    url = f"redis://app:right@127.0.0.1:{server.port}/0"
    stream = Stream(kafka.bootstrap_servers, topics(), url, {"input.namespace_header": TENANT})
    with running_worker(stream.settings(), hash_encoder()):
        stream.send([asked(1, "default"), asked(2, "acme"), asked(3, "bank")])
        with stream.decisions() as reader, stream.dead_letters() as dead:
            assert_one_decision_each(reader.values(2), ["q1", "q3"])
            assert reasons(dead.until(1)) == [(b"q2", "recall", "namespace_refused")]
    with pytest.raises(NamespaceRefused, match="Redis denies this user a key"):
        Worker(stream.settings(clusters__namespace="acme"), hash_encoder()).run()
    # Taken away while a worker has its clusters: the other namespaces go on.
    with (
        server.client() as client,
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as reader,
        stream.dead_letters() as dead,
    ):
        stream.send([asked(4, "bank")])
        reader.until(3)
        client.execute_command("ACL", "SETUSER", "app", "resetkeys", *rights_to("default"))
        stream.send([asked(5, "bank"), asked(6, "default")])
        assert_one_decision_each(reader.values(4), ["q1", "q3", "q4", "q6"])
        assert reasons(dead.until(2))[1][0] == b"q5"


def test_the_store_tells_a_denied_key_from_a_denied_command(redis_factory: Callable[..., RedisServer]) -> None:
    server = redis_factory()
    with server.client() as client:
        client.acl_setuser("app", enabled=True, passwords=["+right"], keys=["questream:*"], commands=["+@all", "-hset"])
    store = open_store(RedisSettings(url=f"redis://app:right@127.0.0.1:{server.port}/0"))  # type: ignore[arg-type]
    with pytest.raises(Exception, match="HSET") as caught:
        store.require_rights(Settings().clusters.namespace)
    assert not isinstance(caught.value, NamespaceRefused)
