from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from questream.cli.options import load
from questream.logs import Redactor, configure_logging, configure_quiet_logging, secrets_of
from questream.settings import KafkaSettings, LogSettings, RedisSettings, Settings

SECRET = "hunter2/open+sesame"
logger = logging.getLogger("questream.somewhere")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = [
        "questream",
        "kafka",
        "confluent_kafka",
        "redis",
        "urllib3",
        "httpx",
        "httpx2",
        "httpcore",
        "huggingface_hub",
    ]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
        logging.getLogger(name).propagate = True
    logging.captureWarnings(False)
    logging.raiseExceptions = True


def configured(log: LogSettings, *secrets: str, terminal: bool = False) -> io.StringIO:
    stream = Terminal() if terminal else io.StringIO()
    configure_logging(log, Redactor(secrets), stream)
    return stream


def test_a_json_line_has_time_level_logger_message_and_extra_fields() -> None:
    stream = configured(LogSettings(format="json"))
    logger.info("batch %s", "done", extra={"questions": 3, "topic": "questions"})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "questream.somewhere",
        "message": "batch done",
        "questions": 3,
        "topic": "questions",
    }


def test_the_console_gets_a_line_for_people() -> None:
    stream = configured(LogSettings(format="console"))
    logger.warning("session lost", extra={"reason": "timeout"})
    assert stream.getvalue().endswith("WARNING somewhere: session lost reason=timeout\n")


@pytest.mark.parametrize(("terminal", "first"), [(True, ""), (False, "{")])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(terminal: bool, first: str) -> None:
    stream = configured(LogSettings(format="auto"), terminal=terminal)
    logger.info("x")
    assert stream.getvalue().startswith("{") == bool(first)


def test_a_traceback_is_one_field_of_the_line() -> None:
    stream = configured(LogSettings(format="json"))
    try:
        raise RuntimeError("no")
    except RuntimeError:
        logger.exception("failed")
    assert "RuntimeError: no" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_secret_gets_through_in_message_argument_extra_or_traceback(format: str) -> None:
    stream = configured(LogSettings(format=format), SECRET)  # type: ignore[arg-type]  # pytest gives str
    try:
        raise RuntimeError(f"login with {SECRET} failed")
    except RuntimeError:
        logger.exception("with %s", [SECRET], extra={"nested": {"deep": [SECRET]}, "url": f"redis://me:{SECRET}@h"})
    assert SECRET not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_the_password_of_any_url_is_masked_even_if_nobody_named_it() -> None:
    stream = configured(LogSettings(format="json"))
    logger.info("connecting to redis://me:whatever-it-is@h:1/0 and http://h/path")
    assert json.loads(stream.getvalue())["message"] == "connecting to redis://***@h:1/0 and http://h/path"


def test_every_secret_of_the_settings_is_known_also_decoded() -> None:
    settings = Settings(
        kafka=KafkaSettings(
            sasl_plain_password=SecretStr("kafka-pw"),
            ssl_password=SecretStr("key-pw"),
            options={"proxy_url": "socks5://u:proxy-pw@p:1"},
        ),
        redis=RedisSettings(
            url=SecretStr("redis://u:in%2Furl@h"),
            password=SecretStr("redis-pw"),
            sentinel_password=SecretStr("sentinel-pw"),
            options={"ssl_password": "tls-pw"},
        ),
    )
    assert set(secrets_of(settings)) == {
        *("kafka-pw", "key-pw", "proxy-pw", "in%2Furl", "in/url", "redis-pw", "sentinel-pw", "tls-pw")
    }


def test_the_kafka_client_stays_silent_at_debug_for_it_logs_whole_records() -> None:
    stream = configured(LogSettings(level="debug", format="json"))
    for name in ("kafka", "kafka.producer.sender", "kafka.net.connection"):
        logging.getLogger(name).debug("Produce request %s", "a question")
        logging.getLogger(name).info("something else")
    logger.debug("ours")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["ours"]


def test_a_command_hears_warnings_of_questream_but_not_of_its_clients(capsys: pytest.CaptureFixture[str]) -> None:
    configure_quiet_logging(LogSettings(format="json"), Redactor())
    logging.getLogger("kafka.net.manager").error("connection refused")
    logger.info("model loaded")
    assert capsys.readouterr().err == ""
    logger.warning("unpinned")
    assert "unpinned" in capsys.readouterr().err


def test_the_level_holds_for_questream() -> None:
    stream = configured(LogSettings(level="error", format="json"))
    logger.warning("x")
    assert stream.getvalue() == ""
    logger.error("y")
    assert "y" in stream.getvalue()


def test_configuring_twice_logs_once() -> None:
    configured(LogSettings(format="json"))
    stream = configured(LogSettings(format="json"))
    logger.info("x")
    assert len(stream.getvalue().splitlines()) == 1


def test_what_is_not_text_is_logged_all_the_same() -> None:
    stream = configured(LogSettings(format="json"))
    logger.info("odd \ud800", extra={"set": {1}, "big": 2**70})
    assert json.loads(stream.getvalue())["big"] == 2**70


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_text_begins_a_line_of_its_own_in_the_log(format: str) -> None:
    stream = configured(LogSettings(format=format))  # type: ignore[arg-type]  # pytest gives str
    forged = "default\n12:00:00.000Z ERROR   worker: forged\x1b[2J\x9b31m"
    try:
        raise RuntimeError(forged)
    except RuntimeError:
        logger.exception("namespace %s", forged, extra={"namespace": forged})
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert not [line for line in text.splitlines() if line.startswith("12:00:00")]


def test_a_library_that_repeats_itself_does_not_fill_the_log_and_questream_is_always_heard() -> None:
    stream = configured(LogSettings(format="json"))
    for _ in range(1000):
        logging.getLogger("kafka.coordinator.consumer").error("Unknown error fetching offsets for %s", "p0")
    logging.getLogger("kafka.coordinator.consumer").error("Unknown error fetching offsets for %s", "p1")
    for _ in range(3):
        logger.info("x")
    told = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    # Two, should a second begin in between.
    assert told.count("Unknown error fetching offsets for p0") <= 2
    assert told.count("Unknown error fetching offsets for p1") == 1
    assert told.count("x") == 3


def test_settings_that_are_loaded_second_uncover_no_secret_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, password in (("former", "correct-horse"), ("present", "battery-staple")):
        (tmp_path / f"{name}.toml").write_text(f'[redis]\npassword = "{password}"\n')
        load(tmp_path / f"{name}.toml", None)
    logging.getLogger("questream.store").warning("logged in with correct-horse, then with battery-staple")
    told = capsys.readouterr().err
    assert "logged in" in told
    assert "correct-horse" not in told
    assert "battery-staple" not in told
