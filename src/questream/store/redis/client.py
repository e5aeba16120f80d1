"""A client for Redis: one server, behind Sentinel, or a cluster."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.connection import parse_url as _parse_url
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SlaveNotFoundError

from questream.errors import SettingsError, StoreRefused, StoreUnavailable
from questream.settings import RedisSettings
from questream.store.redis.rights import denial

_HEALTH_CHECK_SECONDS = 30
# The client's errors that mean one thing, the narrower ones first.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (redis.exceptions.BusyLoadingError, "it is still loading its data"),
    (redis.exceptions.MaxConnectionsError, "it has too many clients"),
    (MasterNotFoundError, "no Sentinel knows a master of redis.sentinel_service"),
    (SlaveNotFoundError, "no Sentinel knows a replica of redis.sentinel_service"),
    (redis.exceptions.ClusterDownError, "a part of its cluster is down"),
    (redis.exceptions.RedisClusterException, "no node of its cluster can be reached"),
    (redis.exceptions.ClusterError, "no node of its cluster can be reached"),
    (redis.exceptions.TimeoutError, "no answer within redis.timeout_seconds"),
    (redis.exceptions.ConnectionError, "the connection was closed"),
)

# Arguments of redis-py that are not the user's to set, and what to set instead or why not.
_FIXED = {
    "host": "set redis.url",
    "port": "set redis.url",
    "db": "set redis.url",
    "unix_socket_path": "set redis.url",
    "path": "set redis.url",
    "ssl": "set redis.url to one that begins with rediss://",
    "password": "set redis.password or redis.password_file",
    "socket_timeout": "set redis.timeout_seconds",
    "socket_connect_timeout": "set redis.timeout_seconds",
    "decode_responses": "the store reads bytes",
    "encoding": "the store reads bytes",
    "encoding_errors": "the store reads bytes",
    "retry": "questream tries again by itself",
    "retry_on_timeout": "questream tries again by itself",
    "retry_on_error": "questream tries again by itself",
    "single_connection_client": "the store is shared between threads",
    "connection_pool": "it has to be a Python object",
    "redis_connect_func": "it has to be a Python object",
    "credential_provider": "it has to be a Python object",
    "cache": "it has to be a Python object",
    "cache_config": "it has to be a Python object",
    "event_dispatcher": "it has to be a Python object",
    "driver_info": "it has to be a Python object",
}
# None, or a number.
_DATABASE = re.compile(r"(/([0-9]+)?)?")
# A URL says these itself.
_FIXED_IN_URL = _FIXED.keys() - {"db", "password"}


def describe_connection_error(error: Exception) -> str:
    """The reason why Redis did not answer, in words. The client's texts are dropped: they can quote data."""
    at: BaseException | None = error
    while at is not None:
        # Errors of the system about a connection: refused, unknown host, no route.
        if isinstance(at, OSError) and at.strerror:
            return at.strerror.lower()
        at = at.__cause__ or at.__context__
    return next((words for kind, words in _CAUSES if isinstance(error, kind)), type(error).__name__)


def connect_redis(settings: RedisSettings) -> Any:
    """A client that answers bytes: redis.Redis, or redis.RedisCluster where `mode` is `cluster`.

    It connects with its first command, the one to a cluster at once; each connection and answer may take
    `timeout_seconds`. A command whose connection breaks is sent once more, on a new one.

    Raises SettingsError if the URL or the options cannot be used, StoreUnavailable or StoreRefused if a cluster does
    not answer or does not let us in. No message holds a password.
    """
    check_options(settings.options)
    url = settings.url.get_secret_value()
    arguments = _arguments(settings)
    _check_url(url, settings)
    match settings.mode:
        case "single":
            client = redis.Redis.from_url(url, **arguments)
            _check_arguments(client)
            return client
        case "cluster":
            return _connect_cluster(url, arguments)
        case "sentinel":
            return _behind_sentinel(url, settings, arguments)


def place_of(settings: RedisSettings) -> str:
    """The address in the settings, in words and without a secret: server and database, Sentinel's service, cluster."""
    from_url = _parsed(settings.url.get_secret_value())
    database = from_url.get("db", 0)
    match settings.mode:
        case "sentinel":
            return f"sentinel {settings.sentinel_service} {database}"
        case "cluster":
            return f"cluster {from_url.get('host')}:{from_url.get('port', 6379)}"
        case "single":
            at = from_url.get("path") or f"{from_url.get('host', 'localhost')}:{from_url.get('port', 6379)}"
            return f"single {at} {database}"


