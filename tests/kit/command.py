"""Run the command `questream` in this process, as a user would in a shell."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from questream.cli import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout; where there is none, the failure has the command's messages instead."""
        assert self.out, f"exit code {self.code}: {self.err}"
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        """The JSON documents on stdout, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


def questream(*arguments: str) -> Outcome:
    """Run `questream ARGUMENTS...`; logging is as before when it returns."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with _unchanged_logging(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
    return Outcome(int(code or 0), out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _unchanged_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    clients = [
        logging.getLogger(name) for name in ("questream", "kafka", "redis", "urllib3", "httpx", "httpx2", "httpcore")
    ]
    clients.append(logging.getLogger("huggingface_hub"))
    before = [(client, client.level, client.propagate, client.handlers[:]) for client in clients]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for client, client_level, propagate, client_handlers in before:
            client.setLevel(client_level)
            client.propagate = propagate
            client.handlers[:] = client_handlers
        logging.captureWarnings(False)
        logging.raiseExceptions = True
