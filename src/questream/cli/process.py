"""The command as a process: its streams, its interrupts, its end. Imports little, so that Ctrl-C works at once."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from questream.cli.streams import close_streams, open_streams

_FAILED = 1
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; ends with SystemExit and an `ExitCode`.

    `arguments` default to those of the process.
    """
    code = _FAILED
    try:
        open_streams()
        if arguments is None:
            _handle_interrupts()
        code = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    finally:
        if arguments is None and threading.current_thread() is threading.main_thread():
            # The command has ended; what Python still does to end itself needs no traceback when it is cut short.
            signal.signal(signal.SIGINT, lambda *_: os._exit(code))
    if arguments is None and (code == _INTERRUPTED or _is_at_work()):
        _end_at_once(code)
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    from questream.cli.app import run_command
    from questream.cli.failures import report_unwritten_stdout

    code = run_command(arguments)
    failed = close_streams()
    if failed is None:
        return code
    report_unwritten_stdout(failed)
    return code or _FAILED


def _is_at_work() -> bool:
    """True if daemon threads still run, such as one that loads a model."""
    return any(one.daemon for one in threading.enumerate())


def _end_at_once(code: int) -> NoReturn:
    """End as Python does, but for its own taking apart.

    An interrupt that fell into an `exec`, as `dataclasses` uses it, CPython remembers, and ends itself by the signal
    though it was caught. A thread that comes back from C++ while Python is taken apart aborts the process: "terminate
    called without an active exception" (PyThread_exit_thread, https://github.com/python/cpython/issues/87135).
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that somebody waits for
    atexit._run_exitfuncs()
    close_streams()
    os._exit(code)


def _handle_interrupts() -> None:
    # A shell without job control starts what runs beside it with SIGINT ignored, and Python leaves it so.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """An interrupt that fell into a callback, where Python drops it, comes once more."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(ignored)
