"""The adapter's entry: clients that are connected within seconds, with the cause where they are not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from questream.broker import refusals
from questream.broker.confluent.admin import AdminAdapter
from questream.broker.confluent.clients import (
    CONNECT_MS,
    CONNECT_SECONDS,
    NO_GROUP,
    Config,
    admin_config,
    consumer_config,
    give_up_ms,
    ms,
    producer_config,
    publisher_config,
)
from questream.broker.confluent.clients import check_options as check_options
from questream.broker.confluent.consumer import ConsumerAdapter
from questream.broker.confluent.failures import LOGIN_ERRORS, describe_error, error_of, refusal_of, translated
from questream.broker.confluent.producer import ProducerAdapter, Throttle
from questream.broker.port import Isolation
from questream.errors import KafkaRefused, QuestreamError, SettingsError
from questream.settings import Settings

Client = TypeVar("Client", Consumer, Producer, AdminClient)

_CLIENT_ID = "questream-command"
_CLOSE_SECONDS = 5.0
_FETCH_WAIT_SECONDS = 0.1
_LOOK_SECONDS = 0.1
_REPLY_SECONDS = 1.0
_HINTS = ("Disconnected", "disconnected")
_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.crl.location", "private key")

logger = logging.getLogger("confluent_kafka")


class _ConnectionErrors:
    """The last errors of a client's connections."""

    def __init__(self) -> None:
        self._refused: KafkaError | None = None
        self._last: KafkaError | None = None

    def take(self, error: KafkaError) -> None:
        """Take an `error_cb` of librdkafka."""
        if error.code() in LOGIN_ERRORS:
            self._refused = error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN or self._last is None:
            # That all are down says less than why one is.
            self._last = error

    @property
    def cause(self) -> KafkaError | None:
        """The error that says most about a connection that cannot be made."""
        return self._refused or self._last

    @property
    def is_refused(self) -> bool:
        """True if a broker refused the login."""
        return self._refused is not None

    def refusal(self) -> KafkaRefused | None:
        """A refused login, as questream's error."""
        return None if self._refused is None else refusal_of(self._refused, "DESCRIBE")


