"""`questream doctor`: is everything there that a worker needs?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, printable
from questream.errors import ExitCode

if TYPE_CHECKING:
    from questream.tools.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def doctor(config: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Check settings, Kafka, Redis and model, a line each with the remedy; exit code 1 if one of them fails.

    Example: questream doctor --config questream.toml
    """
    findings = []
    for finding in _findings(config, set_):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def _findings(config: Path | None, set_: list[str] | None) -> Iterator[Finding]:
    from questream.errors import SettingsError
    from questream.tools.doctor import Finding, diagnose, failures

    try:
        settings = load(config, set_)
    except SettingsError as error:
        yield from failures("settings", error, "questream config --template shows every key")
        return
    yield Finding("settings", "ok", f"delivery {settings.delivery}, namespace {settings.clusters.namespace}")
    yield from diagnose(settings)


def _print(finding: Finding) -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text()
    line.append(f"{finding.status:<8}", style=_COLOURS[finding.status])
    line.append(f"{finding.check}: ", style="bold")
    line.append(printable(finding.told))
    if finding.remedy:
        line.append(f" -> {printable(finding.remedy)}", style="cyan")
    Console(highlight=False, soft_wrap=True).print(line)
    sys.stdout.flush()
