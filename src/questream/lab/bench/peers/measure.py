"""The same questions, Kafka to Kafka, through questream and through others: rate, cost, and what a kill -9 does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Protocol, cast

import orjson

import questream
from questream.broker.connect import open_reader
from questream.broker.reading import read_to_end, start_at
from questream.deciding.config import rules_of
from questream.encoder import load_encoder
from questream.errors import QuestreamError
from questream.interrupts import kept_from_children
from questream.lab.bench.machine import cpu_seconds, load_average
from questream.lab.bench.peers.job import Job
from questream.lab.bench.questions import ModelSource
from questream.lab.bench.servers import own_stream
from questream.lab.bench.traffic import Reader, send_all
from questream.lab.bench.worker_process import WorkerProcess
from questream.settings import Settings

_PARTITIONS = 4
_START_SECONDS = 180.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
# Longer than a broker keeps the place of a member that was killed, and its open transaction.
_SILENCE_SECONDS = 100.0
_KILLED_AFTER = 0.25
# A peer's interpreter need not have questream installed; its program uses little of it.
_SOURCE = str(Path(questream.__file__).parents[1])
_ENVIRONMENT = os.environ | {"PYTHONPATH": _SOURCE, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """The figures of one way. `missing` names a package it lacks; all else is None then, as where it did not finish.

    `lost`, `repeated`: records of the second pass, within which the process was killed and started again, without an
    answer, and answers beyond the first of theirs. `other_id` is the share of its questions whose answer names another
    cluster than the same text got in the first pass, and `silent_seconds` the longest time without an answer.
    """

    name: str
    guarantee: str
    missing: str | None = None
    problem: str | None = None
    questions: int | None = None
    questions_per_second: float | None = None
    cpu_microseconds: float | None = None
    clusters: int | None = None
    lost: int | None = None
    repeated: int | None = None
    other_id: float | None = None
    silent_seconds: float | None = None
    load_average: float | None = None


class _Running(Protocol):
    """A process that answers questions."""

    @property
    def pid(self) -> int: ...
    def check(self) -> None: ...
    def kill_and_restart(self) -> None: ...
    def close(self) -> None: ...


class PeerProcess:
    """A peer's program as a process of its own, which ends with this one."""

    def __init__(self, command: Sequence[str], job: Job) -> None:
        self._command = command
        self._job = job
        self._start()

    def _start(self) -> None:
        with kept_from_children():
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=_ENVIRONMENT)  # noqa: S603 - a module of ours
        self._tie = cast(IO[bytes], self._process.stdin)
        self._tie.write(self._job.to_bytes())
        self._tie.flush()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise QuestreamError if it has ended."""
        if self._process.poll() is not None:
            raise QuestreamError(f"it ended with code {self._process.returncode}: its log is above")

    def kill_and_restart(self) -> None:
        """Kill it as SIGKILL does, and start it again."""
        self._process.kill()
        self.close()
        self._start()

    def close(self) -> None:
        """Stop it, by force if it must be."""
        self._tie.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to do it: what it promises of a record, the arguments of its program, and the package that it needs."""

    name: str
    guarantee: str
    arguments: Sequence[str] = ()
    needs: str | None = None

    def start(self, settings: Settings, job: Job, python: Path) -> _Running:
        """Its process. Without arguments it is questream's worker."""
        if self.arguments:
            return PeerProcess([str(python), "-m", *self.arguments], job)
        return WorkerProcess(settings, ModelSource(settings.model))

    def is_installed(self, python: Path) -> bool:
        """True if that interpreter has its package."""
        command = [str(python), "-c", f"import {self.needs or 'sys'}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - a name of ours


_PROGRAMS = "questream.lab.bench.peers"
PEERS = (
    Peer("questream", "exactly-once"),
    Peer("tutorial", "at-least-once", [f"{_PROGRAMS}.tutorial"]),
    Peer("quix", "exactly-once", [f"{_PROGRAMS}.quix"], needs="quixstreams"),
    Peer("quix-batched", "at-least-once", [f"{_PROGRAMS}.quix", "batched"], needs="quixstreams"),
    Peer("bytewax", "none without a disk", [f"{_PROGRAMS}.in_bytewax"], needs="bytewax"),
)


def measure_peers(
    settings: Settings, peers: Sequence[Peer], texts: Sequence[str], python: Path, announce: Callable[[str], None]
) -> Iterator[PeerFigures]:
    """The figures of each of `peers`, one after the other; each answers all of `texts`, and again with a kill.

    The programs of others run in the interpreter `python`.

    Raises QuestreamError if the servers fail.
    """
    encoder = load_encoder(settings.model)
    threshold = rules_of(settings, encoder).threshold
    for peer in peers:
        if not peer.is_installed(python):
            yield PeerFigures(peer.name, peer.guarantee, missing=peer.needs)
            continue
        announce(f"{peer.name}: {len(texts):,} questions")
        with own_stream(settings, _PARTITIONS) as own:
            kafka = own.kafka
            job = Job(
                bootstrap_servers=kafka.bootstrap_servers,
                group_id=kafka.group_id,
                input_topic=kafka.input_topic,
                output_topic=kafka.output_topic,
                model=str(encoder.folder),
                threshold=threshold,
                batch_questions=settings.batch_questions,
                session_seconds=kafka.session_timeout_seconds,
            )
            with closing(peer.start(own, job, python)) as process, Reader(own) as reader:
                yield _measure(peer, _Run(own, process, reader), texts, announce)


def _measure(peer: Peer, run: _Run, texts: Sequence[str], announce: Callable[[str], None]) -> PeerFigures:
    try:
        run.answer("warm", texts[: max(1, len(texts) // 10)])
        seconds, cost = run.timed("first", texts)
        announce(f"{peer.name}: {len(texts):,} questions again, and a kill -9")
        silent = run.answer_killed("second", texts)
    except QuestreamError as error:
        return PeerFigures(peer.name, peer.guarantee, problem=str(error))
    first, second = (run.clusters(name, len(texts)) for name in ("first", "second"))
    both = [(one[0], again[-1]) for one, again in zip(first, second, strict=True) if one and again]
    return PeerFigures(
        name=peer.name,
        guarantee=peer.guarantee,
        questions=len(texts),
        questions_per_second=len(texts) / seconds,
        cpu_microseconds=cost,
        clusters=len({one[0] for one in first if one}),
        lost=sum(not one for one in second),
        repeated=sum(max(0, len(one) - 1) for one in second),
        other_id=sum(one != again for one, again in both) / max(1, len(both)),
        silent_seconds=silent,
        load_average=load_average(),
    )


class _Run:
    """Passes of questions through one process; their ids begin with the name of the pass."""

    def __init__(self, settings: Settings, process: _Running, reader: Reader) -> None:
        self._settings = settings
        self._process = process
        self._reader = reader
        self._sent = 0

    def answer(self, name: str, texts: Sequence[str]) -> None:
        """Send a pass and wait for all its answers. Raises QuestreamError if none comes for long."""
        self._send(name, texts)
        if self._wait(self._sent) < self._sent:
            raise QuestreamError(f"{self._reader.decided:,} of {self._sent:,} were answered, and none for long")

    def timed(self, name: str, texts: Sequence[str]) -> tuple[float, float | None]:
        """`answer`; the seconds that it took, and the process's microseconds a question."""
        before, started = cpu_seconds(self._process.pid), time.perf_counter()
        self.answer(name, texts)
        after = cpu_seconds(self._process.pid)
        cost = None if before is None or after is None else (after - before) / len(texts) * 1e6
        return max(self._reader.seen_at.values()) - started, cost

    def answer_killed(self, name: str, texts: Sequence[str]) -> float:
        """Send a pass, kill within it, wait for the answers while any comes; the longest silence in seconds."""
        before = self._sent
        self._send(name, texts)
        self._wait(before + int(_KILLED_AFTER * len(texts)))
        self._process.kill_and_restart()
        self._wait(self._sent)
        seen = sorted(at for question_id, at in self._reader.seen_at.items() if question_id.startswith(name))
        return max((later - sooner for sooner, later in pairwise(seen)), default=0.0)

    def clusters(self, name: str, count: int) -> list[list[str]]:
        """All answers that each question of a pass got, in the topic's order."""
        found: dict[str, list[str]] = {f"{name}{number}": [] for number in range(count)}
        with open_reader(self._settings) as consumer:
            start_at(consumer, self._settings.kafka.output_topic, "beginning")
            for message in read_to_end(consumer):
                question_id = (message.key or b"").decode()
                if question_id in found:
                    found[question_id].append(orjson.loads(message.value or b"{}")["cluster_id"])
        return list(found.values())

    def _send(self, name: str, texts: Sequence[str]) -> None:
        send_all(self._settings, [(f"{name}{number}", text) for number, text in enumerate(texts)])
        self._sent += len(texts)

    def _wait(self, count: int) -> int:
        """Wait for so many answers, or until none came for long; returns how many there are."""
        moved_at, decided = time.monotonic(), self._reader.decided
        patience = _SILENCE_SECONDS if decided else _START_SECONDS
        while decided < count and time.monotonic() - moved_at < patience:
            self._reader.check()
            self._process.check()
            time.sleep(_POLL_SECONDS)
            if decided != (decided := self._reader.decided):
                moved_at = time.monotonic()
        return decided
