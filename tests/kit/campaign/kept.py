"""A worker that somebody keeps alive, as Kubernetes and systemd do."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tests.kit.servers import Link
from tests.kit.stream import WorkerProcess

RESTART_SECONDS = 0.5
# SIGTERM finishes the batch in hand, which waits for a store or a broker that may be gone.
STOP_SECONDS = 60.0
# Each check waits for the records that a dead worker left unpublished.
LEFT_BEHIND_SECONDS = 3.0


class KeptWorker:
    """Started again however it ends. `exits` counts the exit codes of ends that nobody asked for.

    `to_broker` and `to_store` are the paths that it alone takes; the latter is None where Sentinel names the store.
    `store_paths` is as in WorkerProcess.
    """

    def __init__(
        self,
        folder: Path,
        overrides: dict[str, Any],
        to_broker: Link,
        to_store: Link | None,
        store_paths: Mapping[str, str],
    ) -> None:
        self._clock = folder / f"clock-{to_broker.port}"
        self.process = WorkerProcess(
            folder, overrides, clock=self._clock, left_behind_seconds=LEFT_BEHIND_SECONDS, store_paths=store_paths
        )
        self.to_broker = to_broker
        self.to_store = to_store
        self.exits: Counter[int] = Counter()
        # Held by a thread that ends the process on purpose.
        self._hands = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{self.process.name}", daemon=True)

    def __enter__(self) -> Self:
        self.process.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.process.kill()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """SIGKILL; it is down meanwhile and started again after. What it had started is left to itself meanwhile."""
        with self._hands:
            self.process.signal(signal.SIGKILL)
            yield
            self.process.kill()
            self.process.start()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGTERM; it is down meanwhile and started again after. Fails if it does not end in `STOP_SECONDS`."""
        with self._hands:
            if self.process.running:
                self.process.signal(signal.SIGTERM)
                self.process.wait(STOP_SECONDS)
            self.process.kill()
            yield
            self.process.start()

    @contextmanager
    def led_to(self, redis_url: str) -> Iterator[None]:
        """Stopped and started with another Redis; stopped again and started with its own after."""
        with self.stopped():
            self.process.overrides["redis.url"], own = redis_url, self.process.overrides["redis.url"]
        try:
            yield
        finally:
            with self.stopped():
                self.process.overrides["redis.url"] = own

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT after."""
        with self._hands:
            self.process.signal(signal.SIGSTOP)
            yield
            self.process.signal(signal.SIGCONT)

    @contextmanager
    def clock_ahead(self, seconds: float) -> Iterator[None]:
        """Its clock jumps, and jumps back after."""
        self._clock.write_text(str(seconds))
        yield
        self._clock.write_text("0")

    def _keep(self) -> None:
        while not self._ended.wait(0.1):
            if not self._hands.acquire(blocking=False):
                continue
            try:
                if not self.process.running:
                    with suppress(AssertionError):
                        self.exits[self.process.wait(1)] += 1
                    self.process.kill()
                    self._ended.wait(RESTART_SECONDS)
                    self.process.start()
            finally:
                self._hands.release()
