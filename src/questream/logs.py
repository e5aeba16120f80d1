"""Logging: one JSON object or one line of text per record on stderr, in UTC, without any secret.

Question text stays out because nothing logs it. The Kafka client would: at debug it logs whole requests, records
included, so its loggers never go below WARNING, whatever `log.level` is.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from questream.settings import LogSettings, Settings

MASK = "***"

# Masking a shorter one would blacken half the log and still show which it is.
_SHORTEST_SECRET = 4
_MOST_MESSAGES = 1000
_URL_USER = re.compile(r"(?<=://)[^/\s@]*:[^\s@]*(?=@)")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CLIENT_LOGGERS = ("kafka", "confluent_kafka", "redis", "urllib3", "httpx", "httpx2", "httpcore", "huggingface_hub")


class Redactor:
    """Takes the given secrets, and the user part of any URL, out of whatever is logged."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first: one secret may be the beginning of another.
        known = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def redact(self, value: Any) -> Any:
        """The value with its texts cleaned; mappings and sequences in depth, other objects as their text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {self.redact(key): self.redact(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact(inner) for inner in value]
        text = str(value)
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _URL_USER.sub(MASK, text)


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def parts(self, record: logging.LogRecord) -> dict[str, Any]:
        """A log record, cleaned: time, level, logger, message, extra fields, exception."""
        document = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS},
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        cleaned: dict[str, Any] = self._redactor.redact(document)
        return {"time": _utc(record.created)} | cleaned


class JsonFormatter(_Formatter):
    """One JSON object per line: time, level, logger, message and whatever the record carries as extra."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.parts(record))


class ConsoleFormatter(_Formatter):
    """A line for people: time, level, message, `name=value` of the extra fields; a traceback on indented lines.

    Characters that could begin another line, or steer a terminal, are escaped as in Python.
    """

    def format(self, record: logging.LogRecord) -> str:
        parts = self.parts(record)
        exception = parts.pop("exception", None)
        time, level, logger, message = (parts.pop(name) for name in ("time", "level", "logger", "message"))
        extra = "".join(f" {name}={value}" for name, value in parts.items())
        line = f"{time[11:]} {level.upper():<8}{logger.removeprefix('questream.')}: {message}{extra}"
        return "\n    ".join(map(_one_line, [line, *(exception or "").splitlines()]))


class _OnceASecond(logging.Filter):
    """Lets a library's message through once a second: kafka-python repeats one without a pause while it waits."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("questream"):
            return True
        message = (record.name, record.getMessage())
        if record.created - self._logged_at.get(message, 0.0) < 1.0:
            return False
        if len(self._logged_at) > _MOST_MESSAGES:
            self._logged_at.clear()
        self._logged_at[message] = record.created
        return True


def configure_logging(log: LogSettings, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Send every log record to `stream` (default: stderr): questream's own from `log.level` up, others' from WARNING.

    A library's message is logged once a second at most.

    Replaces handlers of an earlier call.
    """
    stream = stream or sys.stderr
    as_json = log.format == "json" or (log.format == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.addFilter(_OnceASecond())
    handler.setFormatter(JsonFormatter(redactor) if as_json else ConsoleFormatter(redactor))
    level = logging.getLevelName(log.level.upper())
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("questream").setLevel(level)
    for name in _CLIENT_LOGGERS:
        client = logging.getLogger(name)
        client.setLevel(max(level, logging.WARNING))
        client.propagate = True
    logging.captureWarnings(True)
    # A record that cannot be written must not be printed raw instead.
    logging.raiseExceptions = False


def configure_quiet_logging(log: LogSettings, redactor: Redactor) -> None:
    """As `configure_logging`, but from WARNING up and without the clients: for a command that reports what fails."""
    configure_logging(log.model_copy(update={"level": "error" if log.level == "error" else "warning"}), redactor)
    for name in _CLIENT_LOGGERS:
        client = logging.getLogger(name)
        # Not by level: these loggers have the causes of failed connections.
        client.propagate = False
        client.addHandler(logging.NullHandler())


def secrets_of(settings: Settings) -> Iterator[str]:
    """Every secret in the settings, as given and as decoded from a URL."""
    kafka, redis, webhooks = settings.kafka, settings.redis, settings.webhooks
    passwords = (kafka.sasl_plain_password, kafka.ssl_password, redis.password, redis.sentinel_password)
    for secret in (*passwords, webhooks.url, webhooks.secret, settings.names.endpoint, settings.names.key):
        if secret is not None:
            yield secret.get_secret_value()
    texts = [redis.url.get_secret_value(), *(str(value) for value in kafka.options.values())]
    for text in texts:
        try:
            password = urlsplit(text).password
        except ValueError:
            # Not a URL; as a whole it may still hold one.
            yield text
            continue
        if password:
            yield from (password, unquote(password))
    yield from (str(value) for name, value in redis.options.items() if "password" in name)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