class _NoWarnings(logging.Filter):
    """Leaves out that an option is for the other kind of client: `kafka.options` go to both."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "CONFWARN" not in record.getMessage()


logger.addFilter(_NoWarnings())


def make_consumer(settings: Settings, client_id: str) -> ConsumerAdapter:
    """As `questream.broker.port.Adapter` has it."""
    return _consumer(settings, consumer_config(settings, client_id), settings.kafka.group_id)


@translated("WRITE")
def make_producer(
    settings: Settings, client_id: str, transactional_id: str | None = None, transaction_seconds: float = 0.0
) -> ProducerAdapter:
    """As `questream.broker.port.Adapter` has it."""
    config = publisher_config(settings, client_id, transactional_id)
    if transactional_id is not None:
        config["transaction.timeout.ms"] = max(config["transaction.timeout.ms"], ms(transaction_seconds))
    return _producer(settings, config, give_up_ms(settings) / 1000)


@contextmanager
def open_reader(
    settings: Settings,
    group_id: str | None = None,
    isolation: Isolation = "read_committed",
    fetch_wait: float | None = None,
) -> Iterator[ConsumerAdapter]:
    """As `questream.broker.port.Adapter` has it."""
    config = consumer_config(settings, _CLIENT_ID)
    config |= {"group.id": group_id or NO_GROUP, "isolation.level": isolation}
    # The requests of a reader wait behind its fetches.
    config["fetch.wait.max.ms"] = ms(_FETCH_WAIT_SECONDS if fetch_wait is None else fetch_wait)
    consumer = _consumer(settings, config, group_id)
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
    give_up_seconds = CONNECT_SECONDS if patience is None else patience
    if linger is not None:
        config["linger.ms"] = ms(linger)
    if patience is not None and transactional_id is None:
        config["message.timeout.ms"] = ms(patience)
    return closing(_producer(settings, config, max(give_up_seconds, give_up_ms(settings) / 1000)))


def open_admin(settings: Settings) -> AbstractContextManager[AdminAdapter]:
    """As `questream.broker.port.Adapter` has it."""

    def ask(client: AdminClient) -> object:
        return client.describe_cluster(request_timeout=_REPLY_SECONDS).result()

    return closing(AdminAdapter(_connected(AdminClient, admin_config(settings, _CLIENT_ID), _ConnectionErrors(), ask)))


def _consumer(settings: Settings, config: Config, group_id: str | None) -> ConsumerAdapter:
    errors = _ConnectionErrors()

    def ask_topic_id(topic: str) -> str:
        with open_admin(settings) as admin:
            return admin.topic_id(topic)

    # Where nothing is asked of it, librdkafka takes a second to connect. Unlike a producer's, this asks for no topic.
    def ask(client: Consumer) -> object:
        return client.list_topics(settings.kafka.input_topic, _REPLY_SECONDS)

    return ConsumerAdapter(_connected(Consumer, config, errors, ask), group_id, ask_topic_id, errors.refusal)


def _producer(settings: Settings, config: Config, give_up_seconds: float) -> ProducerAdapter:
    throttle = Throttle()
    client = _connected(Producer, config | {"throttle_cb": throttle.take}, _ConnectionErrors())
    of_group = {name: value for name, value in admin_config(settings, _CLIENT_ID).items() if name != CONNECT_MS}
    return ProducerAdapter(client, throttle, give_up_seconds, of_group)


def _ask_cluster_id(client: Any) -> object:
    return client.cluster_id(_LOOK_SECONDS)


def _connected(
    kind: Callable[[Any], Client],
    config: Config,
    errors: _ConnectionErrors,
    ask: Callable[[Client], object] = _ask_cluster_id,
) -> Client:
    """A client, once a broker has answered it. Raises KafkaUnavailable or KafkaRefused with the cause."""
    given = {name: value for name, value in config.items() if name != CONNECT_MS}
    seconds = int(config[CONNECT_MS]) / 1000
    try:
        client = kind(given | {"error_cb": errors.take, "logger": logger})
    except KafkaException as error:
        raise _unmade(error_of(error)) from error
    except (ValueError, TypeError, RuntimeError) as error:
        raise KafkaRefused("a client for Kafka cannot be made", "check kafka.options") from error
    deadline = time.monotonic() + seconds
    while not _has_answer(client, ask):
        client.poll(0)
        if errors.is_refused or time.monotonic() > deadline:
            raise _explained(errors.cause, given, seconds)
    return client


def _has_answer(client: Client, ask: Callable[[Client], object]) -> bool:
    try:
        return bool(ask(client))
    except KafkaException:
        return False


def _unmade(error: KafkaError) -> QuestreamError:
    said = error.str()
    if any(name in said for name in _FILES):
        return refusals.unusable_certificate()
    if "sasl.username and sasl.password" in said:
        return SettingsError(
            "kafka.options.sasl_mechanism needs a login",
            "set kafka.options.sasl_plain_username and kafka.sasl_plain_password",
        )
    return KafkaRefused(f"a client for Kafka cannot be made ({describe_error(error)})", "check kafka.options")


def _explained(cause: KafkaError | None, config: Config, seconds: float) -> QuestreamError:
    servers = config["bootstrap.servers"]
    refusal = None if cause is None else refusal_of(cause, "DESCRIBE")
    if refusal is not None:
        return refusal
    said = "" if cause is None else cause.str()
    if any(hint in said for hint in _HINTS):
        return refusals.hung_up(servers, has_login="sasl.mechanism" in config)
    # Of its connections librdkafka's texts name hosts alone.
    why = "silence"
    if cause is not None:
        why = said if cause.code() == KafkaError._TRANSPORT else describe_error(cause)
    return refusals.no_answer(servers, seconds, why)
