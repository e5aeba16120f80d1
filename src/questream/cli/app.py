"""The command line as a whole: its commands, and what becomes of an error."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from questream.cli.failures import report
from questream.cli.options import expand_setting_flags
from questream.cli.output import print_line
from questream.errors import ExitCode, SettingsError
from questream.settings.process import share_cores

# Python's replacement for a byte of an argument that it cannot read.
_HALF = re.compile("[\ud800-\udfff]")
EPILOG = "\n\n".join(["Exit codes:", *(f"{code.value:>3}  {code.meaning}" for code in ExitCode)])

# The function or group of each command, `module:name` of this package: imported where the command is given.
COMMANDS = {
    "run": "run:run",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "config": "config:show_config",
    "topics": "topics:topics",
    "produce": "produce:produce",
    "tail": "tail:tail",
    "ask": "ask:ask",
    "clusters": "clusters:clusters",
    "events": "events:events",
    "namespaces": "namespaces:namespaces",
    "suggestions": "suggestions:suggestions",
    "intents": "intents:intents",
    "undo": "decisions:undo",
    "serve": "serve:serve",
    "serve-token": "serve:serve_token",
    "mcp": "mcp:mcp",
    "dead-letters": "dead_letters:dead_letters",
    "evaluate": "evaluate:evaluate",
    "export": "export:export",
    "train": "train:train",
    "verify": "recovery:verify",
    "restore": "recovery:restore",
    "migrate": "migrate:migrate",
    "calibrate": "calibrate:calibrate",
    "bench": "bench:bench",
}
# Modules of this package that add commands to a group when they are imported, in the order of its help.
_ADDITIONS = {
    "clusters": ("decisions", "binding", "marks", "merging", "members"),
    "bench": (
        "bench_quality",
        "bench_events",
        "bench_clients",
        "bench_gpu",
        "bench_latency",
        "bench_mails",
        "bench_mirror",
        "bench_peers",
        "bench_scale",
        "bench_scan",
        "bench_serve",
        "bench_start",
        "bench_corrections",
    ),
}


@functools.cache
def command_tree(*names: str) -> Callable[..., Any]:
    """`questream` with these of its `COMMANDS`.

    All of them take longer to import, and to be made a tree by Typer, than most take to run.
    """
    app = typer.Typer(
        name="questream",
        help="Real-time question clustering for Kafka: questions in, the id of the cluster that means the same out.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name in names:
        command = _load(name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return typer.main.get_command(app)


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    for other in _ADDITIONS.get(name, ()):
        import_module(f"questream.cli.{other}")
    return getattr(import_module(f"questream.cli.{module}"), attribute)


def run_command(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns its exit code. Its errors are printed by then."""
    share_cores()
    try:
        given = expand_setting_flags(_decoded(arguments))
        names = given[:1] if given and given[0] in COMMANDS else COMMANDS
        command_tree(*names)(args=given, prog_name="questream")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        return report(error)
    return ExitCode.OK


def _decoded(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments; raises SettingsError for one that the system's encoding cannot read, unless it names a file."""
    for number, argument in enumerate(arguments, 1):
        if not argument.isascii() and _HALF.search(argument) and not os.path.lexists(argument):
            encoding = sys.getfilesystemencoding().upper()
            raise SettingsError(f"argument {number} holds bytes that are not {encoding}", "write it in that encoding")
    return arguments


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print_line(f"questream {version('questream')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass
