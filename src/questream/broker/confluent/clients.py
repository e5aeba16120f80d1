"""librdkafka's configuration: what questream fixes, what its settings say, and what `kafka.options` adds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException

from questream.broker.options import FIXED
from questream.errors import SettingsError
from questream.settings import Settings

logger = logging.getLogger("confluent_kafka")

Config = dict[str, Any]

CONNECT_SECONDS = 5.0

# Nobody is in this group: librdkafka makes no consumer without one.
NO_GROUP = "questream-reader"

# The longest that librdkafka takes: a dead letter is as long as what was sent to the input topic.
_MAX_MESSAGE_BYTES = 1_000_000_000
_MAX_RESPONSE_BYTES = 2**31 - 1
_FETCHED_MESSAGE_BYTES = 1_000_000
_LEAST_FETCH_BYTES = 1_000
_BATCH_BYTES = 262_144
_LINGER_MS = 5
# A broker refuses the first request of a transaction until it has written the markers of the one before, milliseconds
# later: with the client's own 100 ms, batch after batch would wait for most of that. Each pause is twice the last.
_TRANSACTION_BACKOFF_MS = 2
_PARTITION_FETCH_BYTES = 1_048_576
_HELD_DELIVERY_MS = 24 * 3_600_000
# librdkafka would look again for a broker that was away after up to 10 s; Kafka's own clients wait 1 s.
_RECONNECT_MS = 1_000
# For so long a full queue of fetched records keeps librdkafka from fetching on; its own 1,000 ms would starve a worker.
_QUEUE_BACKOFF_MS = 20

# Names of kafka-python that librdkafka has in other words, so that `kafka.options` holds for both clients.
_ALSO_CALLED = {
    "sasl.plain.username": "sasl.username",
    "ssl.cafile": "ssl.ca.location",
    "ssl.certfile": "ssl.certificate.location",
    "ssl.keyfile": "ssl.key.location",
    "ssl.crlfile": "ssl.crl.location",
    "ssl.ciphers": "ssl.cipher.suites",
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "sasl.kerberos.name": "sasl.kerberos.principal",
}
_CHECK_HOSTNAME = "ssl.check.hostname"
# Of kafka-python too, and this adapter's own: for how long a broker is looked for.
CONNECT_MS = "bootstrap.timeout.ms"
_FIXED = {
    **{name.replace("_", "."): why for name, why in FIXED.items()},
    "metadata.broker.list": "set kafka.bootstrap_servers",
    "message.timeout.ms": "it follows kafka.call_deadline_seconds",
    "compression.codec": "set kafka.compression",
    "sasl.password": "set kafka.sasl_plain_password or kafka.sasl_plain_password_file",
    "ssl.key.password": "set kafka.ssl_password or kafka.ssl_password_file",
    "sasl.oauthbearer.client.secret": "set kafka.sasl_plain_password or kafka.sasl_plain_password_file",
    "ssl.key.pem": "set ssl_keyfile: a setting is shown, a file is not",
    "ssl.keystore.location": "set ssl_certfile and ssl_keyfile, and kafka.ssl_password",
    "ssl.keystore.password": "set ssl_certfile and ssl_keyfile, and kafka.ssl_password",
    "enable.auto.offset.store": "offsets move with the decisions",
    "request.required.acks": "nothing counts as published before all replicas have it",
    "message.send.max.retries": "a record is sent until kafka.call_deadline_seconds has passed",
    "group.protocol": "questream's handling of rebalances is made for the classic protocol",
    "enable.partition.eof": "positions pass what holds no record by it",
    "allow.auto.create.topics": "questream creates no topic unasked",
    "sasl.oauth.token.provider": "set librdkafka's sasl_oauthbearer_ options, or kafka.client = kafka-python",
    "api.version": "this client finds it out; set kafka.client = kafka-python to fix it",
    "plugin.library.paths": "questream loads no library that an option names",
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise SettingsError unless each option is one of librdkafka's that questream leaves to the user."""
    for name, value in options.items():
        dotted = _dotted(name)
        if dotted in _FIXED:
            raise SettingsError(f"kafka.options.{name} is not yours to set: {_FIXED[dotted]}")
        if dotted.endswith("_cb") or dotted.endswith(".cb") or not isinstance(value, str | int | float):
            raise SettingsError(f"kafka.options.{name} must be a text, a number, true or false")
        if dotted != CONNECT_MS:
            _check(name, _option(name, value))
        elif not str(value).isdigit():
            raise SettingsError(f"kafka.options.{name} must be a whole number")


