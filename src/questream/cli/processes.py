"""`questream run` with `model.processes`: the exit code of several workers, and each one's process."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection

import typer

from questream.cli.failures import report
from questream.cli.run import Stopper
from questream.cli.streams import open_streams
from questream.errors import ExitCode
from questream.logs import Redactor, configure_logging, secrets_of
from questream.settings import Settings
from questream.stream.processes import run_around_model, run_beside_owner


def run_processes(settings: Settings, stopper: Stopper) -> None:
    """As `run_around_model`, until a signal. Raises typer.Exit with the exit code of the first worker that failed."""
    code = run_around_model(settings, _work, lambda processes: stopper.stop_on_signal(processes, processes.kill))
    if code:
        raise typer.Exit(code)


def _work(settings: Settings, connection: Connection) -> None:
    """The child: a worker whose model the parent has."""
    # Ctrl-C reaches the whole terminal: the parent alone decides when to stop. Nothing is in hand yet.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(ExitCode.OK))
    open_streams()
    configure_logging(settings.log, Redactor(secrets_of(settings)))
    code: int = ExitCode.OK
    try:
        run_beside_owner(settings, connection)
    except Exception as error:
        code = report(error)
    # Python's own shutdown is not interrupted: the exit code is that of the worker.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)
