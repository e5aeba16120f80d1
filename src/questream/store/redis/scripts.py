"""The Lua scripts, each behind the prelude that all share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from questream.store.redis.rights import commands_of

_FOLDER = resources.files("questream.store.redis") / "lua"
# The first is in front of every script, the second of all but those that a user with read rights alone may call.
_PRELUDE, _WRITING = "prelude", "writing"
_READING = ("store_epoch", "tail")
# Asked of Redis before the others may be called, so without a prelude: see `Rights`.
_ALONE = "rights"


class Scripts:
    """Every file of `lua/` as a script of this client, by its name: `scripts["commit"](keys=..., args=...)`."""

    def __init__(self, client: Any) -> None:
        sources = _read(_FOLDER)  # type: ignore[arg-type] # the folder object has the hash of its path
        self._scripts = {name: client.register_script(text) for name, text in sources.whole.items()}
        self.reading, self.writing = sources.reading, sources.writing

    def __getitem__(self, name: str) -> Any:
        return self._scripts[name]


@dataclass(frozen=True, slots=True)
class _Sources:
    """Scripts by name, and the commands that those call that only read, and all."""

    whole: dict[str, str]
    reading: list[str]
    writing: list[str]


@functools.cache
def _read(folder: Traversable) -> _Sources:
    texts = {
        file.name.removesuffix(".lua"): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    }
    prelude, writing, _ = texts.pop(_PRELUDE), texts.pop(_WRITING), texts.pop(_ALONE)
    whole = {name: prelude + writing * (name not in _READING) + text for name, text in texts.items()}
    return _Sources(whole, commands_of([whole["tail"]]), commands_of([prelude, writing, *texts.values()]))