def consumer_config(settings: Settings, client_id: str) -> Config:
    """The configuration of a consumer in the workers' group, which commits by hand and reads committed records only.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    kafka = settings.kafka
    max_poll_ms = ms(kafka.max_poll_interval_seconds)
    # librdkafka takes no silence that is longer than the time between two polls.
    session_ms = min(ms(kafka.session_timeout_seconds), max_poll_ms)
    fetch_bytes = max(settings.batch_bytes, _LEAST_FETCH_BYTES)
    fetched = {
        "fetch.max.bytes": fetch_bytes,
        "max.partition.fetch.bytes": min(_PARTITION_FETCH_BYTES, fetch_bytes),
        "message.max.bytes": min(_FETCHED_MESSAGE_BYTES, fetch_bytes),
        # Records fetched ahead have the bound of those that wait; a single record or compressed batch may exceed it.
        "queued.max.messages.kbytes": max(1, fetch_bytes // 1024),
        "receive.message.max.bytes": _MAX_RESPONSE_BYTES,
        "fetch.queue.backoff.ms": _QUEUE_BACKOFF_MS,
        "check.crcs": True,
    }
    return _texts(
        fetched
        | _connection(settings, client_id)
        | _options(kafka.options)
        | {
            "group.id": kafka.group_id,
            # The adapter notes a position that the log does not have, and begins at the beginning then.
            "auto.offset.reset": "error",
            "session.timeout.ms": session_ms,
            # Three heartbeats may be lost before the group gives a worker up.
            "heartbeat.interval.ms": min(3000, session_ms // 3),
            "max.poll.interval.ms": max_poll_ms,
            # kafka-python's, so that workers of both clients share a group.
            "partition.assignment.strategy": "range,roundrobin",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
        }
    )


def producer_config(settings: Settings, client_id: str, transactional_id: str | None = None) -> Config:
    """The configuration of an idempotent producer that waits for all replicas; transactional with a `transactional_id`.

    A record that cannot be delivered fails before `call_deadline_seconds` have passed.
    Raises SettingsError if `kafka.options` cannot be used.
    """
    kafka = settings.kafka
    config: Config = {
        "linger.ms": _LINGER_MS,
        "batch.size": _BATCH_BYTES,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
    }
    if transactional_id is not None:
        config["retry.backoff.ms"] = _TRANSACTION_BACKOFF_MS
    config |= _connection(settings, client_id) | _options(kafka.options)
    config |= {
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": kafka.compression,
        "partitioner": "murmur2_random",
        "allow.auto.create.topics": False,
    }
    if transactional_id is None:
        # Before the deadline, so that the send fails and says why instead of the call being given up.
        config["message.timeout.ms"] = give_up_ms(settings)
    else:
        # A transactional record is tried for as long as its transaction lives.
        config |= {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": ms(kafka.transaction_timeout_seconds),
        }
    return _texts(config)


def publisher_config(settings: Settings, client_id: str, transactional_id: str | None = None) -> Config:
    """The configuration of a Publisher's producer, which bounds its calls itself: a quota of the broker may hold
    records back for longer than a delivery takes otherwise.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    config = producer_config(settings, client_id, transactional_id)
    return config if transactional_id is not None else config | {"message.timeout.ms": str(_HELD_DELIVERY_MS)}


def admin_config(settings: Settings, client_id: str) -> Config:
    """The configuration of an AdminClient.

    Raises SettingsError if `kafka.options` cannot be used.
    """
    return _texts(_connection(settings, client_id) | _options(settings.kafka.options))


def give_up_ms(settings: Settings) -> int:
    """For how long a call is tried: two thirds of its deadline."""
    return ms(settings.kafka.call_deadline_seconds) * 2 // 3


def ms(seconds: float) -> int:
    """The time in librdkafka's unit."""
    return int(seconds * 1000)


def _connection(settings: Settings, client_id: str) -> Config:
    kafka = settings.kafka
    config: Config = {
        CONNECT_MS: ms(CONNECT_SECONDS),
        "bootstrap.servers": ",".join(server.strip() for server in kafka.bootstrap_servers.split(",")),
        "client.id": client_id,
    }
    if kafka.sasl_plain_password is not None:
        is_oidc = any(_dotted(name) == "sasl.oauthbearer.client.id" for name in kafka.options)
        name = "sasl.oauthbearer.client.secret" if is_oidc else "sasl.password"
        config[name] = kafka.sasl_plain_password.get_secret_value()
    if kafka.ssl_password is not None:
        config["ssl.key.password"] = kafka.ssl_password.get_secret_value()
    return config


def _options(options: Mapping[str, Any]) -> Config:
    """The options by librdkafka's names, on top of a default of our own."""
    check_options(options)
    return {"reconnect.backoff.max.ms": _RECONNECT_MS} | dict(_option(*option) for option in options.items())


def _option(name: str, value: Any) -> tuple[str, Any]:
    dotted = _dotted(name)
    if dotted == _CHECK_HOSTNAME:
        return "ssl.endpoint.identification.algorithm", "https" if str(value).lower() == "true" else "none"
    return _ALSO_CALLED.get(dotted, dotted), value


def _dotted(name: str) -> str:
    """All of librdkafka's names have dots where a setting's name has underscores."""
    return name.replace("_", ".")


def _check(name: str, option: tuple[str, Any]) -> None:
    """Have librdkafka itself look at an option; its text may quote a value, and is not shown."""
    dotted, value = option
    quiet = {"group.id": NO_GROUP, "log_level": 0, "logger": _SILENT}
    try:
        Consumer(_texts({**quiet, dotted: value})).close()
    except KafkaException as error:
        said = error.args[0].str()
        if said.startswith("No such configuration property"):
            raise SettingsError(f"kafka.options.{name} is not an option of librdkafka") from None
        if "configuration property" in said:
            raise SettingsError(f"kafka.options.{name} has a value that librdkafka does not take") from None
        # It lacks other options beside this one, or a file; a client with all of them says so.
    except (TypeError, ValueError):
        raise SettingsError(f"kafka.options.{name} has a value that librdkafka does not take") from None


def _texts(config: Mapping[str, Any]) -> Config:
    """The values as librdkafka reads them."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in config.items()}


_SILENT = logging.getLogger("confluent_kafka.silent")
_SILENT.disabled = True
