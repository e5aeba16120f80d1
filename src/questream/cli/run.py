"""`questream run`: the worker."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from questream.cli.options import ConfigOption, SetOption, load_with_logs
from questream.cli.output import remark
from questream.interrupts import call_apart

if TYPE_CHECKING:
    from questream.settings import Settings

logger = logging.getLogger(__name__)

_EMBEDDED_PARTITIONS = 4


def run(
    config: ConfigOption = None,
    set_: SetOption = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Start an embedded broker and store, whose data are deleted at the end.")
    ] = False,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C, which let it finish its batch; a second signal ends it at once.

    Example: questream run --config questream.toml
    """
    stopper = Stopper()
    settings = load_with_logs(config, set_)
    if not embedded:
        _run(settings, stopper)
        return
    with _embedded_servers(settings) as changed:
        _run(changed, stopper)


class Stoppable(Protocol):
    """A worker, or another process that has something in hand."""

    def stop(self) -> None:
        """Finish what is in hand; safe from any thread."""


class Stopper:
    """Turns signals into a graceful stop. Before there is a worker nothing is in hand: the process just ends."""

    def __init__(self) -> None:
        self._worker: Stoppable | None = None
        self._at_once: Callable[[], None] = lambda: None
        self._signals = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def stop_on_signal(self, worker: Stoppable, at_once: Callable[[], None] = lambda: None) -> None:
        """From now on a first signal stops this worker, and a second one calls `at_once` before the process ends."""
        self._worker, self._at_once = worker, at_once

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        if self._worker is None:
            os._exit(0)
        if self._signals > 1:
            # Records that are not committed are replayed at the next start.
            self._at_once()
            os._exit(128 + number)
        call_apart(self._worker.stop)


def _run(settings: Settings, stopper: Stopper) -> None:
    if settings.model.processes == 1:
        _run_worker(settings, stopper)
    else:
        from questream.cli.processes import run_processes

        run_processes(settings, stopper)


def _run_worker(settings: Settings, stopper: Stopper) -> None:
    from questream.stream.starting import open_port, try_servers

    # Settings and servers are tried before the model is loaded, which takes long.
    health = open_port(settings.metrics)
    try:
        try_servers(settings)
        from questream.encoder import load_encoder, load_judge
        from questream.stream.worker import Worker

        former = settings.model.former_settings
        encoders = load_encoder(settings.model), None if former is None else load_encoder(former)
        judge = load_judge(settings.judge, settings.model.device)
        worker = Worker(settings, *encoders, health=health, judge=judge)
        stopper.stop_on_signal(worker)
        worker.run()
    finally:
        health.close()


@contextmanager
def _embedded_servers(settings: Settings) -> Iterator[Settings]:
    """Yields the settings with servers of this process's own in the place of the user's."""
    from questream.broker.connect import open_admin
    from questream.broker.topics import create_missing, wanted_topics
    from questream.embedded import (
        bundled_model,
        embedded_broker,
        embedded_store,
        for_embedded_broker,
        for_embedded_store,
    )

    with embedded_broker() as bootstrap_servers, embedded_store() as url:
        changed = settings.model_copy(
            update={
                "kafka": for_embedded_broker(settings.kafka, bootstrap_servers),
                "redis": for_embedded_store(settings.redis, url),
                "model": settings.model
                if "name" in settings.model.model_fields_set
                else settings.model.model_copy(update={"name": str(bundled_model())}),
            }
        )
        with open_admin(changed) as admin:
            create_missing(admin, wanted_topics(changed, _EMBEDDED_PARTITIONS, 1, None))
        remark(f"broker {bootstrap_servers}, store {url}; send questions with:")
        remark(f"  questream produce FILE --kafka.bootstrap_servers={bootstrap_servers}")
        yield changed
