"""`questream config`: the settings that hold in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line
from questream.errors import SettingsError

if TYPE_CHECKING:
    from questream.settings import Settings


def show_config(
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
    template: Annotated[bool, typer.Option("--template", help="Print a settings file with every default.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables of all settings, for people.")] = False,
) -> None:
    """Print the effective settings, with passwords masked.

    Example: questream config --config questream.toml --set clusters.threshold=0.5
    """
    if template or markdown:
        if as_json or (template and markdown):
            raise SettingsError("--template is TOML, --markdown is Markdown, --json is JSON", "give one")
        print_line((_template() if template else _tables()).rstrip("\n"))
        return
    from questream.settings import masked

    settings = load(config, set_)
    if as_json:
        print_json(masked(settings))
        return
    for line in _toml_lines(settings):
        print_line(line)


def _template() -> str:
    from questream.settings.template import render_template

    return render_template()


def _tables() -> str:
    from questream.settings.table import render_tables

    return render_tables()


def _toml_lines(settings: Settings) -> Iterator[str]:
    from questream.settings import masked

    shown = masked(settings)
    for key, value in shown.items():
        if not isinstance(value, dict):
            yield _assignment(key, value)
    for group, values in shown.items():
        if not isinstance(values, dict):
            continue
        yield ""
        yield f"[{group}]"
        for key, value in values.items():
            yield from _group_line(settings, group, key, value)


def _group_line(settings: Settings, group: str, key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (_assignment(f"{key}.{name}", inner) for name, inner in value.items())
        return
    line = _assignment(key, value)
    if (group, key) == ("clusters", "threshold") and value is None:
        line += f" {settings.clusters.effective_threshold:g}, from granularity"
    yield line


def _assignment(key: str, value: Any) -> str:
    # JSON's texts, numbers, truth values and lists are TOML's too.
    return f"# {key} =" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}"
