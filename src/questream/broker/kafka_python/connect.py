"""Clients for commands and checks: connected within seconds, closed after use, with the cause of what fails."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka import errors as kafka_errors
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

from questream.broker.kafka_python.clients import admin_config, consumer_limits, producer_config, reader_config
from questream.broker.kafka_python.consumer import RecordConsumer
from questream.broker.kafka_python.failures import CHECK_LOGIN, LOGIN_ERRORS, in_words, refusal_of
from questream.broker.kafka_python.rights import Operation
from questream.errors import KafkaHungUp, KafkaRefused, KafkaUnavailable, QuestreamError, SettingsError
from questream.settings import Settings

CONNECT_SECONDS = 5.0

_CLIENT_ID = "questream-command"
_CLOSE_SECONDS = 5.0


def _data_first(receive: Callable[[Any], tuple[bytes, Any]]) -> Callable[[Any], tuple[bytes, Any]]:
    def received(transport: Any) -> tuple[bytes, Any]:
        data, error = receive(transport)
        return data, None if data else error

    return received


# kafka-python 3.0.12 drops what arrives together with the end of a connection: a broker says why it refuses a login,
# and closes. The next read sees the end again.
for _transport in (KafkaTCPTransport, KafkaSSLTransport):
    _transport._sock_recv = _data_first(_transport._sock_recv)


def connect(client: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    """A client, once it is connected; kafka-python itself tells a refused login and a dead host alike as a timeout.

    Raises KafkaUnavailable or KafkaRefused with the cause.
    """
    timeout_ms = config.get("bootstrap_timeout_ms", int(CONNECT_SECONDS * 1000))
    with _Witness() as witness:
        try:
            return client(**{**config, "bootstrap_timeout_ms": timeout_ms})
        except kafka_errors.KafkaError as error:
            raise _explain(witness.cause or error, config, timeout_ms) from error
        except (ValueError, RuntimeError, OSError) as error:
            # A missing file of a certificate, a missing package of a compression or login.
            raise KafkaRefused(f"a client for Kafka cannot be made: {error}", "check kafka.options") from error


@contextmanager
def open_admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """A connected admin client; what fails inside is raised as KafkaUnavailable or KafkaRefused."""
    admin = connect(KafkaAdminClient, admin_config(settings, _CLIENT_ID))
    try:
        with translated("DESCRIBE"):
            yield admin
    finally:
        admin.close()


@contextmanager
def open_reader(settings: Settings, **overrides: Any) -> Iterator[RecordConsumer]:
    """A connected consumer without a group that creates no topic; errors as with `open_admin`.

    `overrides` are arguments of KafkaConsumer.
    """
    config = reader_config(settings, _CLIENT_ID) | consumer_limits(settings) | {"allow_auto_create_topics": False}
    consumer = connect(RecordConsumer, config | overrides)
    try:
        with translated():
            yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=int(_CLOSE_SECONDS * 1000))


@contextmanager
def open_producer(settings: Settings, transactional_id: str | None = None, **overrides: Any) -> Iterator[KafkaProducer]:
    """A connected idempotent producer that creates no topic; errors as with `open_admin`.

    `overrides` are arguments of KafkaProducer. What was not flushed or committed before the end is given up.
    """
    own = {"allow_auto_create_topics": False, "max_block_ms": int(CONNECT_SECONDS * 1000)}
    config = producer_config(settings, _CLIENT_ID, transactional_id) | own | overrides
    producer = connect(KafkaProducer, config)
    try:
        with translated("WRITE"):
            yield producer
    finally:
        # It complains of what it could not send, which hides the error that came before.
        with suppress(kafka_errors.KafkaError):
            producer.close(timeout=0)


def require_topic(producer: KafkaProducer, topic: str) -> None:
    """Raise KafkaUnavailable unless the topic exists."""
    try:
        producer.partitions_for(topic)
    except kafka_errors.KafkaTimeoutError:
        raise KafkaUnavailable(f"topic {topic} does not exist", "create it with: questream topics create") from None


@contextmanager
def translated(on_topics: Operation = "READ") -> Iterator[None]:
    """Turn kafka-python's errors into ours. Its texts are dropped where they may quote what was sent.

    `on_topics` is what is done inside with topics: the right that a denial is about.
    """
    try:
        yield
    except kafka_errors.UnknownTopicOrPartitionError as error:
        raise KafkaUnavailable("a topic does not exist", "create it with: questream topics create") from error
    except kafka_errors.KafkaError as error:
        refusal = refusal_of(error, on_topics)
        if refusal is not None:
            raise refusal from error
        raise KafkaUnavailable(f"the broker failed a call: {in_words(error)}") from error


def _explain(cause: BaseException, config: Mapping[str, Any], timeout_ms: int) -> QuestreamError:
    # These texts of kafka-python tell of sockets; they hold no data and no login.
    told = str(cause) if isinstance(cause, kafka_errors.KafkaConnectionError) else in_words(cause)
    told = told.removeprefix("KafkaConnectionError: ")
    servers = ", ".join(config["bootstrap_servers"])
    if isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError):
        return SettingsError(f"a file that kafka.options.ssl_* name cannot be read: {cause.strerror}")
    if isinstance(cause, ssl.SSLError):
        # Before a connection is there, so of our own files.
        return SettingsError(
            "the key or certificate that kafka.options.ssl_keyfile, ssl_certfile and ssl_cafile name cannot be used "
            f"({cause.reason or type(cause).__name__})",
            "check them and kafka.ssl_password",
        )
    refusal = refusal_of(cause, "DESCRIBE")
    if refusal is not None:
        return refusal
    if "socket disconnected" in told and "sasl_mechanism" in config:
        # A broker may close before its answer to a wrong login can be read.
        return KafkaHungUp(f"the broker at {servers} closed the connection during the login", CHECK_LOGIN)
    if "socket disconnected" in told:
        return KafkaHungUp(
            f"the broker at {servers} closed the connection",
            "if its listener wants TLS or a login, "
            "set kafka.options.security_protocol to SSL, SASL_SSL or SASL_PLAINTEXT",
        )
    return KafkaUnavailable(
        f"no broker answered at {servers} within {timeout_ms / 1000:g} s ({told})",
        "check kafka.bootstrap_servers and kafka.options.security_protocol, and that the broker runs",
    )


class _Witness(logging.Handler):
    """Hears why kafka-python's connections fail: it logs the cause and raises a timeout."""

    cause: BaseException | None = None

    def __enter__(self) -> _Witness:
        logging.getLogger("kafka").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        told = record.args if isinstance(record.args, tuple) else ()
        causes = [part for part in told if isinstance(part, BaseException)]
        # The first failure says more than the timeouts that follow it, a refused login more than any other.
        if causes and (self.cause is None or isinstance(causes[0], LOGIN_ERRORS)):
            self.cause = causes[0]
