"""kafka-python's configuration: what questream fixes, what its settings say, and what `kafka.options` adds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, overload

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from questream.broker.options import FIXED
from questream.errors import SettingsError
from questream.settings import Settings

CLIENTS = (KafkaConsumer, KafkaProducer, KafkaAdminClient)

# A record of any size the broker takes must get through: a dead letter is as long as what was sent to the input topic.
_MAX_REQUEST_BYTES = 2**31 - 1
_BATCH_BYTES = 262_144
_LINGER_MS = 5
_PARTITION_FETCH_BYTES = 1_048_576
_REQUEST_TIMEOUT_MS = 30_000
_HELD_DELIVERY_MS = 24 * 3_600_000
# kafka-python would wait up to 30 s before it looks again for a broker that was away, and the questions with it;
# Kafka's own clients wait 1 s.
_RECONNECT_MS = 1_000

_FIXED = {
    **FIXED,
    "max_block_ms": "it follows kafka.call_deadline_seconds",
    "default_offset_commit_callback": "offsets move with the decisions",
    "consumer_timeout_ms": "it would end the consumer",
    "key_serializer": "records are bytes",
    "value_serializer": "records are bytes",
    "key_deserializer": "records are bytes",
    "value_deserializer": "records are bytes",
    "selector": "it has to be a Python object",
    "kafka_client": "it has to be a Python object",
    "metric_reporters": "it has to be a Python object",
}
_TRUTHS = {"true": True, "false": False}
_TOKEN_PROVIDER = "sasl_oauth_token_provider"  # noqa: S105 - the name of an option


def consumer_config(settings: Settings, client_id: str) -> dict[str, Any]:
    """Arguments of a KafkaConsumer in the workers' group, which commits by hand and reads committed records only.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    kafka = settings.kafka
    session_timeout_ms = ms(kafka.session_timeout_seconds)
    # Records fetched ahead have the bound of those that wait; a single record or compressed batch may exceed it.
    fetched = {
        "fetch_max_bytes": settings.batch_bytes,
        "max_partition_fetch_bytes": min(_PARTITION_FETCH_BYTES, settings.batch_bytes),
    }
    own = fetched | _options_for(KafkaConsumer, kafka.options)
    return own | _connection(settings, client_id) | {
        "group_id": kafka.group_id,
        # Where a group begins is the worker's to find out: "latest" would skip what retention has left, and all that a
        # partition got before it was seen.
        "auto_offset_reset": "earliest",
        "session_timeout_ms": session_timeout_ms,
        # Three heartbeats may be lost before the group gives a worker up.
        "heartbeat_interval_ms": min(3000, session_timeout_ms // 3),
        "max_poll_interval_ms": ms(kafka.max_poll_interval_seconds),
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
    }  # fmt: skip


def reader_config(settings: Settings, client_id: str) -> dict[str, Any]:
    """Arguments of a KafkaConsumer that reads a topic on its own, without a group.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    return consumer_config(settings, client_id) | {"group_id": None}


def consumer_limits(settings: Settings) -> dict[str, Any]:
    """Arguments that a RecordConsumer has on top of those: what it may take of memory."""
    return {"max_poll_bytes": settings.batch_bytes, "max_unpacked_bytes": settings.kafka.max_unpacked_bytes}


def producer_config(settings: Settings, client_id: str, transactional_id: str | None = None) -> dict[str, Any]:
    """Arguments of an idempotent KafkaProducer that waits for all replicas; transactional with a `transactional_id`.

    A record that cannot be delivered fails before `call_deadline_seconds` have passed.
    Raises SettingsError if `kafka.options` cannot be used.
    """
    kafka = settings.kafka
    # Before the deadline, so that the send fails and says why instead of the call being given up.
    give_up_ms = ms(kafka.call_deadline_seconds) * 2 // 3
    config: dict[str, Any] = {
        "linger_ms": _LINGER_MS,
        "batch_size": _BATCH_BYTES,
        "max_request_size": _MAX_REQUEST_BYTES,
    }
    config |= _options_for(KafkaProducer, kafka.options)
    config |= _connection(settings, client_id)
    config |= {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if kafka.compression == "none" else kafka.compression,
        "delivery_timeout_ms": give_up_ms,
        "max_block_ms": give_up_ms,
    }
    # kafka-python refuses to wait for one answer longer than for the whole delivery.
    config.setdefault("request_timeout_ms", min(_REQUEST_TIMEOUT_MS, give_up_ms - config["linger_ms"]))
    if transactional_id is not None:
        config |= {
            "transactional_id": transactional_id,
            "transaction_timeout_ms": ms(kafka.transaction_timeout_seconds),
        }
    return config


def publisher_config(settings: Settings, client_id: str, transactional_id: str | None = None) -> dict[str, Any]:
    """Arguments of the KafkaProducer of a Publisher, which bounds its calls itself: a quota of the broker may hold
    records back for longer than a delivery takes otherwise.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    return producer_config(settings, client_id, transactional_id) | {"delivery_timeout_ms": _HELD_DELIVERY_MS}


def admin_config(settings: Settings, client_id: str) -> dict[str, Any]:
    """Arguments of a KafkaAdminClient.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    return _options_for(KafkaAdminClient, settings.kafka.options) | _connection(settings, client_id)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise SettingsError unless each option is one of kafka-python's that questream leaves to the user."""
    known = {name for client in CLIENTS for name in client.DEFAULT_CONFIG}
    for name, value in options.items():
        if name in _FIXED:
            raise SettingsError(f"kafka.options.{name} is not yours to set: {_FIXED[name]}")
        if name not in known:
            raise SettingsError(f"kafka.options.{name} is not an option of kafka-python")
        _convert(name, value)


def _connection(settings: Settings, client_id: str) -> dict[str, Any]:
    kafka = settings.kafka
    config: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in kafka.bootstrap_servers.split(",")],
        "client_id": client_id,
    }
    if kafka.sasl_plain_password is not None:
        config["sasl_plain_password"] = kafka.sasl_plain_password.get_secret_value()
    if kafka.ssl_password is not None:
        config["ssl_password"] = kafka.ssl_password.get_secret_value()
    return config


