"""Settings from their sources: flags over environment over TOML file over defaults. Only here `os.environ` is read."""

from __future__ import annotations

import codecs
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from questream.errors import Problem, SettingsError
from questream.settings.describe import ENV_DELIMITER, ENV_PREFIX, Setting, all_settings, mask_given
from questream.settings.tree import Settings

DEFAULT_CONFIG = Path("questream.toml")
CONFIG_ENV_NAME = f"{ENV_PREFIX}CONFIG"

# The test suite's own, such as where a model lies.
_TEST_PREFIX = f"{ENV_PREFIX}TEST_"
# Kubernetes puts these into every container for a Service whose name begins with `questream`.
_KUBERNETES_NAME = re.compile(r"_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
_FILE_SUFFIX = "_file"
_MOST_SECRET_BYTES = 65536
_MOST_TOML_BYTES = 1048576
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTES = ('"', "'")


class _Environment(BaseSettings, Settings):
    """The tree of settings as pydantic-settings finds it in the environment."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        # `VARIABLE=` is how compose files and manifests leave one unset.
        env_ignore_empty=True,
        # Lists and tables are decoded by their fields, so that a mistake is named by its key.
        enable_decoding=False,
    )


class _Source(NamedTuple):
    """A tree of given values, and where it is in words."""

    place: str
    values: dict[str, Any]


def load_settings(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings: `overrides` (dotted key to value) over environment over TOML file over defaults.

    `config` is the TOML file; None means the one that QUESTREAM_CONFIG names, else ./questream.toml if it exists.
    Secrets named by a `*_file` key are read. Raises SettingsError with a line for each mistake: the key, its
    environment variable, the given value (never a secret's) and what is allowed; for an unknown key the nearest one.
    """
    known = {setting.key: setting for setting in all_settings()}
    _check_environment(known)
    toml_file = _find_config(config)
    sources = [
        _Source("given as a flag", _nest(overrides or {}, known)),
        _Source("in the environment", EnvSettingsSource(_Environment)()),
    ]
    if toml_file is not None:
        sources.append(_Source(f"in {toml_file}", _read_toml(toml_file)))
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        _choose_secrets(merged, source, known)
        _merge(merged, source.values)
    _read_secret_files(merged, known)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        problems = [_explain(mistake, known, sources) for mistake in error.errors(include_url=False)]
        raise SettingsError.of_each(problems) from None
    _check_options(settings)
    return settings


def _check_environment(known: Mapping[str, Setting]) -> None:
    names = {setting.env_name for setting in known.values()} | {CONFIG_ENV_NAME}
    tables = tuple(f"{setting.env_name}{ENV_DELIMITER}" for setting in known.values() if setting.is_table)
    for given, value in os.environ.items():
        name = given.upper()
        if not name.startswith(ENV_PREFIX):
            continue
        if name in names or name.startswith((*tables, _TEST_PREFIX)):
            _check_unquoted(given, value)
            continue
        if _KUBERNETES_NAME.search(name) or (name.endswith("_PORT") and _KUBERNETES_ADDRESS.match(value)):
            continue
        raise SettingsError(f"environment variable {given} is not a setting", _nearest(name, names))


def _check_unquoted(name: str, value: str) -> None:
    """Refuse what a file of variables left around a value: `docker run --env-file` takes quotes for a part of it."""
    if len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0]:
        raise SettingsError(f"environment variable {name} has quotes around its value, which would be a part of it")
    if value.endswith("\r"):
        raise SettingsError(f"environment variable {name} ends with a carriage return, as lines of Windows do")


def _find_config(config: Path | None) -> Path | None:
    if config is not None:
        return config
    if named := os.environ.get(CONFIG_ENV_NAME):
        return Path(named)
    try:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    except OSError as error:
        raise SettingsError(
            f"{DEFAULT_CONFIG} cannot be looked for: {error.strerror}", "name one by --config"
        ) from None


def _read_toml(path: Path) -> dict[str, Any]:
    what = f"the settings file {path}"
    text = _read_text(path, what, _MOST_TOML_BYTES)
    try:
        # The line ends of Windows are TOML's too, those of the oldest Macs are not.
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib's messages have a place and a rule, and do not quote the line.
        raise SettingsError(f"{what} is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{what} is not TOML of ours: it is nested too deeply") from None


