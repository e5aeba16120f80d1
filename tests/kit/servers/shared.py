"""One server for all processes of a test run: the first that asks for it starts it, and it ends after the last."""

from __future__ import annotations

import fcntl
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.kit.servers.process import Server

Shared = TypeVar("Shared", bound=Server)


@contextmanager
def shared(folder: Path, build: Callable[[Path], Shared]) -> Iterator[Shared]:
    """The server that the processes of a run share through `folder`; `build(its own folder)` makes it.

    Leaving waits, in the process that started it, until every other has left. Where that process died, and the server
    with it, the next one that enters starts another. Raises what `build` and `start` raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("ab+") as users:
        with (folder / "start").open("ab") as starting:
            fcntl.lockf(starting, fcntl.LOCK_EX)
            known = folder / "server.pickle"
            server: Shared | None = pickle.loads(known.read_bytes()) if known.exists() else None
            if server is None or not server.answers():
                server = build(Path(tempfile.mkdtemp(dir=folder)))
                server.start()
                known.write_bytes(pickle.dumps(server))
            fcntl.lockf(users, fcntl.LOCK_SH)
        try:
            yield server
        finally:
            if server.runs_here:
                fcntl.lockf(users, fcntl.LOCK_EX)
            server.kill()