def check_options(options: Mapping[str, Any]) -> None:
    """Raise SettingsError unless each option is one of redis-py's that questream leaves to the user."""
    known = set(inspect.signature(redis.Redis.__init__).parameters) - {"self"}
    for name in options:
        if name in _FIXED:
            raise SettingsError(f"redis.options.{name} is not yours to set: {_FIXED[name]}")
        if name not in known:
            nearest = difflib.get_close_matches(name, known - _FIXED.keys(), n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else None
            raise SettingsError(f"redis.options.{name} is not an option of redis-py", hint)


def _arguments(settings: RedisSettings) -> dict[str, Any]:
    arguments = {
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        **settings.options,
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.timeout_seconds,
        # Once, for a pooled connection that a restart or a firewall cut; callers retry by themselves.
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    }
    if settings.password is not None:
        arguments["password"] = settings.password.get_secret_value()
    return arguments


def _check_url(url: str, settings: RedisSettings) -> None:
    try:
        given = _parsed(url)
        in_query = set(parse_qs(urlsplit(url).query))
    except ValueError:
        # Not quoted: the part that cannot be parsed is most often a password with a slash in it.
        raise _unparsable() from None
    _check_place(url)
    if "password" in given and settings.password is not None:
        raise SettingsError("redis.url and redis.password both give a password", "give one")
    for name in sorted(in_query & _FIXED_IN_URL):
        raise SettingsError(f"redis.url must not have {name} in its query: {_FIXED[name]}")


def _check_place(url: str) -> None:
    """Refuse what redis-py passes over: it would lead to another server or another database than was written."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if not parts.path or parts.netloc.rpartition("@")[2] or parts.fragment:
            raise SettingsError("redis.url has no path of a socket", "write unix:///path/to/redis.sock?db=0")
        return
    if parts.fragment or (parts.netloc and not parts.hostname):
        raise _unparsable()
    if parts.port == 0:
        raise SettingsError("redis.url has port 0", "write one from 1 to 65535, or none for 6379")
    if _DATABASE.fullmatch(parts.path) is None or not all(map(_is_number, parse_qs(parts.query).get("db", ()))):
        raise SettingsError("redis.url has a path that is no database", "write its number: redis://host:6379/0")


def _unparsable() -> SettingsError:
    return SettingsError("redis.url cannot be parsed", "write / # ? @ : in user or password as %2F %23 %3F %40 %3A")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _check_arguments(client: Any) -> None:
    """Refuse options that go with no connection of this kind, which redis-py finds when it opens the first."""
    pool = client.connection_pool
    try:
        pool.connection_class(**pool.connection_kwargs)
    except TypeError:
        # Its text names the option, which may be a piece of a password that was not escaped.
        raise SettingsError(
            "redis.url's query, or redis.options, has an option that a connection to this URL does not take",
            "those that begin with ssl_ need rediss://",
        ) from None


def _connect_cluster(url: str, arguments: dict[str, Any]) -> redis.RedisCluster:
    try:
        return redis.RedisCluster.from_url(url, **arguments)
    # The latter, raised when no node answers, is no RedisError.
    except (redis.RedisError, redis.exceptions.RedisClusterException) as error:
        # It tries every node and has the last failure as the cause.
        cause = error.__cause__ or error
        if isinstance(cause, redis.AuthenticationError):
            raise StoreRefused("Redis refused the login", "check redis.url and redis.password") from error
        if isinstance(cause, redis.exceptions.NoPermissionError):
            raise StoreRefused(*denial(str(cause))) from error
        raise StoreUnavailable(
            f"no node of the Redis Cluster answered ({type(cause).__name__})", "check redis.url and redis.mode"
        ) from error


def _behind_sentinel(url: str, settings: RedisSettings, arguments: dict[str, Any]) -> redis.Redis:
    from_url = _parsed(url)
    for part in ("host", "port", "path"):
        from_url.pop(part, None)
    # Sentinel brings connection classes of its own and wants the scheme as an argument.
    tls = {"ssl": True} if from_url.pop("connection_class", None) is redis.SSLConnection else {}
    to_master = arguments | from_url | tls
    to_sentinel = {name: value for name, value in arguments.items() if name not in ("username", "password")} | tls
    if settings.sentinel_password is not None:
        to_sentinel["password"] = settings.sentinel_password.get_secret_value()
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        [_host_and_port(address) for address in settings.sentinels], sentinel_kwargs=to_sentinel, **to_master
    )
    master: redis.Redis = sentinel.master_for(settings.sentinel_service)
    return master


def _parsed(url: str) -> dict[str, Any]:
    parsed: dict[str, Any] = _parse_url(url)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    return parsed


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
