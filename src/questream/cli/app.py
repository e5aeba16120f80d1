"""The command line as a whole: its commands, and what becomes of an error."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from questream.cli.ask import ask
from questream.cli.bench import bench
from questream.cli.bench_clients import bench_clients
from questream.cli.bench_corrections import corrections
from questream.cli.bench_events import bench_events
from questream.cli.bench_gpu import bench_gpu
from questream.cli.bench_latency import bench_latency
from questream.cli.bench_mails import bench_mails
from questream.cli.bench_mirror import bench_mirror
from questream.cli.bench_peers import bench_peers
from questream.cli.bench_quality import quality
from questream.cli.bench_scale import bench_scale
from questream.cli.bench_scan import bench_scan
from questream.cli.bench_serve import bench_serve
from questream.cli.bench_start import bench_start
from questream.cli.calibrate import calibrate
from questream.cli.config import show_config
from questream.cli.dead_letters import dead_letters
from questream.cli.decisions import undo
from questream.cli.demo import demo
from questream.cli.doctor import doctor
from questream.cli.evaluate import evaluate
from questream.cli.events import events
from questream.cli.export import export
from questream.cli.failures import report
from questream.cli.intents import intents
from questream.cli.marks import clusters
from questream.cli.mcp import mcp
from questream.cli.members import members
from questream.cli.migrate import migrate
from questream.cli.namespaces import namespaces
from questream.cli.options import expand_setting_flags
from questream.cli.output import print_line
from questream.cli.produce import produce
from questream.cli.recovery import restore, verify
from questream.cli.run import run
from questream.cli.serve import serve, serve_token
from questream.cli.suggestions import suggestions
from questream.cli.tail import tail
from questream.cli.topics import topics
from questream.cli.train import train
from questream.errors import ExitCode, SettingsError
from questream.settings.process import share_cores

# What Python puts in the place of a byte of an argument that it cannot read.
_HALF = re.compile("[\ud800-\udfff]")
EPILOG = "\n\n".join(["Exit codes:", *(f"{code.value:>3}  {code.meaning}" for code in ExitCode)])

COMMANDS: dict[str, Callable[..., object] | typer.Typer] = {
    "run": run,
    "demo": demo,
    "doctor": doctor,
    "config": show_config,
    "topics": topics,
    "produce": produce,
    "tail": tail,
    "ask": ask,
    "clusters": clusters,
    "events": events,
    "namespaces": namespaces,
    "suggestions": suggestions,
    "intents": intents,
    "undo": undo,
    "serve": serve,
    "serve-token": serve_token,
    "mcp": mcp,
    "dead-letters": dead_letters,
    "evaluate": evaluate,
    "export": export,
    "train": train,
    "verify": verify,
    "restore": restore,
    "migrate": migrate,
    "calibrate": calibrate,
    "bench": bench,
}
clusters.command("members")(members)
bench.command("quality")(quality)
bench.command("events")(bench_events)
bench.command("clients")(bench_clients)
bench.command("gpu")(bench_gpu)
bench.command("latency")(bench_latency)
bench.command("mails")(bench_mails)
bench.command("mirror")(bench_mirror)
bench.command("peers")(bench_peers)
bench.command("scale")(bench_scale)
bench.command("scan")(bench_scan)
bench.command("serve")(bench_serve)
bench.command("start")(bench_start)
bench.command("corrections")(corrections)


@functools.cache
def command_tree(*names: str) -> Callable[..., Any]:
    """`questream` with these of its `COMMANDS`.

    Typer makes it out of their functions, which for all of them takes longer than most take to run.
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
        command = COMMANDS[name]
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return typer.main.get_command(app)


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
