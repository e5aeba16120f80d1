"""The adapter's entry: clients that are connected within seconds, with the cause where they are not."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka import errors as kafka_errors

from questream.broker import refusals
from questream.broker.kafka_python.admin import AdminAdapter
from questream.broker.kafka_python.clients import (
    admin_config,
    consumer_config,
    consumer_limits,
    ms,
    producer_config,
    publisher_config,
    reader_config,
)
from questream.broker.kafka_python.clients import check_options as check_options
from questream.broker.kafka_python.consumer import ConsumerAdapter, RecordConsumer
from questream.broker.kafka_python.failures import LOGIN_ERRORS, describe_error, refusal_of, translated
from questream.broker.kafka_python.producer import KeySerializer, ProducerAdapter
from questream.broker.port import Isolation
from questream.errors import KafkaRefused, QuestreamError, SettingsError
from questream.settings import Settings

CONNECT_SECONDS = 5.0

_CLIENT_ID = "questream-command"
_CLOSE_SECONDS = 5.0


def connect(client: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    """A client, once it is connected; kafka-python itself reports a refused login and a dead host alike as a timeout.

    Raises KafkaUnavailable or KafkaRefused with the cause.
    """
    timeout_ms = config.get("bootstrap_timeout_ms", int(CONNECT_SECONDS * 1000))
    with _CauseHandler() as witness:
        try:
            return client(**{**config, "bootstrap_timeout_ms": timeout_ms})
        except kafka_errors.KafkaError as error:
            raise _explain(witness.cause or error, config, timeout_ms) from error
        except (ValueError, RuntimeError, OSError) as error:
            # A missing file of a certificate, a missing package of a compression or login.
            raise KafkaRefused(f"a client for Kafka cannot be made: {error}", "check kafka.options") from error


def make_consumer(settings: Settings, client_id: str) -> ConsumerAdapter:
    """As `questream.broker.port.Adapter` has it."""
    return ConsumerAdapter(connect(RecordConsumer, consumer_config(settings, client_id) | consumer_limits(settings)))


@translated("WRITE")
def make_producer(
    settings: Settings, client_id: str, transactional_id: str | None = None, transaction_seconds: float = 0.0
) -> ProducerAdapter:
    """As `questream.broker.port.Adapter` has it."""
    config = publisher_config(settings, client_id, transactional_id)
    if transactional_id is not None:
        config["transaction_timeout_ms"] = max(config["transaction_timeout_ms"], ms(transaction_seconds))
    return ProducerAdapter(KafkaProducer(**config, key_serializer=KeySerializer()))


@contextmanager
def open_reader(
    settings: Settings,
    group_id: str | None = None,
    isolation: Isolation = "read_committed",
    fetch_wait: float | None = None,
) -> Iterator[ConsumerAdapter]:
    """As `questream.broker.port.Adapter` has it."""
    config = reader_config(settings, _CLIENT_ID) | consumer_limits(settings)
    config |= {"group_id": group_id, "isolation_level": isolation}
    if fetch_wait is not None:
        config["fetch_max_wait_ms"] = ms(fetch_wait)
    consumer = ConsumerAdapter(connect(RecordConsumer, config))
    try:
        yield consumer
    finally:
        consumer.close(_CLOSE_SECONDS)


def open_producer(
    settings: Settings,
    transactional_id: str | None = None,
    linger: float | None = None,
    patience: float | None = None,
) -> AbstractContextManager[ProducerAdapter]:
    """As `questream.broker.port.Adapter` has it."""
    config = producer_config(settings, _CLIENT_ID, transactional_id)
    config |= {"max_block_ms": ms(CONNECT_SECONDS), "key_serializer": KeySerializer()}
    if linger is not None:
        config["linger_ms"] = ms(linger)
    if patience is not None:
        config |= {"delivery_timeout_ms": ms(patience), "max_block_ms": ms(patience)}
    return closing(ProducerAdapter(connect(KafkaProducer, config)))


def open_admin(settings: Settings) -> AbstractContextManager[AdminAdapter]:
    """As `questream.broker.port.Adapter` has it."""
    return closing(AdminAdapter(connect(KafkaAdminClient, admin_config(settings, _CLIENT_ID))))


def _explain(cause: BaseException, config: Mapping[str, Any], timeout_ms: int) -> QuestreamError:
    # These texts of kafka-python name sockets; they hold no data and no login.
    said = str(cause) if isinstance(cause, kafka_errors.KafkaConnectionError) else describe_error(cause)
    said = said.removeprefix("KafkaConnectionError: ")
    servers = ", ".join(config["bootstrap_servers"])
    if isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError):
        return SettingsError(f"a file that kafka.options.ssl_* name cannot be read: {cause.strerror}")
    if isinstance(cause, ssl.SSLError):
        # Before a connection is there, so of our own files.
        return refusals.unusable_certificate(str(cause.reason or type(cause).__name__))
    refusal = refusal_of(cause, "DESCRIBE")
    if refusal is not None:
        return refusal
    if "socket disconnected" in said:
        return refusals.hung_up(servers, has_login="sasl_mechanism" in config)
    return refusals.no_answer(servers, timeout_ms / 1000, said)


class _CauseHandler(logging.Handler):
    """Keeps the cause of failed connections, which kafka-python only logs: it raises a timeout."""

    cause: BaseException | None = None

    def __enter__(self) -> _CauseHandler:
        logging.getLogger("kafka").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        said = record.args if isinstance(record.args, tuple) else ()
        causes = [part for part in said if isinstance(part, BaseException)]
        # The first failure says more than the timeouts that follow it, a refused login more than any other.
        if causes and (self.cause is None or isinstance(causes[0], LOGIN_ERRORS)):
            self.cause = causes[0]
