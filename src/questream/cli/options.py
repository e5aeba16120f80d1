"""The options that commands share, and the settings they lead to."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.errors import SettingsError

if TYPE_CHECKING:
    from questream.logs import Redactor
    from questream.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Settings file; default: QUESTREAM_CONFIG, else ./questream.toml if it exists."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting; `--kafka.group_id NAME` does it too. May be repeated."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]

# Settings of no group, written out: to ask the tree would import it for every command.
ROOT_KEYS = ("delivery", "batch_questions", "batch_tokens", "batch_bytes", "shutdown_seconds")
# A command may load the settings of two streams, and log about both.
_secrets: set[str] = set()
_SETTING_FLAG = re.compile(rf"--([A-Za-z_]+(?:\.[A-Za-z_]+)+|{'|'.join(ROOT_KEYS)})(?:=(.*))?", re.DOTALL)


def expand_setting_flags(arguments: Sequence[str]) -> list[str]:
    """`--kafka.group_id NAME` and `--kafka.group_id=NAME` written as `--set kafka.group_id=NAME`."""
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*expanded, argument, *rest]
        flag = _SETTING_FLAG.fullmatch(argument)
        if flag is None:
            expanded.append(argument)
            continue
        key, value = flag[1], flag[2]
        if value is None:
            value = next(rest, None)
            if value is None:
                raise SettingsError(f"--{key} needs a value")
        expanded += ["--set", f"{key}={value}"]
    return expanded


def load(config: Path | None, assignments: list[str] | None) -> Settings:
    """The settings of a command that reports by itself what fails: it logs warnings only, or all at `log.level` debug.

    Raises SettingsError.
    """
    from questream.logs import configure_logging, configure_quiet_logging
    from questream.settings import load_settings

    settings = load_settings(config, _parse(assignments or []))
    configure = configure_logging if settings.log.level == "debug" else configure_quiet_logging
    configure(settings.log, _redactor(settings))
    return settings


def load_with_logs(config: Path | None, assignments: list[str] | None) -> Settings:
    """The settings of a command that runs on and logs; logging is set up. Raises SettingsError."""
    from questream.logs import configure_logging
    from questream.settings import load_settings

    settings = load_settings(config, _parse(assignments or []))
    configure_logging(settings.log, _redactor(settings))
    return settings


def _redactor(settings: Settings) -> Redactor:
    """Hides the secrets of these settings, and of all that the command has loaded before."""
    from questream.logs import Redactor, secrets_of

    _secrets.update(secrets_of(settings))
    return Redactor(_secrets)


def debugging() -> bool:
    """True if `log.level` is debug."""
    return logging.getLogger("questream").isEnabledFor(logging.DEBUG)


def _parse(assignments: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            # Not quoted: a value without its key may be a secret.
            raise SettingsError("--set needs KEY=VALUE, such as --set clusters.threshold=0.5")
        overrides[key.strip()] = value
    return overrides
