"""The messages of commands that fail: known errors in words, faults of questream itself by their type."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Sequence

from questream.cli.options import debugging
from questream.cli.output import remark
from questream.cli.streams import close_streams
from questream.errors import ExitCode, Problem, QuestreamError, policy_of

_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def report(error: Exception) -> int:
    """Print on stderr what failed; returns the exit code."""
    if debugging():
        traceback.print_exc()
    if isinstance(error, OSError) and (failed := close_streams()) is not None:
        report_unwritten_stdout(failed)
        return ExitCode.FAILED
    for problem in _problems(error):
        for line in str(problem).splitlines() or [type(error).__name__]:
            remark(f"questream: {line}")
    return int(policy_of(error).exit_code)


def report_unwritten_stdout(error: OSError) -> None:
    """Print that stdout could not be written, unless its reader closed it."""
    if error.errno != errno.EPIPE:
        remark(f"questream: stdout cannot be written: {error.strerror}")


def _problems(error: Exception) -> Sequence[Problem]:
    match error:
        case QuestreamError():
            return error.problems
        case OSError():
            return [_of_the_system(error)]
        case MemoryError():
            return [Problem("there is not enough memory")]
        case ImportError(name=str(name)):
            return [Problem(f"the package {name} is missing or broken", "install it again: make setup EXTRAS=dev")]
    library = type(error).__module__.split(".")[0]
    if library in ("kafka", "redis"):
        # Not its message, which may quote what was sent.
        what = f"{library.title()} failed a call: {type(error).__name__}"
        return [Problem(what, "questream doctor looks for the cause")]
    return [Problem(f"{type(error).__name__}, a fault of its own", "--log.level debug shows where")]


def _of_the_system(error: OSError) -> Problem:
    """An error of the system about a file, a port or a disk; its message quotes no data."""
    said = error.strerror or os.strerror(error.errno or errno.EIO)
    if error.errno in _TOO_MANY_FILES:
        return Problem(
            f"{said.lower()}: this process may not have more open at once", "raise the limit with: ulimit -n"
        )
    at = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    if error.errno in _NO_SPACE:
        return Problem(f"{at}{said}", "make room, or name a temporary folder elsewhere with TMPDIR")
    if "temporary directory" in said:
        return Problem(said, "make one of them writable, or name another with TMPDIR")
    return Problem(f"{at}{said}")
