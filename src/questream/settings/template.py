"""A settings file with every key, its default, unit and range."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from pydantic import SecretStr

from questream.settings.describe import Setting, all_settings
from questream.settings.tree import Group, Settings

_HEADER = """\
Settings of questream, each with its default. Flags go before environment variables, those before this file.

Every key has an environment variable, QUESTREAM_ with two underscores between group and key:
kafka.group_id is QUESTREAM_KAFKA__GROUP_ID; and a flag, --set kafka.group_id=NAME or --kafka.group_id=NAME.
A key in a comment is unset. `questream config` prints what holds in the end."""
_WIDTH = 118


def render_template() -> str:
    """The text of a TOML file that sets every key to its default; unset keys are comments."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for line in _HEADER.splitlines():
        yield f"# {line}".rstrip()
    group = ""
    for setting in all_settings():
        yield ""
        if setting.group != group:
            group = setting.group
            yield from _comment(_group(group).__doc__ or "")
            yield f"[{group}]"
            yield ""
        yield from _comment(f"{setting.field.description} Allowed: {setting.allowed}.")
        yield from _assignment(setting)


def _group(name: str) -> type[Group]:
    annotation = Settings.model_fields[name].annotation
    assert isinstance(annotation, type)  # noqa: S101 - mypy does not know the annotations of the tree
    return annotation


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def _assignment(setting: Setting) -> Iterator[str]:
    if setting.is_table:
        # As a table of its own it would end its group for all keys after it.
        yield f"# {setting.name}.NAME = VALUE"
        return
    default = setting.default
    if default is None:
        yield f"# {setting.name} ="
        return
    plain = default.get_secret_value() if isinstance(default, SecretStr) else default
    # JSON's texts, numbers, truth values and lists are TOML's too.
    yield f"{setting.name} = {json.dumps(plain)}"
