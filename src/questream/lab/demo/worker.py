"""The worker of the demo: `questream run`, as in production, as a child process with settings of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from questream.embedded import EMBEDDED_BROKER_SETTINGS, LOOPBACK, free_port, start_tied
from questream.errors import QuestreamError

_COMMAND = (sys.executable, "-m", "questream", "run")
_PREFIX = "QUESTREAM_"
_STOP_SECONDS = 10.0
_PROBE_SECONDS = 1.0
_SHOWN_LOG_BYTES = 2000


class DemoWorker:
    """`questream run` against the embedded servers; leaving the context stops it, gracefully if it can.

    `settings` are its settings by their path: `{"kafka.bootstrap_servers": "127.0.0.1:9092"}`.
    """

    def __init__(self, bootstrap: str, store_url: str, model: Path, settings: Mapping[str, str]) -> None:
        self._metrics_port = free_port()
        self._settings = {
            "kafka.bootstrap_servers": bootstrap,
            **{f"kafka.{name}": json.dumps(value) for name, value in EMBEDDED_BROKER_SETTINGS.items()},
            "redis.url": store_url,
            "model.name": str(model),
            "metrics.host": LOOPBACK,
            "metrics.port": str(self._metrics_port),
            **settings,
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def metrics_url(self) -> str:
        """The address of its metrics page."""
        return f"http://{LOOPBACK}:{self._metrics_port}/metrics"

    def __enter__(self) -> Self:
        # The user's own settings are for the user's own servers: none of them may lead the demo there.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
        environment[f"{_PREFIX}CONFIG"] = os.devnull
        environment |= {_PREFIX + path.upper().replace(".", "__"): value for path, value in self._settings.items()}
        self._process = start_tied(_COMMAND, self._log, environment)
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            if process.stdin is not None:
                process.stdin.close()
            self._log.close()

    def missing(self) -> str | None:
        """The thing it still waits for, or None when it has its model, its servers and its partitions.

        Raises QuestreamError with the end of its log if it has ended.
        """
        self.check()
        url = f"http://{LOOPBACK}:{self._metrics_port}/readyz"
        try:
            urllib.request.urlopen(url, timeout=_PROBE_SECONDS).close()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.read().decode().strip()
        except OSError:
            return "the model loads"
        return None

    def check(self) -> None:
        """Raise QuestreamError with the end of its log if it has ended."""
        if self._process is None or self._process.poll() is None:
            return
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(self._log.tell() - _SHOWN_LOG_BYTES, 0))
        said = self._log.read().decode(errors="replace").strip()
        raise QuestreamError(f"the worker ended with code {self._process.returncode}:\n{said}")
