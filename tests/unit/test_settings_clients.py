from __future__ import annotations

from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from pydantic import SecretStr

from questream.broker.kafka_python.clients import (
    admin_config,
    check_options,
    consumer_config,
    producer_config,
    reader_config,
)
from questream.errors import SettingsError
from questream.settings import KafkaSettings, RedisSettings, Settings
from questream.store.redis.client import connect_redis, place_of

SECRET = "hunter2-open-sesame"


class Provider:
    """A token provider that counts for one."""


def kafka_with(**options: Any) -> Settings:
    return Settings(kafka=KafkaSettings(options=options))


def test_every_configuration_has_only_names_that_kafka_python_knows() -> None:
    settings = Settings(
        kafka=KafkaSettings(
            sasl_plain_password=SecretStr(SECRET),
            ssl_password=SecretStr(SECRET),
            options={"security_protocol": "SASL_SSL", "fetch_min_bytes": 2},
        )
    )
    assert set(consumer_config(settings, "w")) <= set(KafkaConsumer.DEFAULT_CONFIG)
    assert set(producer_config(settings, "w", "t")) <= set(KafkaProducer.DEFAULT_CONFIG)
    assert set(admin_config(settings, "w")) <= set(KafkaAdminClient.DEFAULT_CONFIG)


def test_a_consumer_reads_committed_records_and_commits_by_hand() -> None:
    config = consumer_config(Settings(), "w")
    assert config["isolation_level"] == "read_committed"
    assert config["enable_auto_commit"] is False
    assert reader_config(Settings(), "w")["group_id"] is None


def test_a_broker_that_was_away_is_looked_for_every_second_unless_the_user_says_otherwise() -> None:
    for config in (consumer_config, producer_config, admin_config):
        assert config(Settings(), "w")["reconnect_backoff_max_ms"] == 1000
        assert config(kafka_with(reconnect_backoff_max_ms="5000"), "w")["reconnect_backoff_max_ms"] == 5000


def test_a_producer_waits_for_all_replicas_and_sends_nothing_twice() -> None:
    config = producer_config(Settings(), "w")
    assert (config["acks"], config["enable_idempotence"], config["compression_type"]) == ("all", True, "lz4")
    assert "transactional_id" not in config
    assert producer_config(Settings(), "w", "t")["transactional_id"] == "t"


def test_a_send_fails_before_the_call_is_given_up() -> None:
    settings = Settings(kafka=KafkaSettings(call_deadline_seconds=9))
    assert producer_config(settings, "w")["delivery_timeout_ms"] < 9000
    assert producer_config(settings, "w")["max_block_ms"] < 9000


@pytest.mark.parametrize("session_timeout_seconds", [1, 6, 45])
def test_three_heartbeats_fit_into_a_session(session_timeout_seconds: float) -> None:
    settings = Settings(kafka=KafkaSettings(session_timeout_seconds=session_timeout_seconds))
    config = consumer_config(settings, "w")
    assert 3 * config["heartbeat_interval_ms"] <= config["session_timeout_ms"] == session_timeout_seconds * 1000


def test_every_connection_and_security_option_of_kafka_python_passes_through() -> None:
    given = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_kerberos_service_name": "kafka",
        "ssl_cafile": "ca.pem",
        "ssl_certfile": "me.pem",
        "ssl_keyfile": "me.key",
        "ssl_check_hostname": False,
        "request_timeout_ms": 20000,
        "api_version": (3, 9),
        "proxy_url": "socks5://proxy:1080",
    }
    for config in (consumer_config, producer_config, admin_config):
        made = config(kafka_with(**given), "w")
        assert {name: made[name] for name in given} == given


def test_options_as_texts_from_the_environment_get_their_types() -> None:
    config = admin_config(
        kafka_with(request_timeout_ms="20000", ssl_check_hostname="False", api_version="3.9", send_buffer_bytes="1024"),
        "w",
    )
    assert config["request_timeout_ms"] == 20000
    assert config["ssl_check_hostname"] is False
    assert config["api_version"] == (3, 9)
    assert config["send_buffer_bytes"] == 1024


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("request_timeout_ms", "soon", "a whole number"),
        ("request_timeout_ms", True, "a whole number"),
        ("ssl_check_hostname", "no", "true or false"),
        ("api_version", "new", "a version"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(SettingsError, match=f"kafka.options.{name} must be {wanted}"):
        check_options({name: value})


@pytest.mark.parametrize(
    "name",
    ["bootstrap_servers", "isolation_level", "acks", "enable_auto_commit", "sasl_plain_password", "group_instance_id"],
)
def test_an_option_that_questream_sets_itself_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"kafka.options.{name} is not yours to set: \w+"):
        check_options({name: SECRET})


def test_an_option_that_kafka_python_does_not_know_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"kafka\.options\.ssl_ca is not an option of kafka-python"):
        check_options({"ssl_ca": "ca.pem"})


def test_an_option_of_one_client_goes_to_that_client_alone() -> None:
    settings = kafka_with(fetch_min_bytes=2)
    assert consumer_config(settings, "w")["fetch_min_bytes"] == 2
    assert "fetch_min_bytes" not in producer_config(settings, "w") | admin_config(settings, "w")


