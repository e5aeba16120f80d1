"""The command line as a whole: its commands, and what becomes of an error."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from questream.cli.ask import ask
from questream.cli.bench import bench
from questream.cli.bench_quality import quality
from questream.cli.calibrate import calibrate
from questream.cli.clusters import clusters
from questream.cli.config import show_config
from questream.cli.dead_letters import dead_letters
from questream.cli.demo import demo
from questream.cli.doctor import doctor
from questream.cli.evaluate import evaluate
from questream.cli.exit_codes import ExitCode, exit_code_of
from questream.cli.export import export
from questream.cli.migrate import migrate
from questream.cli.options import debugging, expand_setting_flags
from questream.cli.output import print_line, remark
from questream.cli.produce import produce
from questream.cli.recovery import restore, verify
from questream.cli.run import run
from questream.cli.tail import tail
from questream.cli.topics import topics
from questream.cli.train import train
from questream.errors import QuestreamError
from questream.settings.process import share_cores

EPILOG = "\n\n".join(["Exit codes:", *(f"{code.value:>3}  {code.meaning}" for code in ExitCode)])

app = typer.Typer(
    name="questream",
    help="Real-time question clustering for Kafka: questions in, the id of the cluster that means the same out.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run)
app.command("demo")(demo)
app.command("doctor")(doctor)
app.command("config")(show_config)
app.add_typer(topics, name="topics")
app.command("produce")(produce)
app.command("tail")(tail)
app.command("ask")(ask)
app.add_typer(clusters, name="clusters")
app.add_typer(dead_letters, name="dead-letters")
app.command("evaluate")(evaluate)
app.command("export")(export)
app.command("train")(train)
app.command("verify")(verify)
app.command("restore")(restore)
app.command("migrate")(migrate)
app.command("calibrate")(calibrate)
bench.command("quality")(quality)
app.add_typer(bench, name="bench")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; ends with SystemExit and an `ExitCode`.

    `arguments` default to those of the process.
    """
    share_cores()
    try:
        app(args=expand_setting_flags(sys.argv[1:] if arguments is None else arguments), prog_name="questream")
    except QuestreamError as error:
        _report(error)
        sys.exit(exit_code_of(error))
    except Exception as error:
        # A fault of questream's own. Its message may quote what it was working on.
        _report(error)
        sys.exit(ExitCode.FAILED)


def _report(error: Exception) -> None:
    if debugging():
        traceback.print_exc()
    if isinstance(error, QuestreamError):
        for line in str(error).splitlines() or [type(error).__name__]:
            remark(f"questream: {line}")
        return
    # What the system says of a file, a port or a disk quotes no data.
    told = f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__
    remark(f"questream: {told}, a fault of its own; --log.level debug shows where")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print_line(f"questream {version('questream')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass
