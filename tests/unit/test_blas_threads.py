"""Products of matrices take one thread in processes that share a machine with workers."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import uvicorn
from threadpoolctl import threadpool_info, threadpool_limits

from questream.server import starting
from questream.settings import Settings
from questream.watch import watcher
from questream.watch.watcher import Watcher


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("process", ["the server", "the process that publishes events"])
def test_one_thread_multiplies_where_workers_run_beside(process: str) -> None:
    seen: list[set[int]] = []
    settings = Settings.model_validate({"serve": {"port": 0}})
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        if process == "the server":
            run = patch.object(uvicorn.Server, "run", lambda *_, **__: seen.append(threads()))
            with run, patch("questream.server.starting.signal.signal"):
                starting.serve(settings)
        else:
            with patch.object(watcher, "run_sessions", lambda *_: seen.append(threads())):
                Watcher(settings).run()
        assert threads() == before
    assert seen == [{1}]
