"""The settings tree as a flat list, and each key's range in words: for messages, documentation and the template."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from questream.settings.tree import Allowed, Group, Instead, Settings

ENV_PREFIX = "QUESTREAM_"
ENV_DELIMITER = "__"
MASK = "***"
_SHOWN_CHARACTERS = 100

# kafka-python options whose value is a URL that may carry a password.
_URL_OPTIONS = frozenset({"proxy_url", "socks5_proxy"})
_SECRET_WORDS = ("password", "secret", "token", "credential")


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its dotted name, its group (empty for the root) and what pydantic knows of it."""

    key: str
    group: str
    field: FieldInfo

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def env_name(self) -> str:
        """The environment variable that sets it."""
        return env_name(self.key)

    @property
    def default(self) -> Any:
        """The default, None where it is unset."""
        return self.field.get_default(call_default_factory=True)

    @property
    def is_secret(self) -> bool:
        """True if its value must never be shown."""
        return SecretStr in _members(self.field.annotation)

    @property
    def is_table(self) -> bool:
        """True if it holds keys of its own."""
        return dict in set(_kinds(self.field.annotation))

    @property
    def allowed(self) -> str:
        """The values that a field may have, in words."""
        return allowed(self.field)

    def instead(self, given: object) -> str | None:
        """The remedy for a value of an earlier release; None for one that never was allowed."""
        return next((m.remedy for m in self.field.metadata if isinstance(m, Instead) and given in m.values), None)


def env_name(key: str) -> str:
    """The environment variable of a dotted key."""
    return ENV_PREFIX + key.upper().replace(".", ENV_DELIMITER)


def all_settings() -> Iterator[Setting]:
    """Every key, in the order of the tree."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            for inner, inner_field in field.annotation.model_fields.items():
                yield Setting(f"{name}.{inner}", name, inner_field)
        else:
            yield Setting(name, "", field)


def allowed(field: FieldInfo) -> str:
    """The values that it may have, in words: `a whole number from 1 to 4096`."""
    words = next((m.words for m in field.metadata if isinstance(m, Allowed)), None)
    if words:
        return words
    choices = list(_choices(field.annotation))
    if choices:
        return "one of " + ", ".join(choices)
    kinds = set(_kinds(field.annotation))
    if kinds & {int, float}:
        return _range("a number" if float in kinds else "a whole number", field.metadata)
    if bool in kinds:
        return "true or false"
    if list in kinds:
        return "a list, or its parts between commas"
    if dict in kinds:
        return "a table"
    if Path in kinds:
        return "the path of a file"
    return _text(field.metadata)


def masked(settings: Settings) -> dict[str, Any]:
    """All effective settings as plain data, with passwords masked; fit for a log, a terminal and JSON."""
    plain: dict[str, Any] = settings.model_dump(mode="json")
    for setting in all_settings():
        if setting.is_secret and plain[setting.group][setting.name] is not None:
            plain[setting.group][setting.name] = MASK
    plain["redis"]["url"] = mask_url(settings.redis.url.get_secret_value())
    for group in ("kafka", "redis"):
        plain[group]["options"] = {
            name: _mask_option(name, value) for name, value in getattr(settings, group).options.items()
        }
    return plain


def mask_given(setting: Setting, value: Any) -> str:
    """A wrong value as an error message may show it: shortened, and never a secret."""
    if setting.is_secret or setting.is_table:
        return MASK
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."


def mask_url(url: str) -> str:
    """The URL without what may be secret in it: its user part and its query."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    user = f"{MASK}@" if parts.username is not None or parts.password is not None else ""
    query = f"?{MASK}" if parts.query else ""
    # An @ beyond the host: a password with a slash, question or number sign in it ended up there.
    if not parts.scheme or (not host and parts.scheme != "unix") or "@" in parts.path + parts.query + parts.fragment:
        return MASK
    bracketed = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{user}{bracketed}{port}{parts.path}{query}"


def _mask_option(name: str, value: Any) -> Any:
    if any(word in name for word in _SECRET_WORDS):
        return MASK
    if name in _URL_OPTIONS and isinstance(value, str):
        return mask_url(value)
    return value if isinstance(value, str | int | float | bool | list | dict | None) else type(value).__name__


def _members(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _choices(annotation: Any) -> Iterator[str]:
    for member in _members(annotation):
        if get_origin(member) is Literal:
            yield from (str(choice) for choice in get_args(member))


def _kinds(annotation: Any) -> Iterator[Any]:
    for member in _members(annotation):
        yield get_origin(member) or member


def _range(kind: str, metadata: list[Any]) -> str:
    least = next((m.ge for m in metadata if isinstance(m, annotated_types.Ge)), None)
    most = next((m.le for m in metadata if isinstance(m, annotated_types.Le)), None)
    if least is None or most is None:
        return kind
    return f"{kind} from {least} to {most}"


def _text(metadata: list[Any]) -> str:
    longest = next((m.max_length for m in metadata if isinstance(m, annotated_types.MaxLen)), None)
    if longest:
        return f"text of 1 to {longest} characters"
    return "text, not empty"