def _options_for(client: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that this kind of client knows, with the types it wants, on top of a default of our own."""
    check_options(options)
    return {"reconnect_backoff_max_ms": _RECONNECT_MS} | {
        name: _make_token_provider(value) if name == _TOKEN_PROVIDER else _convert(name, value)
        for name, value in options.items()
        if name in client.DEFAULT_CONFIG
    }


def _convert(name: str, value: Any) -> Any:
    """The value in the type of kafka-python's default: environment and flags give texts alone."""
    default = next(client.DEFAULT_CONFIG[name] for client in CLIENTS if name in client.DEFAULT_CONFIG)
    try:
        if name == "api_version":
            return tuple(int(part) for part in (value.split(".") if isinstance(value, str) else value))
        if name == "socket_options":
            return [tuple(int(part) for part in option) for option in value]
        if name.endswith("_buffer_bytes") or type(default) is int:
            return _whole_number(value)
        if isinstance(default, bool):
            return _truth(value)
    except (TypeError, ValueError, KeyError, AttributeError):
        kind = "true or false" if isinstance(default, bool) else "a whole number"
        wanted = {"api_version": "a version such as 3.9", "socket_options": "a list of lists of three numbers"}
        raise SettingsError(f"kafka.options.{name} must be {wanted.get(name, kind)}") from None
    return value


def _whole_number(value: Any) -> int:
    if isinstance(value, bool | float):
        raise ValueError
    return int(value)


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else _TRUTHS[value.lower()]


def _make_token_provider(value: Any) -> Any:
    """A token provider, from itself or from `module:name` of what makes one when it is called."""
    if not isinstance(value, str):
        return value
    module, _, name = value.partition(":")
    try:
        return getattr(importlib.import_module(module), name)()
    except Exception as error:
        # Its message is not ours to show: it may quote what it authenticates with.
        raise SettingsError(
            f"kafka.options.{_TOKEN_PROVIDER} is {value!r}: importing and calling that failed with"
            f" {type(error).__name__}",
            "give module:name of a callable without arguments that makes a token provider",
        ) from error


@overload
def ms(seconds: float) -> int: ...
@overload
def ms(seconds: float | None) -> int | None: ...
def ms(seconds: float | None) -> int | None:
    """The time in kafka-python's unit; None stays None, the client's own."""
    return None if seconds is None else int(seconds * 1000)
