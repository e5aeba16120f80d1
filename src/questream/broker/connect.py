"""Clients for Kafka, made from settings. The only place that chooses an adapter."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import cast

from questream.broker.port import Adapter, Admin, Consumer, Isolation, Producer
from questream.errors import MissingExtra
from questream.settings import KafkaSettings, Settings

_ADAPTERS = {
    "kafka-python": "questream.broker.kafka_python.connect",
    "confluent": "questream.broker.confluent.connect",
}


def adapter_of(kafka: KafkaSettings) -> Adapter:
    """The adapter of `kafka.client`; nothing of another client is imported. Raises MissingExtra."""
    try:
        return cast("Adapter", importlib.import_module(_ADAPTERS[kafka.client]))
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise MissingExtra("kafka.client = confluent", "confluent-kafka", "confluent") from error


def check_options(kafka: KafkaSettings) -> None:
    """Raise SettingsError unless the client of these settings has all of their options."""
    adapter_of(kafka).check_options(kafka.options)


def make_consumer(settings: Settings, client_id: str) -> Consumer:
    """As `Adapter.make_consumer`, by the client of the settings."""
    return adapter_of(settings.kafka).make_consumer(settings, client_id)


def make_producer(
    settings: Settings, client_id: str, transactional_id: str | None = None, transaction_seconds: float = 0.0
) -> Producer:
    """As `Adapter.make_producer`, by the client of the settings."""
    return adapter_of(settings.kafka).make_producer(settings, client_id, transactional_id, transaction_seconds)


def open_reader(
    settings: Settings,
    group_id: str | None = None,
    isolation: Isolation = "read_committed",
    fetch_wait: float | None = None,
) -> AbstractContextManager[Consumer]:
    """As `Adapter.open_reader`, by the client of the settings."""
    return adapter_of(settings.kafka).open_reader(settings, group_id, isolation, fetch_wait)


def open_producer(
    settings: Settings,
    transactional_id: str | None = None,
    linger: float | None = None,
    patience: float | None = None,
) -> AbstractContextManager[Producer]:
    """As `Adapter.open_producer`, by the client of the settings."""
    return adapter_of(settings.kafka).open_producer(settings, transactional_id, linger, patience)


def open_admin(settings: Settings) -> AbstractContextManager[Admin]:
    """As `Adapter.open_admin`, by the client of the settings."""
    return adapter_of(settings.kafka).open_admin(settings)