def test_passwords_reach_the_client_and_no_error_message() -> None:
    settings = Settings(kafka=KafkaSettings(sasl_plain_password=SecretStr(SECRET), options={"sasl_mechanism": "PLAIN"}))
    assert admin_config(settings, "w")["sasl_plain_password"] == SECRET
    with pytest.raises(SettingsError) as caught:
        check_options({"sasl_plain_password": SECRET})
    assert SECRET not in str(caught.value)


def test_a_token_provider_is_made_from_its_name() -> None:
    config = admin_config(kafka_with(sasl_oauth_token_provider=f"{__name__}:Provider"), "w")
    assert type(config["sasl_oauth_token_provider"]).__name__ == "Provider"


def test_a_token_provider_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(SettingsError, match="module:name"):
        admin_config(kafka_with(sasl_oauth_token_provider="nowhere:nothing"), "w")


def test_a_redis_client_answers_bytes_and_waits_no_longer_than_it_may() -> None:
    client = connect_redis(
        RedisSettings(url=SecretStr("redis://elsewhere:7/3"), password=SecretStr(SECRET), timeout_seconds=1.5)
    )
    arguments = client.connection_pool.connection_kwargs
    assert (arguments["host"], arguments["port"], arguments["db"]) == ("elsewhere", 7, 3)
    assert arguments["password"] == SECRET
    assert arguments["socket_timeout"] == arguments["socket_connect_timeout"] == 1.5
    assert not arguments.get("decode_responses")


def test_tls_goes_with_the_scheme_also_behind_sentinel() -> None:
    single = connect_redis(RedisSettings(url=SecretStr("rediss://h"), options={"ssl_ca_certs": "ca.pem"}))
    behind = connect_redis(
        RedisSettings(
            url=SecretStr("rediss://me:pw-of-master@ignored/2"),
            mode="sentinel",
            sentinels=["s:1"],
            sentinel_password=SecretStr(SECRET),
        )
    )
    assert issubclass(single.connection_pool.connection_class, redis.SSLConnection)
    assert issubclass(behind.connection_pool.connection_class, redis.SSLConnection)
    master = behind.connection_pool.connection_kwargs
    assert (master["username"], master["password"], master["db"]) == ("me", "pw-of-master", 2)
    sentinel = behind.connection_pool.sentinel_manager.sentinels[0].connection_pool
    assert sentinel.connection_kwargs["password"] == SECRET
    assert issubclass(sentinel.connection_class, redis.SSLConnection)


@pytest.mark.parametrize(
    "settings",
    [
        RedisSettings(url=SecretStr(f"redis://:{SECRET[:3]}/{SECRET[3:]}@h:1/0")),
        RedisSettings(url=SecretStr(f"redis://:{SECRET}@h:port")),
        RedisSettings(url=SecretStr(f"redis://:{SECRET}@h"), password=SecretStr(SECRET)),
        RedisSettings(url=SecretStr(f"redis://:{SECRET}@h?decode_responses=true")),
        RedisSettings(url=SecretStr(f"redis://:{SECRET}@h"), options={"decode_responses": True}),
        RedisSettings(options={"password": SECRET}),
        RedisSettings(options={"no_such_option": SECRET}),
    ],
)
def test_what_redis_cannot_be_reached_with_is_refused_without_a_password(settings: RedisSettings) -> None:
    with pytest.raises(SettingsError) as caught:
        connect_redis(settings)
    assert SECRET not in str(caught.value)
    assert SECRET[3:] not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1/shop", "has a path that is no database"),
        ("redis://127.0.0.1/0/1", "has a path that is no database"),
        ("redis://127.0.0.1/-1", "has a path that is no database"),
        ("redis://127.0.0.1/0 ", "has a path that is no database"),
        ("redis://127.0.0.1?db=shop", "cannot be parsed|no database"),
        ("redis://127.0.0.1:0/0", "has port 0"),
        ("redis://:secret@", "cannot be parsed"),
        ("redis://:12?secret=1@127.0.0.1/0", "cannot be parsed"),
        ("redis://127.0.0.1/0#secret", "cannot be parsed"),
        ("unix://", "has no path of a socket"),
        ("unix://run/redis.sock", "has no path of a socket"),
        ("redis://127.0.0.1/0?secret=1", "has an option that a connection to this URL does not take"),
        ("redis://127.0.0.1/0?ssl_cert_reqs=none", "has an option that a connection to this URL does not take"),
    ],
)
def test_a_url_that_would_lead_elsewhere_is_refused_and_not_quoted(url: str, said: str) -> None:
    settings = RedisSettings(url=SecretStr(url))
    with pytest.raises(SettingsError, match=said) as caught:
        connect_redis(settings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", "localhost:6379 0"),
        ("redis:///3", "localhost:6379 3"),
        ("redis://[::1]/2", "::1:6379 2"),
        ("redis://u:p%40%2Fq@h:7/", "h:7 0"),
        ("redis://h?db=4", "h:6379 4"),
        ("rediss://h/1?ssl_cert_reqs=none", "h:6379 1"),
        ("unix://:p@/run/redis.sock?db=2", "/run/redis.sock 2"),
    ],
)
def test_a_url_leads_where_it_is_written(url: str, place: str) -> None:
    settings = RedisSettings(url=SecretStr(url))
    connect_redis(settings)
    assert place_of(settings) == f"single {place}"
