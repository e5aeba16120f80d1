"""Workers as processes of their own around the model that this one has, as `model.processes` asks for.

Each worker is a member of the group, with its own partitions, transactions and port; none has the model. The first that
ends ends the others, and its exit code is the command's.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from questream.encoder import Encoder, load_encoder, load_judge
from questream.encoder.sharing.exchange import Exchange
from questream.encoder.sharing.owner import ModelOwner
from questream.encoder.sharing.remote import Channel, portable
from questream.errors import ExitCode, ModelOwnerGone, SettingsError
from questream.interrupts import call_apart, kept_from_children
from questream.settings import Settings
from questream.stream.starting import open_port, try_servers
from questream.stream.worker import Worker

logger = logging.getLogger(__name__)

# The time in which a worker leaves its group, beside the batch in hand.
_LEAVE_SECONDS = 15.0


# The function of a worker's process: it ends with an exit code, once `run_beside_owner` has returned or raised. A
# function of a module, which the process imports by its name.
Main = Callable[[Settings, Connection], None]


class _Child(NamedTuple):
    process: multiprocessing.process.BaseProcess
    connection: Connection


def run_around_model(settings: Settings, main: Main, on_start: Callable[[WorkerProcesses], None]) -> int:
    """Run as many workers as the settings say until they are stopped, or one of them ends; the first bad exit code.

    `on_start` is given what can be stopped. Raises SettingsError where shared memory has no room, what loading the
    models raises and what they raise when they embed.
    """
    try_servers(settings)
    processes = WorkerProcesses(settings, main)
    try:
        # Settings and servers are tried before the model is loaded, which takes long.
        if processes.listen():
            former = settings.model.former_settings
            encoders = [load_encoder(one) for one in (settings.model, former) if one is not None]
            on_start(processes)
            processes.serve(encoders)
    finally:
        processes.close()
    return processes.exit_code


class WorkerProcesses:
    """The workers, as their parent sees them. They end when it does, however it ends."""

    def __init__(self, settings: Settings, main: Main) -> None:
        self._settings = settings
        # spawn: forking a process that has threads and a GPU open deadlocks; and what travels is pickled through a
        # pipe, so that no password is in a list of processes.
        context = multiprocessing.get_context("spawn")
        self._children: list[_Child] = []
        self.exit_code = 0
        for number in range(settings.model.processes):
            connection, childs = context.Pipe()
            process = context.Process(target=main, args=(_settings_of(settings, number), childs), daemon=True)
            with kept_from_children():
                process.start()
            childs.close()
            self._children.append(_Child(process, connection))

    def listen(self) -> bool:
        """True if all have come so far that their ports answer; False where one has ended instead."""
        for child in self._children:
            try:
                child.connection.recv_bytes()
            except (EOFError, OSError):
                child.process.join()
                self._note_end(child.process)
                return False
        return True

    def serve(self, encoders: Sequence[Encoder]) -> None:
        """Give the models to all, and embed for them until all have ended."""
        owner = ModelOwner(encoders)
        try:
            for child in self._children:
                exchange = self._exchange(encoders)
                owner.admit(child.connection, exchange)
                try:
                    child.connection.send((exchange, [portable(encoder) for encoder in encoders]))
                except OSError:
                    logger.debug("a worker process has ended before it had the model")
            logger.info("worker processes started", extra={"pids": [child.process.pid for child in self._children]})
            running = [child.process for child in self._children]
            while running:
                owner.turn([process.sentinel for process in running])
                running = self._still_running(running)
        finally:
            owner.close()

    def stop(self) -> None:
        """Have all finish what they have in hand."""
        for child in self._children:
            child.process.terminate()

    def kill(self) -> None:
        """End all at once."""
        for child in self._children:
            child.process.kill()

    def close(self) -> None:
        """End those that still run: what they have in hand cannot be embedded any more."""
        self.stop()
        deadline = time.monotonic() + _end_seconds(self._settings)
        for child in self._children:
            child.connection.close()
            child.process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def _exchange(self, encoders: Sequence[Encoder]) -> Exchange:
        settings = self._settings
        tokens = max(settings.batch_tokens, *(encoder.max_tokens for encoder in encoders))
        dimension = max(encoder.dimension for encoder in encoders)
        try:
            return Exchange.create(settings.batch_questions, tokens, dimension)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise SettingsError(
                f"shared memory (/dev/shm) has no room for model.processes = {settings.model.processes} with "
                f"batch_questions = {settings.batch_questions}",
                "give the container more of it (shm_size), or set fewer of them",
            ) from error

    def _still_running(
        self, running: Sequence[multiprocessing.process.BaseProcess]
    ) -> list[multiprocessing.process.BaseProcess]:
        ended = [process for process in running if process.exitcode is not None]
        for process in ended:
            self._note_end(process)
        if ended:
            self.stop()
        return [process for process in running if process not in ended]

    def _note_end(self, process: multiprocessing.process.BaseProcess) -> None:
        code = process.exitcode or 0
        if code:
            logger.error("a worker process failed, which ends all", extra={"pid": process.pid, "exit_code": code})
        # By a signal: as a shell reports it.
        self.exit_code = self.exit_code or (code if code >= 0 else 128 - code)


def _settings_of(settings: Settings, number: int) -> Settings:
    """The settings of a worker of its own, beside the others of the same process."""
    metrics, kafka = settings.metrics, settings.kafka
    if metrics.port:
        metrics = metrics.model_copy(update={"port": metrics.port + number})
    if kafka.worker_id is not None:
        kafka = kafka.model_copy(update={"worker_id": f"{kafka.worker_id}-{number}"})
    return settings.model_copy(update={"metrics": metrics, "kafka": kafka})


def _end_seconds(settings: Settings) -> float:
    return settings.shutdown_seconds + settings.kafka.call_deadline_seconds + _LEAVE_SECONDS


def run_beside_owner(settings: Settings, connection: Connection) -> None:
    """Run a worker in a child process, whose model the process at the other end of the connection has.

    Raises ModelOwnerGone where that has ended, and what `Worker.run` raises.
    """
    health = open_port(settings.metrics)
    try:
        connection.send_bytes(b"listening")
        try:
            exchange, known = connection.recv()
        except (EOFError, OSError):
            # The parent says why there is no model.
            os._exit(ExitCode.FAILED)
        exchange.forget_name()
        channel = Channel(connection, exchange)
        encoder, *former = [channel.encoder(model, its) for model, its in enumerate(known)]
        judge = load_judge(settings.judge, settings.model.device)
        worker = Worker(settings, encoder, former[0] if former else None, health, judge)
        # A second one ends nothing: a service manager signals parent and children alike, and the parent passes it on.
        signal.signal(signal.SIGTERM, lambda *_: call_apart(worker.stop))
        parent = multiprocessing.parent_process()
        assert parent is not None  # noqa: S101 - this is a child
        threading.Thread(target=_stop_with, args=(parent, worker, settings), name="parent", daemon=True).start()
        worker.run()
        if not parent.is_alive():
            raise ModelOwnerGone
    finally:
        health.close()


def _stop_with(parent: multiprocessing.process.BaseProcess, worker: Worker, settings: Settings) -> None:
    parent.join()
    worker.stop()
    # Where even stopping hangs, nobody is left to kill it.
    time.sleep(_end_seconds(settings))
    os._exit(ExitCode.FAILED)
