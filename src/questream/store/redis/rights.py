"""The rights that a Redis user needs, checked before the first script, and the words for missing ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from typing import Any

from questream.errors import Problem, StoreRefused
from questream.store.redis.keys import Keys

_CALL = re.compile(r"(?:redis\.p?call|is_other)\('([A-Z]+)'")
_NAMED = re.compile(r"'([a-z|_-]+)' command")


def commands_of(scripts: Iterable[str]) -> list[str]:
    """The commands that these Lua scripts call."""
    return sorted({name for text in scripts for name in _CALL.findall(text)})


class Rights:
    """Asks a Redis whether its user may run commands from within scripts.

    `client` is a redis.Redis or redis.RedisCluster that answers bytes.
    """

    def __init__(self, client: Any, keys: Keys) -> None:
        self._keys = keys
        text = (resources.files("questream.store.redis") / "lua" / "rights.lua").read_text("utf-8")
        self._script = client.register_script(text)

    def require(self, namespace: str, commands: list[str]) -> None:
        """Raise StoreRefused with the names of those that are denied in this namespace, else return."""
        denied = [name.decode() for name in self._script(keys=[self._keys.of(namespace, "rights")], args=commands)]
        if denied:
            raise StoreRefused(f"Redis denies this user {', '.join(denied)}", _grant(denied))


def concerns_key(text: str) -> bool:
    """True if Redis denies a key, and no command; `text` is its error's text."""
    return _NAMED.search(text) is None and "key" in text


def denial(text: str) -> Problem:
    """The right that Redis denies, by its error's text, which names commands or a key's right, and no data."""
    named = _NAMED.search(text)
    if named:
        return Problem(f"Redis denies this user {named[1].upper()}", _grant([named[1]]))
    if concerns_key(text):
        return Problem(
            "Redis denies this user a key",
            "grant ~questream:* (redis.prefix in the place of questream) with ACL SETUSER",
        )
    return Problem("Redis denies this user a command", "see docs/security.md for those that are needed")


def _grant(commands: Iterable[str]) -> str:
    return f"grant {' '.join('+' + name.lower() for name in commands)} with ACL SETUSER"
