"""A worker as plain data, and the product's code that moves it: two threads, as in a session of the product."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from questream.broker.deadline import GuardedCall
from questream.broker.publisher import Publisher, TransactionalPublisher
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.domain import Decision
from questream.encoder import Tokens
from questream.errors import KafkaUnavailable, RecoveryNeeded
from questream.metrics import Metrics
from questream.recovery.recover import StoreRecovery
from questream.store.protocol import Confirmation, Ledger, OutboxPosition
from questream.store.reference.store import MemoryStore
from questream.stream.backlog import Batch
from questream.stream.decider import DecidedBatch, Decider, Published
from questream.stream.publishing import Publishing, Topics
from questream.stream.question import Embedded, Pending, Ready, Recalled
from questream.stream.retry import Retry

from .kafka import CLUSTERS, OUTPUT
from .scenario import INPUT, NAMESPACE, Scenario
from .script import Answer, Call, Outcome, ProducerPort, StorePort, TopicPort, run
from .values import Frozen, changed, digest

_TOPICS = Topics(OUTPUT, CLUSTERS, "dead-letters")
_METRICS = Metrics()
_RETRY = Retry(threading.Event())
_LEFT_BEHIND_SECONDS = 10.0
_TOKENS = Tokens(np.zeros(1, np.int32), truncated=False)
_NO_ENCODER: Any = None  # the vectors are the scenario's
# What a session of the product ends with, to begin anew.
SESSION_ENDS = (KafkaUnavailable, RecoveryNeeded)


class _NoWatchdog:
    limit = staticmethod(lambda *_: contextlib.nullcontext(GuardedCall("call", 1.0, None)))


def make_publisher(make_producer: Callable[[], ProducerPort]) -> Publisher:
    """The product's."""
    return TransactionalPublisher(make_producer, _NoWatchdog(), 1.0)  # type: ignore[arg-type]


Thread = Literal["front", "back"]


@dataclass(frozen=True)
class Protocol:
    """The code under test: the product's, or the product's broken in one place."""

    store: type[MemoryStore] = MemoryStore
    make_publisher: Callable[[Callable[[], ProducerPort]], Publisher] = make_publisher
    decider: type[Decider] = Decider
    publishing: type[Publishing] = Publishing


@dataclass(frozen=True)
class Fetched:
    """Questions that the intake took under a generation. Once the ledgers are known: the store epoch that each
    was looked up in, what is recorded of it, and whether the ledger ended before it.
    """

    places: tuple[tuple[int, int], ...]
    generation: int
    recorded: tuple[tuple[str, Decision | None, bool], ...] = ()
    # The assignment of the worker that they were taken under.
    assignment_id: int = 0


@dataclass(frozen=True)
class Job:
    """What a thread is at: the calls of it that are answered, and the one that waits."""

    kind: Literal["recall", "decide", "follow", "publish", "confirm", "sweep"]
    subject: Any
    answers: tuple[Answer, ...] = ()
    call: Call | None = None
    # The worker's assignment when the thread began.
    assignment_id: int = 0

    def answered(self, answer: Answer) -> Job:
        """With this answer to the call that waits."""
        return changed(self, answers=(*self.answers, answer), call=None)

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for jobs that will go on equally."""
        call = self.call and self.call.meaning
        return digest((self.kind, self.subject, self.assignment_id, call, [answer.meaning for answer in self.answers]))


def _real_time() -> float:
    return 1.0


def _no_sleep(seconds: float) -> None:
    """Time passes by the steps of others."""


def new_clusterer(scenario: Scenario) -> Frozen[Clusterer]:
    """The product's, as a worker has it that has just started.

    All workers have its token, so that no turn is another's: a turn that is never used ends with its time, which the
    model has none of. What a turn keeps others from is decided by the log's place in any case.
    """
    store = StorePort()
    recovery = StoreRecovery(store, TopicPort())  # type: ignore[arg-type]
    namespaces = Namespaces(store, NamespaceConfig(scenario.identity, scenario.rules), recover=recovery.recover)
    return Frozen(Clusterer(store, namespaces, clock=_real_time, sleep=_no_sleep))


@dataclass(frozen=True)
class Worker:
    """One worker. `front` is its intake and decider, `back` its publisher; `decided` is between them.

    `generation` is the one it knows, `assignment_id` numbers its assignments; `positions` and `ledgers` are by
    partition. `below` and `decided_assignment` are the decider's, `published_below`, `published_assignment` and
    `relayed_in` the publisher's, as are `unconfirmed`, which waits for the next verification, and `verified_at`, where
    the outbox was at the last. `waiting` is between intake and decider while a batch is being decided.
    """

    name: str
    clusterer: Frozen[Clusterer]
    alive: bool = True
    generation: int = 0
    assignment_id: int = 0
    decided_assignment: int = 0
    positions: dict[int, int] = field(default_factory=dict)
    ledgers: dict[int, Frozen[Ledger]] = field(default_factory=dict)
    below: dict[tuple[str, int], int] = field(default_factory=dict)
    published_assignment: int = 0
    published_below: dict[tuple[str, int], int] = field(default_factory=dict)
    relayed_in: dict[str, str] = field(default_factory=dict)
    unconfirmed: tuple[Confirmation, ...] = ()
    verified_at: dict[str, OutboxPosition] = field(default_factory=dict)
    producer_ready: bool = True
    front: Job | None = None
    back: Job | None = None
    decided: Frozen[DecidedBatch] | None = None
    waiting: Fetched | None = None

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for workers that will go on equally."""
        jobs = [job and job.meaning for job in (self.front, self.back)]
        mine = (
            self.name,
            self.alive,
            self.generation,
            self.assignment_id,
            self.decided_assignment,
            self.positions,
            self.ledgers,
            self.below,
            self.published_assignment,
            self.published_below,
            self.relayed_in,
            self.unconfirmed,
            self.verified_at,
        )
        return digest((mine, self.producer_ready, self.clusterer, self.decided, self.waiting, jobs))

    def at(self, thread: Thread, job: Job | None) -> Worker:
        """With this job in one of its threads."""
        return changed(self, front=job) if thread == "front" else changed(self, back=job)

    @property
    def busy(self) -> bool:
        """True if it has anything in hand."""
        return bool(self.front or self.back or self.decided or self.waiting or self.unconfirmed)


