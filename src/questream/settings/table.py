"""All settings as tables for people to read, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby

from pydantic import SecretStr

from questream.settings.describe import Setting, all_settings
from questream.settings.tree import Settings

_HEADER = """\
# Settings

Flags go before environment variables, those before the file (`questream.toml`, or the one that `--config` names).
`kafka.group_id` is `QUESTREAM_KAFKA__GROUP_ID` in the environment and `--kafka.group_id=NAME` as a flag. Unknown keys
and values that are not allowed are refused at start. [The file with every default](../worker/questream.toml) comes from
`questream config --template`, this page from `questream config --markdown`; `questream config` prints what holds.
"""
_COLUMNS = "| Key | Default | Allowed | What it is |\n| --- | --- | --- | --- |"


def render_tables() -> str:
    """A page with a table for each group of settings."""
    return "\n".join(_parts()).rstrip() + "\n"


def _parts() -> Iterator[str]:
    yield _HEADER
    for group, settings in groupby(all_settings(), lambda setting: setting.group):
        annotation = Settings.model_fields[group].annotation if group else Settings
        about = (annotation.__doc__ or "").split("\n")[0] if group else "The worker as a whole."
        yield f"## {group or 'At the top'}\n\n{about}\n\n{_COLUMNS}"
        yield from map(_row, settings)
        yield ""


def _row(setting: Setting) -> str:
    cells = [f"`{setting.key}`", _default(setting), setting.allowed, setting.field.description or ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(setting: Setting) -> str:
    default = setting.default
    if default is None or setting.is_table:
        return "unset"
    plain = default.get_secret_value() if isinstance(default, SecretStr) else default
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"
