"""One server process that a test starts, stops, kills, pauses and starts again on the same port with the same data."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from questream.embedded import start_tied

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections: while a killed server is down, a client that
# tries again and again to reach it could otherwise be given its port, connect to itself, and keep the server out.
_PORTS = range(20_000, 32_000)
_given_ports: set[int] = set()


class MissingServer(Exception):
    """What a server needs is not on this machine; the message says what."""


class ServerFailed(Exception):
    """A server ended or did not answer in time; the message carries the end of its log."""


class Server(ABC):
    """A child process in `folder`, which holds its data and its log; it dies with this process, however that ends."""

    start_seconds: ClassVar[float] = 60.0
    stop_seconds: ClassVar[float] = 30.0

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """True if this very server, and not another on its port, answers a client."""

    @property
    def pid(self) -> int:
        """Process id of the running server; raises ServerFailed if it does not run."""
        if self._pid is None:
            raise ServerFailed(f"{self} does not run")
        return self._pid

    @property
    def runs_here(self) -> bool:
        """True if it is a child of this process; where it is not, `kill` leaves it alone."""
        return self._process is not None

    def start(self) -> None:
        """Start and wait until it answers; raises ServerFailed after `start_seconds`, or when it ends."""
        if self._process is not None:
            raise ServerFailed(f"{self} runs already")
        with self.log.open("ab") as output:
            self._process = start_tied(self.command(), output)
            self._pid = self._process.pid
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end in good order (SIGTERM) and wait; raises ServerFailed after `stop_seconds`. Idempotent."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"{self} did not end within {self.stop_seconds:.0f} s of SIGTERM") from None
        self._forget(self._process)

    def kill(self) -> None:
        """Kill it at once (SIGKILL), as a crash would. Idempotent."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._forget(self._process)

    def restart(self) -> None:
        """Stop in good order and start again; after `kill`, start again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to be a client of it; the server itself stays with the process that started it."""
        return vars(self) | {"_process": None}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        # No good order: nobody reads the data of a test that has ended.
        self.kill()

    def __str__(self) -> str:
        return f"{type(self).__name__} in {self.folder}"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed(f"{self} does not run")
        return self._process

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        self._process = self._pid = None

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self.answers():
            if process.poll() is not None:
                raise ServerFailed(f"{self} ended with code {process.returncode}:\n{self.end_of_log()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self} did not answer in {self.start_seconds:.0f} s:\n{self.end_of_log()}")
            time.sleep(0.02)

    def end_of_log(self) -> str:
        """The last lines it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def needed_program(name: str, remedy: str) -> str:
    """Path of a program on PATH; raises MissingServer with the remedy if there is none."""
    path = shutil.which(name)
    if path is None:
        raise MissingServer(f"{name} is not on PATH; {remedy}")
    return path


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, that no client is given, and that no call returned before.

    Another process that calls this is not given the port while this one lives, also where no server listens on it yet.
    """
    while True:
        port = random.choice(_PORTS)
        if port not in _given_ports and _reserve(port) and _can_bind(port):
            _given_ports.add(port)
            return port


def listens(port: int) -> bool:
    """True if a process accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _reserve(port: int) -> bool:
    try:
        # The byte of this number: such a lock ends with the process, and its children do not have it.
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@functools.cache
def _reservations() -> IO[bytes]:
    return (Path(tempfile.gettempdir()) / f"questream-test-ports-{os.getuid()}").open("ab")


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