class Life:
    """Moves workers on with the product's code."""

    def __init__(self, scenario: Scenario, protocol: Protocol) -> None:
        self._scenario = scenario
        self._protocol = protocol

    def go_on(self, worker: Worker, thread: Thread, job: Job) -> Worker:
        """Run a thread's job to its next call or its end.

        Raises what the product would end the worker with.
        """
        if not job.answers:
            job = changed(job, assignment_id=worker.assignment_id)
        moved, outcome = self._run(worker, job)
        if outcome.call is not None:
            return worker.at(thread, changed(job, call=outcome.call))
        if isinstance(outcome.error, SESSION_ENDS):
            return self.session_ended(moved)
        if outcome.error is not None:
            raise outcome.error
        return self._started(moved.at(thread, None), job, outcome.value)

    def session_ended(self, worker: Worker) -> Worker:
        """A new session: what was in hand is dropped, the group is joined anew."""
        return Worker(worker.name, worker.clusterer, assignment_id=worker.assignment_id, producer_ready=False)

    def fetched(self, worker: Worker, fetched: Fetched) -> Worker:
        """The intake has records: it asks for the ledgers that it does not know, then the decider has them."""
        if worker.front is not None:
            return changed(worker, waiting=self._recalled(worker, fetched))
        return self._front(worker, fetched)

    def decide_waiting(self, worker: Worker) -> Worker:
        """The decider takes what waits."""
        return self.go_on(changed(worker, waiting=None), "front", Job("decide", worker.waiting))

    def follow(self, worker: Worker) -> Worker:
        """The decider has nothing to decide."""
        return self.go_on(worker, "front", Job("follow", None))

    def confirm(self, worker: Worker) -> Worker:
        """No batch is near: the publisher confirms what it has published."""
        return self.go_on(worker, "back", Job("confirm", None))

    def sweep(self, worker: Worker) -> Worker:
        """Between batches the publisher sweeps."""
        return self.go_on(worker, "back", Job("sweep", None))

    def _started(self, worker: Worker, job: Job, value: Any) -> Worker:
        """A job has ended: hand on what came of it."""
        if job.kind == "recall":
            at, ledger = value
            worker = changed(worker, ledgers={**worker.ledgers, at: Frozen(ledger)})
            return self._front(worker, job.subject)
        if job.kind == "decide" and value is not None:
            worker = changed(worker, decided=Frozen(value))
        if worker.back is None and worker.decided is not None:
            decided, worker = worker.decided, changed(worker, decided=None)
            return self.go_on(worker, "back", Job("publish", decided))
        return worker

    def _front(self, worker: Worker, fetched: Fetched) -> Worker:
        if {partition for partition, _ in fetched.places} - worker.ledgers.keys():
            return self.go_on(worker, "front", Job("recall", fetched))
        return self.go_on(worker, "front", Job("decide", self._recalled(worker, fetched)))

    @staticmethod
    def _recalled(worker: Worker, fetched: Fetched) -> Fetched:
        ledgers = [(worker.ledgers[at].view, offset) for at, offset in fetched.places]
        recorded = tuple(
            (ledger.store_epoch, ledger.decisions.get(offset), offset > ledger.head) for ledger, offset in ledgers
        )
        return replace(fetched, recorded=recorded, assignment_id=worker.assignment_id)

    def _run(self, worker: Worker, job: Job) -> tuple[Worker, Outcome[Any]]:
        refused: list[int] = []
        if job.kind in ("publish", "confirm", "sweep"):
            moved, outcome = self._run_back(worker, job, refused.append)
        else:
            moved, outcome = self._run_front(worker, job, refused.append)
        if outcome.call is not None:
            return worker, outcome
        if worker.assignment_id in refused:
            # What the intake does then: nothing more is read until the group is joined anew.
            moved = changed(moved, assignment_id=worker.assignment_id + 1, positions={})
        return moved, outcome

    def _run_front(self, worker: Worker, job: Job, on_superseded: Callable[[int], None]) -> tuple[Worker, Outcome[Any]]:
        clusterer = worker.clusterer.thaw()
        decider = self._protocol.decider(
            clusterer,
            _METRICS,
            _RETRY,
            current_assignment=lambda: job.assignment_id,
            on_superseded=on_superseded,
            own_namespace=NAMESPACE,
        )
        # A decider lives as long as its session; here one is made for each run, in its former state.
        decider._assignment_id, decider._published_below = worker.decided_assignment, dict(worker.below)
        work: dict[str, Callable[[], Any]] = {
            "recall": lambda: self._recall(worker, clusterer, job.subject),
            "decide": lambda: decider.decide(self._batch(job.subject)),
            "follow": lambda: clusterer.mirrors.catch_up(NAMESPACE),
        }
        outcome = run(work[job.kind], job.answers)
        moved = changed(
            worker,
            clusterer=Frozen(clusterer),
            decided_assignment=decider._assignment_id,
            below=decider._published_below,
        )
        return moved, outcome

    def _run_back(self, worker: Worker, job: Job, on_superseded: Callable[[int], None]) -> tuple[Worker, Outcome[Any]]:
        ready = [worker.producer_ready]
        publisher = self._protocol.make_publisher(lambda: ProducerPort(ready.pop() if ready else False))
        below = dict(worker.below)

        def on_published(published: Published) -> None:
            # The decider takes it from its queue; that it has it at once claims the most that it ever may.
            if published.assignment_id == worker.decided_assignment:
                below.update(published.below)

        publishing = self._protocol.publishing(
            StorePort(),
            publisher,
            _TOPICS,
            _METRICS,
            _RETRY,
            current_assignment=lambda: job.assignment_id,
            on_superseded=on_superseded,
            own_namespace=NAMESPACE,
            on_published=on_published,
        )
        # As the decider.
        publishing._assignment_id, publishing._published_below = (
            worker.published_assignment,
            dict(worker.published_below),
        )
        publishing._relayed_in = dict(worker.relayed_in)
        relay = publishing._relay
        relay._unconfirmed, relay._verified_at = list(worker.unconfirmed), dict(worker.verified_at)
        work: dict[str, Callable[[], Any]] = {
            "publish": lambda: publishing.publish(job.subject.thaw()),
            "confirm": publishing.confirm,
            "sweep": lambda: publishing.relay_pending(NAMESPACE, _LEFT_BEHIND_SECONDS),
        }
        outcome = run(work[job.kind], job.answers)
        moved = changed(
            worker,
            below=below,
            published_assignment=publishing._assignment_id,
            published_below=publishing._published_below,
            relayed_in=dict(publishing._relayed_in),
            unconfirmed=tuple(relay._unconfirmed),
            verified_at=dict(relay._verified_at),
            producer_ready=outcome.error is None,
        )
        return moved, outcome

    @staticmethod
    def _recall(worker: Worker, clusterer: Clusterer, fetched: Fetched) -> tuple[int, Ledger]:
        partition = min({partition for partition, _ in fetched.places} - worker.ledgers.keys())
        return partition, clusterer.namespaces.recorded(NAMESPACE, INPUT, partition)

    def _batch(self, fetched: Fetched) -> Batch[Ready]:
        items: list[Ready] = []
        for place, (store_epoch, recorded, fresh) in zip(fetched.places, fetched.recorded, strict=True):
            question = self._scenario.question(*place)
            if recorded is not None:
                items.append(Recalled(question, recorded, store_epoch))
            else:
                pending = Pending(question, _TOKENS, _NO_ENCODER, store_epoch, fresh)
                items.append(Embedded(pending, self._scenario.vector(*place)))
        return Batch(items, fetched.assignment_id, fetched.generation, 0.0)
