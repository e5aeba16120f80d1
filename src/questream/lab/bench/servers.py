"""The servers of a measurement: given ones or its own, with topics and a namespace that it removes."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from questream.broker.connect import open_admin
from questream.broker.topics import create_missing, wanted_topics
from questream.embedded import LOOPBACK, embedded_broker, embedded_store, for_embedded_broker, for_embedded_store
from questream.errors import KafkaRefused, KafkaUnavailable, QuestreamError, StoreRefused, StoreUnavailable
from questream.settings import InputSettings, KafkaSettings, MetricsSettings, RedisSettings, Settings
from questream.store.redis.client import connect_redis
from questream.store.redis.failures import translated
from questream.store.redis.keys import Keys
from questream.store.redis.store import open_store

logger = logging.getLogger(__name__)

# 100,000 clusters of 768 dimensions take 0.5 GB.
_STORE_BYTES = 4 * 1024**3
_DEFAULT_REPLICATION = -1
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Servers:
    """Settings that lead to a broker and a store, and what these are in words."""

    settings: Settings
    broker: str
    store: str


@contextmanager
def bench_servers(settings: Settings) -> Iterator[Servers]:
    """The servers that `kafka.bootstrap_servers` and `redis.url` name, embedded ones where they are not set.

    Raises KafkaUnavailable, KafkaRefused, StoreUnavailable or StoreRefused where one does not answer.
    """
    with _store(settings) as (redis_settings, store), _broker(settings) as (kafka_settings, broker):
        yield Servers(settings.model_copy(update={"kafka": kafka_settings, "redis": redis_settings}), broker, store)


@contextmanager
def bench_store(settings: Settings) -> Iterator[Settings]:
    """Settings that lead to the store that they name, to an embedded one where they name none.

    Raises StoreUnavailable or StoreRefused where it does not answer.
    """
    with _store(settings) as (redis_settings, _):
        yield settings.model_copy(update={"redis": redis_settings})


@contextmanager
def _store(settings: Settings) -> Iterator[tuple[RedisSettings, str]]:
    if {"url", "url_file", "sentinels"} & settings.redis.model_fields_set:
        yield settings.redis, _describe_store(settings.redis)
        return
    with embedded_store(_STORE_BYTES) as url:
        own = for_embedded_store(settings.redis, url)
        yield own, f"embedded: {_describe_store(own)}, in memory"


@contextmanager
def _broker(settings: Settings) -> Iterator[tuple[KafkaSettings, str]]:
    if "bootstrap_servers" in settings.kafka.model_fields_set:
        with open_admin(settings) as admin:
            brokers = str(admin.brokers())
        yield settings.kafka, brokers
        return
    with embedded_broker() as bootstrap_servers:
        yield for_embedded_broker(settings.kafka, bootstrap_servers), "embedded: Tansu, in memory"


@contextmanager
def own_stream(
    settings: Settings, partitions: int, topic_configs: Mapping[str, str] | None = None
) -> Iterator[Settings]:
    """Settings with topics, a group and a namespace of its own, all gone again at the end.

    `topic_configs` are added to what each topic is created with.
    """
    name = f"questream-bench-{uuid.uuid4().hex[:10]}"
    kafka = settings.kafka.model_copy(
        update={
            "group_id": name,
            "input_topic": f"{name}-questions",
            "output_topic": f"{name}-decisions",
            "cluster_topic": f"{name}-clusters",
            "dead_letter_topic": f"{name}-dead-letters",
            "event_topic": f"{name}-events",
            "operation_topic": f"{name}-operations",
            "correction_topic": f"{name}-corrections",
            # Records from before the worker joined are read too.
            "auto_offset_reset": "earliest",
            "worker_id": None,
        }
    )
    own = settings.model_copy(
        update={
            "kafka": kafka,
            "clusters": settings.clusters.model_copy(update={"namespace": name}),
            "input": InputSettings(),
            "metrics": MetricsSettings(host=LOOPBACK, port=0),
        }
    )
    with open_admin(own) as admin:
        wanted = [
            replace(topic, configs={**topic.configs, **(topic_configs or {})})
            for topic in wanted_topics(own, partitions, _DEFAULT_REPLICATION, None)
        ]
        for report in create_missing(admin, wanted):
            if report.outcome == "failed":
                raise QuestreamError(f"topic {report.name} cannot be created: {' '.join(map(str, report.problems))}")
    try:
        yield own
    finally:
        _delete_topics(own)
        drop_namespace(own.redis, name)


@contextmanager
def own_namespace(settings: Settings) -> Iterator[str]:
    """The name of a namespace of its own, gone again at the end."""
    name = f"questream-bench-{uuid.uuid4().hex[:10]}"
    try:
        yield name
    finally:
        drop_namespace(settings.redis, name)


def drop_namespace(settings: RedisSettings, namespace: str) -> None:
    """Remove all keys of a namespace from Redis; what cannot be removed is logged."""
    try:
        with translated(), contextlib.closing(connect_redis(settings)) as client:
            _drop_keys(client, Keys(settings.prefix), namespace)
    except (StoreUnavailable, StoreRefused) as error:
        logger.warning("namespace not removed", extra={"namespace": namespace, "reason": type(error).__name__})


def _drop_keys(client: Any, names: Keys, namespace: str) -> None:
    keys: list[bytes] = []
    for key in client.scan_iter(match=names.named(namespace, "*"), count=_DELETED_AT_ONCE):
        keys.append(key)
        if len(keys) == _DELETED_AT_ONCE:
            client.unlink(*keys)
            keys.clear()
    if keys:
        client.unlink(*keys)
    client.srem(names.namespaces, namespace)


def _delete_topics(settings: Settings) -> None:
    kafka = settings.kafka
    topics = [kafka.input_topic, kafka.output_topic, kafka.cluster_topic, kafka.dead_letter_topic, kafka.event_topic]
    topics += [kafka.operation_topic, kafka.correction_topic]
    try:
        with open_admin(settings) as admin:
            admin.delete_topics(topics)
            # The broker forgets an empty group by itself after a week; embedded it cannot delete one at all.
            with contextlib.suppress(KafkaUnavailable, KafkaRefused):
                admin.delete_group(kafka.group_id)
    except QuestreamError as error:
        logger.warning("topics not deleted", extra={"topics": topics, "reason": str(error)})


def _describe_store(settings: RedisSettings) -> str:
    # Its errors are questream's own, which say what to do.
    open_store(settings).ping()
    with contextlib.closing(connect_redis(settings)) as client:
        info = client.info("server")
    # A cluster answers for each of its nodes.
    info = info if "redis_version" in info else next(iter(info.values()))
    product = "Valkey" if "valkey_version" in info else "Redis"
    return f"{product} {info.get('valkey_version') or info['redis_version']}"