def _read_text(path: Path, what: str, most_bytes: int) -> str:
    """The text of a UTF-8 file without its byte order mark. Raises SettingsError, which shows nothing of the text."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise SettingsError(f"{what} cannot be read: {error.strerror}") from None
    except ValueError:
        # No file has such a name: a null character is in it, or half a surrogate pair.
        raise SettingsError(f"{what} cannot be the path of a file".replace(str(path), repr(str(path)))) from None
    if len(content) > most_bytes:
        raise SettingsError(f"{what} is longer than {most_bytes} bytes")
    if content.startswith(_UTF_16_MARKS) or b"\0" in content:
        raise SettingsError(f"{what} is not UTF-8 but UTF-16 or no text", "save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{what} is not UTF-8", "save it as UTF-8") from None


def _nest(overrides: Mapping[str, Any], known: Mapping[str, Setting]) -> dict[str, Any]:
    """Dotted keys as a tree; an empty text leaves a setting unset."""
    tree: dict[str, Any] = {}
    for key, value in overrides.items():
        if key not in known and not any(s.is_table and key.startswith(f"{name}.") for name, s in known.items()):
            raise SettingsError(f"{key} is not a setting", _nearest(key, known))
        *groups, name = key.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[name] = None if value == "" else value
    return tree


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _choose_secrets(merged: Mapping[str, Any], source: _Source, known: Mapping[str, Setting]) -> None:
    """A secret that `source` gives goes before the file with it that a lower source names, and the other way round."""
    for setting in known.values():
        names = {setting.name, setting.name + _FILE_SUFFIX}
        group, lower = source.values.get(setting.group), merged.get(setting.group)
        if not setting.is_secret or not isinstance(group, dict):
            continue
        if names <= group.keys():
            raise SettingsError(f"{setting.key} and {setting.key}{_FILE_SUFFIX} are both {source.place}", "give one")
        if names & group.keys() and isinstance(lower, dict):
            for name in names:
                lower.pop(name, None)


def _read_secret_files(merged: dict[str, Any], known: Mapping[str, Setting]) -> None:
    """Read each secret that a `*_file` key names from its file."""
    for setting in known.values():
        group = merged.get(setting.group)
        if not setting.is_secret or not isinstance(group, dict):
            continue
        path = group.get(setting.name + _FILE_SUFFIX)
        if path is not None:
            group[setting.name] = _read_secret(Path(str(path)), setting.key + _FILE_SUFFIX)


def _read_secret(path: Path, key: str) -> str:
    secret = _read_text(path, f"{key} is {path}, which", _MOST_SECRET_BYTES).rstrip("\r\n")
    if not secret:
        raise SettingsError(f"{key} is {path}, which is empty")
    if "\n" in secret or "\r" in secret:
        raise SettingsError(f"{key} is {path}, which has more than one line")
    return secret


def _explain(mistake: Any, known: Mapping[str, Setting], sources: list[_Source]) -> Problem:
    """One validation error: the key, its value and where that was given; and what is allowed."""
    location = tuple(str(part) for part in mistake["loc"])
    setting = next(
        (known[key] for end in range(len(location), 0, -1) if (key := ".".join(location[:end])) in known), None
    )
    path = tuple(setting.key.split(".")) if setting else location
    place = next((source.place for source in sources if _has(source.values, path)), "read from its file")
    if setting is not None:
        shown = mask_given(setting, mistake["input"])
        remedy = setting.instead(mistake["input"])
        allowed = f"allowed: {setting.allowed}" + ("" if remedy is None else f"; {remedy}")
        return Problem(f"{setting.key} ({setting.env_name}) is {shown}, {place}", allowed)
    key = ".".join(location)
    if mistake["type"] == "extra_forbidden":
        return Problem(f"{key}, {place}, is not a setting", _nearest(key, known))
    if mistake["type"] == "value_error":
        return Problem(str(mistake["ctx"]["error"]))
    return Problem(f"{key}, {place}, must be a table of settings")


def _has(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _nearest(name: str, known: Any) -> str | None:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {nearest[0]}?" if nearest else None


def _check_options(settings: Settings) -> None:
    # Not at the top: both clients take long to import, and few settings have options.
    if settings.kafka.options:
        from questream.broker.connect import check_options as check_kafka_options

        check_kafka_options(settings.kafka)
    if settings.redis.options:
        from questream.store.redis.client import check_options as check_redis_options

        check_redis_options(settings.redis.options)
