"""Processes of ours that a nursery forks: they start in milliseconds, for what they import is imported already."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import questream
from questream.embedded import start_tied
from tests.kit.child import own_environment
from tests.kit.nursery import ANSWER

FORKS = hasattr(os, "pidfd_open")
_ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0
_MODULES = (
    "tests.kit.worker_process",
    "tests.kit.watcher_process",
    # What each worker imports only when it runs.
    "questream.broker.confluent.connect",
    "questream.broker.kafka_python.connect",
    "graspologic_native",
    "scipy.sparse.csgraph",
)


class Forked:
    """A forked child, with what `subprocess.Popen` has; it dies with this process, or when `stdin` is closed."""

    def __init__(self, connection: socket.socket, command: list[str]) -> None:
        self.stdin = connection
        self.returncode: int | None = None
        self._command = command
        # Several threads may ask at once; the end is reported once.
        self._lock = threading.Lock()
        answer, descriptors, _, _ = socket.recv_fds(connection, ANSWER.size, 1)
        if not answer:
            raise RuntimeError("the nursery died; its log is in the folder of its socket")
        (self.pid,), (self._pidfd,) = ANSWER.unpack(answer), descriptors

    def poll(self) -> int | None:
        """Its exit code, or None while it runs; a signal's number is negative."""
        return self._ended_within(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        self.poll()
        with self._lock:
            if self.returncode is None:
                # It may have ended meanwhile.
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and self._readable_within(seconds):
            with self._lock:
                if self.returncode is None:
                    answer = self.stdin.recv(ANSWER.size)
                    # A nursery that died took its children with it.
                    self.returncode = ANSWER.unpack(answer)[0] if answer else -signal.SIGKILL
                    os.close(self._pidfd)
        return self.returncode

    def _readable_within(self, seconds: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self.stdin, select.POLLIN)
        return bool(waiting.poll(None if seconds is None else 1000 * seconds))


def start_module(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
) -> Forked | subprocess.Popen[bytes]:
    """`python -m module arguments`, dead with this process: forked where a nursery can run, which takes Linux."""
    if FORKS:
        return fork(module, arguments, environment, output)
    return start_tied([sys.executable, "-m", module, *arguments], output, environment)


def fork(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes] | None = None,
) -> Forked:
    """`python -m module arguments` by the nursery of this process, in this folder; `stderr` defaults to `stdout`."""
    request = {"module": module, "arguments": arguments, "environment": dict(environment), "folder": os.getcwd()}
    line = json.dumps(request).encode() + b"\n"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(_nursery())
    sent = socket.send_fds(connection, [line], [stdout.fileno(), (stderr or stdout).fileno()])
    connection.sendall(line[sent:])
    return Forked(connection, [sys.executable, "-m", module, *arguments])


@functools.cache
def _nursery() -> str:
    """The path of its socket; the first call starts it, and it dies with this process."""
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    path = str(folder / "socket")
    # Wherever this process is, what is imported is what it imports itself.
    paths = [str(Path(questream.__file__).parents[1]), str(_ROOT)]
    environment = own_environment() | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    with (folder / "log").open("ab") as log:
        process = start_tied([sys.executable, "-m", "tests.kit.nursery", path, *_MODULES], log, environment)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the nursery does not answer:\n{(folder / 'log').read_text()}")
        time.sleep(0.02)
    # Until this process ends: with the object its pipe would be closed, which is what ties the two.
    atexit.register(_end, process)
    return path


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0
