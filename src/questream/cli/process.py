"""The command as a process: its streams, its interrupts, its end. Imports little, so that Ctrl-C works at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from questream.cli.streams import close_streams, open_streams
from questream.interrupts import INTERRUPTED, Interrupts

_FAILED = 1
_LONGEST_END_SECONDS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; ends with SystemExit and an `ExitCode`.

    Without them the command is that of the process, which ends with it.
    """
    if arguments is None:
        _run_process()
    sys.exit(_run(arguments))


def _run_process() -> NoReturn:
    interrupts, code = Interrupts(_run.__code__), _FAILED
    try:
        interrupts.install()
        sys.unraisablehook = _report_unraisable
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        if interrupts.settle():
            # Also where the command lost it, and ended by something else.
            code = INTERRUPTED
        # The command has ended; what Python still does to end itself needs no traceback when it is cut short.
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, lambda *_: os._exit(code))
    # A thread that is waited for may itself wait without end.
    signal.alarm(_LONGEST_END_SECONDS)
    _end(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        open_streams()
        from questream.cli.app import run_command
        from questream.cli.failures import report_unwritten_stdout

        code = run_command(arguments)
        failed = close_streams()
    except KeyboardInterrupt:
        return INTERRUPTED
    if failed is None:
        return code
    report_unwritten_stdout(failed)
    return code or _FAILED


def _end(code: int) -> NoReturn:
    """End as Python does, but for its own taking apart, which takes seconds once torch is imported.

    An interrupt that fell into an `exec`, as `dataclasses` uses it, CPython remembers, and ends itself by the signal
    though it was caught. A thread that comes back from C++ while Python is taken apart aborts the process: "terminate
    called without an active exception" (PyThread_exit_thread, https://github.com/python/cpython/issues/87135).
    """
    # Before the wait for threads: the alarm that ends it flushes nothing.
    close_streams()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that somebody waits for
    atexit._run_exitfuncs()
    close_streams()
    os._exit(code)


def _report_unraisable(ignored: sys.UnraisableHookArgs) -> None:
    """An interrupt that fell into a callback, where Python drops it, comes once more, and is no error to report."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
