"""What librdkafka is configured with."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from pydantic import SecretStr

from questream.broker import connect
from questream.broker.confluent.clients import (
    CONNECT_MS,
    admin_config,
    check_options,
    consumer_config,
    producer_config,
    publisher_config,
)
from questream.errors import MissingExtra, SettingsError
from questream.settings import KafkaSettings, Settings

SECRET = "do-not-tell-anyone"


def kafka_with(**options: Any) -> Settings:
    return Settings(kafka=KafkaSettings(client="confluent", options=options))


def test_security_has_the_names_that_kafka_python_has_and_those_of_librdkafka() -> None:
    by_kafka_python = kafka_with(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username="me",
        ssl_cafile="ca.pem",
        ssl_certfile="client.pem",
        ssl_keyfile="client.key",
        ssl_check_hostname=False,
    )
    by_librdkafka = kafka_with(
        **{
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl_username": "me",
            "ssl_ca_location": "ca.pem",
            "ssl_certificate_location": "client.pem",
            "ssl.key.location": "client.key",
            "ssl_endpoint_identification_algorithm": "none",
        }
    )
    assert admin_config(by_kafka_python, "w") == admin_config(by_librdkafka, "w")
    assert admin_config(by_kafka_python, "w")["sasl.username"] == "me"


def test_passwords_come_from_their_settings() -> None:
    kafka = KafkaSettings(sasl_plain_password=SecretStr(SECRET), ssl_password=SecretStr("other"))
    config = admin_config(Settings(kafka=kafka), "w")
    assert (config["sasl.password"], config["ssl.key.password"]) == (SECRET, "other")


def test_the_secret_of_an_oauth_client_is_the_password() -> None:
    options = {"sasl_mechanism": "OAUTHBEARER", "sasl_oauthbearer_client_id": "questream"}
    kafka = KafkaSettings(sasl_plain_password=SecretStr(SECRET), options=options)
    config = admin_config(Settings(kafka=kafka), "w")
    assert config["sasl.oauthbearer.client.secret"] == SECRET
    assert "sasl.password" not in config


def test_nothing_is_committed_read_or_published_but_as_questream_promises() -> None:
    settings = kafka_with(linger_ms=1)
    reading = consumer_config(settings, "w")
    assert reading["isolation.level"] == "read_committed"
    assert reading["enable.auto.commit"] == reading["enable.auto.offset.store"] == "false"
    assert reading["allow.auto.create.topics"] == "false"
    writing = producer_config(settings, "w", "t")
    assert (writing["acks"], writing["enable.idempotence"], writing["transactional.id"]) == ("all", "true", "t")
    assert writing["linger.ms"] == 1


def test_a_transaction_that_follows_another_is_tried_again_soon_unless_the_user_says_otherwise() -> None:
    settings = Settings(kafka=KafkaSettings(client="confluent"))
    assert producer_config(settings, "w", "t")["retry.backoff.ms"] == 2
    assert producer_config(kafka_with(retry_backoff_ms=50), "w", "t")["retry.backoff.ms"] == 50
    assert "retry.backoff.ms" not in producer_config(settings, "w")


def test_what_is_fetched_ahead_is_bounded_by_the_bytes_of_a_batch() -> None:
    settings = Settings(batch_bytes=2_097_152)
    config = consumer_config(settings, "w")
    assert config["fetch.max.bytes"] == 2_097_152
    assert config["queued.max.messages.kbytes"] == 2048


def test_a_session_is_no_longer_than_the_time_between_two_polls() -> None:
    settings = Settings(kafka=KafkaSettings(session_timeout_seconds=45, max_poll_interval_seconds=10))
    assert consumer_config(settings, "w")["session.timeout.ms"] == 10_000


def test_a_quota_may_hold_back_a_publication_and_not_a_command() -> None:
    settings = Settings(kafka=KafkaSettings(call_deadline_seconds=30))
    assert producer_config(settings, "w")["message.timeout.ms"] == 20_000
    assert int(publisher_config(settings, "w")["message.timeout.ms"]) > 3_600_000


def test_how_long_a_broker_is_looked_for_has_one_name_for_both_clients() -> None:
    assert admin_config(kafka_with(bootstrap_timeout_ms="50"), "w")[CONNECT_MS] == "50"
    with pytest.raises(SettingsError, match=r"kafka\.options\.bootstrap_timeout_ms"):
        check_options({"bootstrap_timeout_ms": "soon"})


@pytest.mark.parametrize(
    "name", ["group_id", "group.id", "acks", "sasl_plain_password", "sasl.password", "transactional_id", "ssl_key_pem"]
)
def test_an_option_that_questream_sets_itself_is_refused_and_says_why(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"kafka\.options\.{name} is not yours to set: \w+") as refused:
        check_options({name: SECRET})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("fetch_min_bytes", SECRET), ("linger_ms", SECRET), ("error_cb", print)])
def test_a_value_that_librdkafka_does_not_take_is_refused_and_not_shown(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"kafka\.options\.{name}") as refused:
        check_options({name: value})
    assert SECRET not in str(refused.value)


def test_an_option_that_librdkafka_does_not_know_is_refused_with_its_client() -> None:
    with pytest.raises(SettingsError, match=r"kafka\.options\.no_such is not an option of librdkafka"):
        connect.check_options(KafkaSettings(client="confluent", options={"no_such": 5}))


def test_a_client_that_is_not_installed_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("questream.broker.confluent")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingExtra, match="EXTRAS=confluent"):
        connect.adapter_of(KafkaSettings(client="confluent"))
    assert importlib.util.find_spec("questream.broker.confluent.connect")
