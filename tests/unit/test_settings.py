from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from questream import settings as settings_package
from questream.errors import SettingsError
from questream.settings import (
    ClusterSettings,
    KafkaSettings,
    RedisSettings,
    Settings,
    all_settings,
    load_settings,
    mask_url,
    masked,
)
from questream.settings.table import render_tables
from questream.settings.template import render_template

SECRET = "hunter2-open-sesame"
DEFAULT_FILE = Path(__file__).parents[2] / "worker" / "questream.toml"


@pytest.fixture(autouse=True)
def _clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside: neither from the environment nor from a file where the tests were started."""
    monkeypatch.chdir(tmp_path)
    import os

    for name in list(os.environ):
        if name.upper().startswith("QUESTREAM_"):
            monkeypatch.delenv(name)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.toml"
    path.write_text(text)
    return path


def refusal(config: Path | None = None, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(config, overrides)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def test_all_that_the_package_offers_is_there() -> None:
    assert {name for name in settings_package.__all__ if getattr(settings_package, name) is not None} == set(
        settings_package.__all__
    )


def test_without_any_source_the_settings_are_the_defaults() -> None:
    assert load_settings() == Settings()


def test_flags_go_before_environment_before_file_before_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = toml(tmp_path, '[kafka]\ngroup_id = "file"\ninput_topic = "file"\noutput_topic = "file"')
    monkeypatch.setenv("QUESTREAM_KAFKA__GROUP_ID", "environment")
    monkeypatch.setenv("QUESTREAM_KAFKA__INPUT_TOPIC", "environment")
    kafka = load_settings(path, {"kafka.group_id": "flag"}).kafka
    assert (kafka.group_id, kafka.input_topic, kafka.output_topic) == ("flag", "environment", "file")
    assert kafka.cluster_topic == "clusters"


def test_the_file_beside_is_read_without_being_named(tmp_path: Path) -> None:
    (tmp_path / "questream.toml").write_text("batch_questions = 7")
    assert load_settings().batch_questions == 7


def test_a_file_named_in_the_environment_goes_before_the_one_beside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "questream.toml").write_text("batch_questions = 7")
    monkeypatch.setenv("QUESTREAM_CONFIG", str(toml(tmp_path, "batch_questions = 8")))
    assert load_settings().batch_questions == 8


def test_a_missing_file_is_refused_when_it_was_named(tmp_path: Path) -> None:
    assert "nowhere.toml cannot be read: No such file" in refusal(tmp_path / "nowhere.toml")


def test_a_broken_file_is_refused_with_its_place_and_without_its_content(tmp_path: Path) -> None:
    message = refusal(toml(tmp_path, f'[redis]\npassword = "{SECRET}'))
    assert "given.toml is not TOML" in message
    assert SECRET not in message


@pytest.mark.parametrize("setting", [s for s in all_settings() if not s.name.endswith("_file")], ids=lambda s: s.key)
def test_every_setting_can_be_set_by_its_environment_variable(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "redis.mode": "cluster",
        "redis.url": "rediss://elsewhere:1/2",
        "redis.sentinels": "a:1, b:2",
        "kafka.client": "confluent",
        "kafka.options": '{"request_timeout_ms": 20000}',
        "redis.options": '{"client_name": "q"}',
        "delivery": "at-least-once",
        "batch_bytes": "65536",
        "kafka.auto_offset_reset": "latest",
        "kafka.compression": "gzip",
        "kafka.max_unpacked_bytes": "2097152",
        "clusters.log_bytes": "2097152",
        "model.accept_license": "true",
        "model.dtype": "float32",
        "model.max_unknown_share": "0.75",
        "model.device": "cuda:1",
        "model.max_tokens": "77",
        "model.processes": "3",
        "clusters.similarity": "cosine",
        "clusters.linkage": "first",
        "clusters.mode": "known-only",
        "routing.precision": "0.95",
        "clusters.granularity": "duplicate",
        "clusters.threshold": "-0.25",
        "clusters.merge_threshold": "0.25",
        "clusters.keep_texts": "false",
        "clusters.shared": "true",
        "judge.features": "false",
        "levels.enabled": "false",
        "levels.intent_resolution": "4",
        "levels.topic_resolution": "1.5",
        "input.format": "text",
        "input.envelope": "none",
        "input.text": "{subject}\\n{body}",
        "input.prepare": "off",
        "input.prepare_hook": "shop.redaction:without_names",
        "input.tombstones": "dead-letter",
        "input.deletes": "dead-letter",
        "input.updates": "skip",
        "input.arrays": "single",
        "serve.trusted_proxies": "10.0.0.0/8, ::1",
        "serve.viewers_read_texts": "true",
        "events.asker": "question",
        "events.suggestions": "false",
        "events.split_suggestions": "true",
        "webhooks.url": "https://elsewhere/hook",
        "names.endpoint": "https://elsewhere/v1",
        "names.moved_below": "0.5",
        "webhooks.secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "webhooks.body": "slack",
        "webhooks.kinds": "quiet, merged",
        "webhooks.page_url": "https://elsewhere/page",
        "webhooks.timeout_seconds": "29",
        "judge.margin": "0.2",
        "judge.min_probability": "0.7",
        "log.level": "error",
        "log.format": "json",
    }
    monkeypatch.setenv(setting.env_name, values.get(setting.key, "299" if "number" in setting.allowed else "given"))
    loaded: Any = load_settings()
    for part in setting.key.split("."):
        loaded = getattr(loaded, part)
    assert loaded != setting.default


def test_ports_of_all_processes_are_ports() -> None:
    assert load_settings(None, {"model.processes": "3", "metrics.port": "65533"}).model.processes == 3
    assert load_settings(None, {"model.processes": "256", "metrics.port": "auto"}).metrics.port == 0
    with pytest.raises(SettingsError, match=r"metrics\.port.*at most 65533"):
        load_settings(None, {"model.processes": "3", "metrics.port": "65534"})


def test_every_setting_says_in_words_what_it_is_and_what_is_allowed() -> None:
    for setting in all_settings():
        assert setting.field.description, setting.key
        assert setting.field.description.endswith("."), setting.key
        assert setting.allowed, setting.key
        if setting.name.endswith("_seconds"):
            assert re.search(r"[Ss]econds", setting.field.description), setting.key


def test_every_numeric_setting_has_both_ends_of_its_range() -> None:
    for setting in all_settings():
        if "number" in setting.allowed:
            assert re.search(r"number from -?[\d.]+ to [\d.]+$", setting.allowed), setting.key


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("BATCH_QUESTIONS", "0", ["batch_questions", "'0'", "a whole number from 1 to 4096"]),
        ("BATCH_QUESTIONS", "1.5", ["batch_questions", "'1.5'", "a whole number from 1 to 4096"]),
        ("DELIVERY", "twice", ["delivery", "'twice'", "one of exactly-once, at-least-once"]),
        ("METRICS__PORT", "65536", ["metrics.port", "'65536'", "from 0 to 65535"]),
        ("MODEL__PROCESSES", "0", ["model.processes", "'0'", "a whole number from 1 to 256"]),
        ("MODEL__PROCESSES", "257", ["model.processes", "'257'", "a whole number from 1 to 256"]),
        ("CLUSTERS__THRESHOLD", "1.01", ["clusters.threshold", "'1.01'", "a number from -1 to 1"]),
        ("CLUSTERS__THRESHOLD", "nan", ["clusters.threshold", "'nan'", "a number from -1 to 1"]),
        ("CLUSTERS__NAMESPACE", "a b", ["clusters.namespace", "'a b'", "letters, digits, dots"]),
        ("CLUSTERS__NAMESPACE", "a\n", ["clusters.namespace", r"'a\n'", "letters, digits, dots"]),
        ("CLUSTERS__KEEP_TEXTS", "perhaps", ["clusters.keep_texts", "'perhaps'", "true or false"]),
        ("KAFKA__BOOTSTRAP_SERVERS", "[::1", ["kafka.bootstrap_servers", "'[::1'", "host:port, several between"]),
        ("KAFKA__INPUT_TOPIC", "a/b", ["kafka.input_topic", "'a/b'", "1 to 249 letters"]),
        ("REDIS__SENTINELS", "one", ["redis.sentinels", "'one'", "host:port"]),
        ("REDIS__SENTINELS", '["a:1"', ["redis.sentinels", "host:port"]),
        ("KAFKA__OPTIONS", "{", ["kafka.options", "a table"]),
        ("LOG__LEVEL", "loud", ["log.level", "'loud'", "one of debug, info, warning, error"]),
    ],
)
def test_a_wrong_value_is_refused_with_key_variable_value_and_range(
    name: str, value: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"QUESTREAM_{name}", value)
    message = refusal()
    assert f"QUESTREAM_{name}" in message
    assert "in the environment" in message
    for part in parts:
        assert part in message


def test_a_wrong_value_is_refused_with_the_source_that_it_came_from(tmp_path: Path) -> None:
    path = toml(tmp_path, "batch_tokens = 1")
    assert f"is 1, in {path}" in refusal(path)
    assert "is '1', given as a flag" in refusal(path, {"batch_tokens": "1"})


def test_true_is_not_taken_for_a_number(tmp_path: Path) -> None:
    assert "clusters.threshold" in refusal(toml(tmp_path, "[clusters]\nthreshold = true"))


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(toml(tmp_path, '[kafka]\nsession_timeout = 1\n[clusters]\nthreshold = 2\nlinkage = "single"'))
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('[kafka]\nbootstrap_server = "x"', "kafka.bootstrap_server", "kafka.bootstrap_servers"),
        ("[clusters]\ntreshold = 0.1", "clusters.treshold", "clusters.threshold"),
        ("batch_question = 1", "batch_question", "batch_questions"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    text: str, key: str, nearest: str, tmp_path: Path
) -> None:
    message = refusal(toml(tmp_path, text))
    assert key in message
    assert f"did you mean {nearest}?" in message


def test_an_unknown_key_does_not_show_its_value(tmp_path: Path) -> None:
    message = refusal(toml(tmp_path, f'[kafka]\nsasl_password = "{SECRET}"'))
    assert "kafka.sasl_password" in message
    assert SECRET not in message


def test_an_unknown_flag_is_refused_with_the_nearest_known_one() -> None:
    assert "did you mean clusters.threshold?" in refusal(overrides={"clusters.treshold": "0.1"})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("QUESTREAM_KAFKA_GROUP_ID", "QUESTREAM_KAFKA__GROUP_ID"),
        ("QUESTREAM_METRICS_PORT", "QUESTREAM_METRICS__PORT"),
        ("QUESTREAM_REDIS__URI", "QUESTREAM_REDIS__URL"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(
    name: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "9464")
    message = refusal()
    assert name in message
    assert f"did you mean {nearest}?" in message


def test_what_kubernetes_puts_into_the_environment_for_a_service_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "QUESTREAM_SERVICE_HOST": "10.0.0.7",
        "QUESTREAM_SERVICE_PORT": "9464",
        "QUESTREAM_SERVICE_PORT_METRICS": "9464",
        "QUESTREAM_PORT": "tcp://10.0.0.7:9464",
        "QUESTREAM_PORT_9464_TCP": "tcp://10.0.0.7:9464",
        "QUESTREAM_PORT_9464_TCP_ADDR": "10.0.0.7",
        "QUESTREAM_METRICS_PORT": "tcp://10.0.0.7:9464",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()


def test_an_empty_variable_leaves_the_setting_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUESTREAM_MODEL__REVISION", "")
    monkeypatch.setenv("QUESTREAM_BATCH_QUESTIONS", "")
    assert load_settings() == Settings()


def test_an_empty_flag_unsets_what_the_file_sets(tmp_path: Path) -> None:
    path = toml(tmp_path, "[clusters]\nthreshold = 0.1")
    assert load_settings(path, {"clusters.threshold": ""}).clusters.threshold is None


def test_options_of_several_sources_are_joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = toml(tmp_path, '[kafka.options]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"')
    monkeypatch.setenv("QUESTREAM_KAFKA__OPTIONS__SASL_MECHANISM", "SCRAM-SHA-512")
    options = load_settings(path, {"kafka.options.sasl_plain_username": "me"}).kafka.options
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
    }


@pytest.mark.parametrize(("granularity", "threshold"), [("question", 0.725), ("duplicate", 0.95)])
def test_a_granularity_stands_for_a_threshold(granularity: Any, threshold: float) -> None:
    clusters = ClusterSettings(granularity=granularity)
    assert clusters.effective_threshold == threshold
    assert clusters.effective_merge_threshold == threshold


@pytest.mark.parametrize("former", ["intent", "topic"])
def test_a_granularity_that_is_a_level_now_is_refused_with_what_to_read_instead(
    former: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = toml(tmp_path, f'[clusters]\ngranularity = "{former}"')
    with pytest.raises(
        SettingsError, match=re.escape(f"is '{former}', in {path}; allowed: one of question")
    ) as refused:
        load_settings(path)
    for told in ("levels above the clusters", "`path`", "clusters.threshold = 0.55"):
        assert told in str(refused.value)
    monkeypatch.setenv("QUESTREAM_CLUSTERS__GRANULARITY", former)
    with pytest.raises(SettingsError, match=r"in the environment; .*`path`"):
        load_settings()
    monkeypatch.setenv("QUESTREAM_CLUSTERS__GRANULARITY", "other")
    with pytest.raises(SettingsError, match="one of question, duplicate") as unknown:
        load_settings()
    assert "levels" not in str(unknown.value)


def test_a_threshold_overrides_the_granularity_and_a_merge_threshold_the_threshold() -> None:
    assert ClusterSettings(threshold=0.0).effective_threshold == 0.0
    assert ClusterSettings(threshold=0.3).effective_merge_threshold == 0.3
    assert ClusterSettings(threshold=0.3, merge_threshold=0.0).effective_merge_threshold == 0.0


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().kafka.group_id = "other"


@pytest.mark.parametrize(
    "key",
    ["redis.password", "redis.sentinel_password", "kafka.sasl_plain_password", "kafka.ssl_password", "redis.url"],
)
def test_a_secret_is_read_from_its_file_without_the_end_of_line(key: str, tmp_path: Path) -> None:
    content = f"redis://:{SECRET}@elsewhere:1/0" if key == "redis.url" else SECRET
    path = tmp_path / "secret"
    path.write_text(content + "\n")
    settings = load_settings(overrides={f"{key}_file": str(path)})
    group, name = key.split(".")
    assert getattr(getattr(settings, group), name).get_secret_value() == content
    assert SECRET not in str(masked(settings))


def test_a_missing_secret_file_is_refused(tmp_path: Path) -> None:
    message = refusal(overrides={"redis.password_file": str(tmp_path / "nowhere")})
    assert "redis.password_file" in message
    assert "No such file" in message


def test_a_secret_file_that_is_not_text_is_refused_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xff\xfe" + SECRET.encode())
    message = refusal(overrides={"redis.password_file": str(path)})
    assert "is not UTF-8" in message
    assert SECRET not in message


@pytest.mark.parametrize(("content", "why"), [("", "is empty"), ("\n", "is empty"), (f"{SECRET}\nuser", "one line")])
def test_a_secret_file_has_one_line(content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    message = refusal(overrides={"redis.password_file": str(path)})
    assert why in message
    assert SECRET not in message


def test_a_folder_is_no_settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert "cannot be read" in refusal(Path())


@pytest.mark.parametrize("servers", ["a", "a:1", "a:1, b.c:2", "[::1]:9092", "::1", "10.0.0.1:65535", "a_b-c:9"])
def test_servers_are_hosts_with_or_without_a_port(servers: str) -> None:
    assert load_settings(None, {"kafka.bootstrap_servers": servers}).kafka.bootstrap_servers == servers


@pytest.mark.parametrize("servers", ["", "a:1,", "[::1", "a:b", "a:65536", "a b", "http://a:1", "user@a:1", "a:1:2"])
def test_what_is_no_server_is_refused(servers: str, tmp_path: Path) -> None:
    path = toml(tmp_path, f'[kafka]\nbootstrap_servers = "{servers}"')
    assert "kafka.bootstrap_servers" in refusal(path)


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("name", ["REDIS__URL", "KAFKA__SASL_PLAIN_PASSWORD", "KAFKA__OPTIONS__ssl_cafile", "CONFIG"])
def test_quotes_that_an_env_file_kept_are_refused_without_the_value(
    name: str, quote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"QUESTREAM_{name}", f"{quote}redis://{SECRET}{quote}")
    message = refusal()
    assert message == f"environment variable QUESTREAM_{name} has quotes around its value, which would be a part of it"


def test_a_carriage_return_that_an_env_file_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUESTREAM_KAFKA__GROUP_ID", "questream\r")
    assert "QUESTREAM_KAFKA__GROUP_ID ends with a carriage return" in refusal()


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_no_part_of_settings_or_secrets(ends: bytes, tmp_path: Path) -> None:
    path, secret = tmp_path / "given.toml", tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbf[kafka]" + ends + b'group_id = "g"' + ends)
    secret.write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + ends)
    settings = load_settings(path, {"redis.password_file": str(secret)})
    assert settings.kafka.group_id == "g"
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    "content",
    [
        f'a = "{SECRET}"'.encode("utf-16"),
        f'a = "{SECRET}"'.encode("utf-16-le"),
        b"a = 1\0",
        f'a = "{SECRET}é"'.encode("latin-1"),
    ],
    ids=["utf-16", "utf-16-without-mark", "null", "latin-1"],
)
def test_a_file_of_settings_or_with_a_secret_must_be_utf_8(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    for message in (refusal(path), refusal(overrides={"redis.password_file": str(path)})):
        assert "given" in message
        assert "save it as UTF-8" in message
        assert SECRET not in message


@pytest.mark.parametrize("kind", ["folder", "endless", "null", "deep", "old-mac"])
def test_what_is_no_settings_file_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    path = {"folder": tmp_path, "endless": Path("/dev/zero"), "null": Path("a\0b")}.get(kind, tmp_path / "given.toml")
    if kind == "deep":
        path.write_text("a = " + "[" * 100_000)
    if kind == "old-mac":
        path.write_bytes(b'[kafka]\rgroup_id = "g"\r')
    message = refusal(path)
    expected = {"folder": "Is a directory", "endless": "longer than", "null": "cannot be the path", "deep": "not TOML"}
    assert expected.get(kind, "not TOML") in message
    if kind in ("endless", "null"):
        assert expected[kind] in refusal(overrides={"redis.password_file": str(path)})


def test_a_secret_and_its_file_are_not_both_taken(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    message = refusal(overrides={"redis.password": SECRET, "redis.password_file": str(path)})
    assert "redis.password and redis.password_file are both given as a flag" in message
    assert SECRET not in message


def test_a_secret_file_goes_before_the_secret_of_a_lower_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("redis://from-file")
    config = toml(tmp_path, '[redis]\nurl = "redis://from-toml"')
    monkeypatch.setenv("QUESTREAM_REDIS__URL_FILE", str(path))
    assert load_settings(config).redis.url.get_secret_value() == "redis://from-file"
    assert load_settings(config, {"redis.url": "redis://flag"}).redis.url.get_secret_value() == "redis://flag"


@pytest.mark.parametrize("source", ["flag", "file"])
def test_a_wrong_url_is_refused_without_being_shown(source: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    overrides = {"redis.url": SECRET} if source == "flag" else {"redis.url_file": str(path)}
    message = refusal(overrides=overrides)
    assert "redis.url" in message
    assert "redis://" in message
    assert SECRET not in message


def test_a_broken_table_of_options_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUESTREAM_KAFKA__OPTIONS", f'{{"sasl_plain_password": "{SECRET}"')
    assert SECRET not in refusal()


def test_sentinel_mode_asks_for_sentinels(tmp_path: Path) -> None:
    assert "redis.sentinels must name" in refusal(toml(tmp_path, '[redis]\nmode = "sentinel"'))


def test_masked_settings_show_everything_but_secrets() -> None:
    shown = masked(
        Settings(
            kafka=KafkaSettings(
                sasl_plain_password=SecretStr(SECRET),
                options={"proxy_url": f"socks5://me:{SECRET}@proxy:1", "api_version": "3.9"},
            ),
            redis=RedisSettings(
                url=SecretStr(f"rediss://me:{SECRET}@elsewhere:6380/2?password={SECRET}"), password=SecretStr(SECRET)
            ),
        )
    )
    assert SECRET not in str(shown)
    assert shown["redis"]["url"] == "rediss://***@elsewhere:6380/2?***"
    assert shown["kafka"]["options"] == {"proxy_url": "socks5://***@proxy:1", "api_version": "3.9"}
    assert shown["kafka"]["group_id"] == "questream"
    assert set(shown["redis"]) == set(RedisSettings.model_fields)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        (f"redis://:{SECRET}@[::1]:1/0", "redis://***@[::1]:1/0"),
        (f"redis://:{SECRET[:3]}/{SECRET[3:]}@h:1/0", "***"),
        (f"redis://u:{SECRET[:3]}#{SECRET[3:]}@h:1/0", "***"),
        (f"redis://{SECRET[:3]}?{SECRET[3:]}@h:1/0", "***"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?***"),
        (SECRET, "***"),
    ],
)
def test_a_masked_url_shows_where_it_leads_and_no_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_neither_repr_nor_str_of_the_settings_shows_a_secret() -> None:
    settings = Settings(redis=RedisSettings(url=SecretStr(f"redis://:{SECRET}@h"), password=SecretStr(SECRET)))
    assert SECRET not in repr(settings) + str(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_the_default_file_has_every_key_with_its_default() -> None:
    text = DEFAULT_FILE.read_text()
    assert text == render_template(), "run: questream config --template > worker/questream.toml"
    given = tomllib.loads(text)
    for setting in all_settings():
        group = given[setting.group] if setting.group else given
        if setting.default is None or setting.is_table:
            assert setting.name not in group
            assert f"\n# {setting.name}" in text
        else:
            assert setting.name in group


def test_the_default_file_loads_to_the_defaults() -> None:
    assert load_settings(DEFAULT_FILE) == Settings()


def test_the_page_of_settings_is_what_the_tree_says_and_the_readme_quotes_it() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "settings.md").read_text("utf-8")
    assert page == render_tables(), "run: questream config --markdown > docs/settings.md"
    section = (root / "README.md").read_text("utf-8").split("\n## Settings\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `[a-z_.]+` \|.*$", section, re.MULTILINE)
    assert len(rows) >= 12
    assert [row for row in rows if row not in page.splitlines()] == []
