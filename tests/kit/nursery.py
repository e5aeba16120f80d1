"""A process that forks others: a module runs in a child that has imported already what the module imports.

`python -m tests.kit.nursery SOCKET MODULE...` imports the modules, then listens. A connection asks once: a line of JSON
with `module`, `arguments`, `environment` and `folder`, and the file descriptors of the child's stdout and stderr. The
answer is the child's process id with a descriptor of it (pidfd), and later how it ended, as `subprocess` writes it. The
child is what `python -m MODULE ARGUMENT...` is, but for the seed of its hashes, which all children of a nursery share.
It leads a session of its own, reads nothing on stdin, and dies with the connection and with the nursery.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
from dataclasses import dataclass

import numpy

REQUEST_BYTES = 1 << 20
ANSWER = struct.Struct("=q")

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child is to run, in its own words: `python -m module arguments`, in `folder`."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str


@dataclass(frozen=True, slots=True)
class Child:
    """A child that runs, seen from the nursery: the caller holds the other end of the connection."""

    pid: int
    pidfd: int
    connection: socket.socket


class Nursery:
    """The nursery's side: one thread, which must stay the only one, for only that one is in a child."""

    def __init__(self, path: str) -> None:
        self._selector = selectors.DefaultSelector()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(64)
        self._selector.register(listener, selectors.EVENT_READ)

    def next_birth(self) -> Birth:
        """Serve until a child is asked for; returns in the child alone."""
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, Child):
                    self._look_after(key.data, ended=key.fd == key.data.pidfd)
                    # It may be in the list a second time.
                    break
                birth = self._ask(key.fileobj)
                if birth is not None:
                    return birth

    def _ask(self, listener: object) -> Birth | None:
        assert isinstance(listener, socket.socket)
        connection, _ = listener.accept()
        request, descriptors = b"", list[int]()
        while not request.endswith(b"\n"):
            part, received, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 2)
            descriptors += received
            if not part:
                connection.close()
                return None
            request += part
        nursery, (stdout, stderr) = os.getpid(), descriptors
        pid = os.fork()
        if pid == 0:
            self._leave(connection, stdout, stderr, nursery)
            return Birth(**json.loads(request))
        os.close(stdout)
        os.close(stderr)
        child = Child(pid, os.pidfd_open(pid), connection)
        socket.send_fds(connection, [ANSWER.pack(pid)], [child.pidfd])
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)
        self._selector.register(connection, selectors.EVENT_READ, child)
        return None

    def _look_after(self, child: Child, *, ended: bool) -> None:
        """Kill a child whose connection was closed; report how a child ended."""
        if not ended:
            self._selector.unregister(child.connection)
            os.kill(child.pid, signal.SIGKILL)
            return
        # Before its process id is free for another: nothing that it started outlives it. A child that was killed at
        # once leads no group yet.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        # Nobody may wait for it any more.
        with contextlib.suppress(OSError):
            child.connection.send(ANSWER.pack(os.waitstatus_to_exitcode(status)))
        if child.connection in self._selector.get_map():
            self._selector.unregister(child.connection)
        child.connection.close()
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)

    def _leave(self, connection: socket.socket, stdout: int, stderr: int, nursery: int) -> None:
        """Become a process of its own, which has nothing of the nursery open."""
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery:
            os.kill(os.getpid(), signal.SIGKILL)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.close(stdout)
        os.close(stderr)
        connection.close()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._selector.close()


def main(path: str, modules: list[str]) -> None:
    """Serve; in a child, be the module that was asked for."""
    for module in modules:
        importlib.import_module(module)
    # The collector of a child must not touch, and so copy, what it has in common with the others.
    gc.collect()
    gc.freeze()
    birth = Nursery(path).next_birth()
    os.environ.clear()
    os.environ.update(birth.environment)
    os.chdir(birth.folder)
    # Python sows the seeds of its own generator anew after a fork; NumPy does not.
    numpy.random.seed()
    sys.argv = [birth.module, *birth.arguments]
    if birth.module in modules:
        # Its imports are what is wanted: it runs under the name `__main__`.
        del sys.modules[birth.module]
    runpy.run_module(birth.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
