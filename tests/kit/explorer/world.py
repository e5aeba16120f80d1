"""All that there is at one moment, and every step that may come next."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

from questream.domain import ClusterState
from questream.records import decode_cluster_state, is_namespace_key
from questream.recovery.cluster_topic import Place, Published, _namespace, _note
from questream.store.reference.store import MemoryStore

from .kafka import Kafka
from .promises import Broken, check_commit, naming_of
from .scenario import INPUT, NAMESPACE, Faults, Scenario
from .script import Answer, Call
from .values import Frozen, changed, digest_of
from .worker import Fetched, Job, Life, Protocol, Thread, Worker, new_clusterer

_READS = frozenset({"load", "tail", "ledger", "cluster", "namespace_state", "namespaces", "unpublished", "store_epoch"})
_READS |= {"revisions", "heads"}
# They change nothing that others see, so that nothing is gained by letting others go first.
_UNSEEN = frozenset({"open", "begin_recovery"})
# Coarse steps: what is read is read at once with what came before; what is sent reaches the log with its offsets.
_COARSE = _UNSEEN | {"ledger", "load", "store_epoch", "namespace_state", "cluster", "revisions", "heads", "append"}

T = TypeVar("T")
BROKER = "broker"


class Step(NamedTuple):
    """What may come next: by whom, in words, and the world after it."""

    actor: str
    what: str
    world: World


@dataclass(frozen=True)
class World:
    """The servers, the workers, and the faults that may still strike."""

    store: Frozen[MemoryStore]
    kafka: Kafka
    workers: tuple[Worker, ...]
    faults: Faults
    # What the store was before its last writes: what it may come back as.
    earlier: tuple[Frozen[MemoryStore], ...] = ()

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for worlds with equal futures."""
        workers = [worker.meaning for worker in self.workers]
        earlier = [store.meaning for store in self.earlier]
        return digest_of([*earlier, self.store.meaning, self.kafka.meaning, *workers, self.faults.meaning])

    def put(self, worker: Worker) -> World:
        """With this worker in its place."""
        workers = tuple(worker if w.name == worker.name else w for w in self.workers)
        return changed(self, workers=workers)


def _no_time() -> float:
    """The store's clock: nothing that the model compares goes by time."""
    return 0.0


class Model:
    """The steps of a scenario."""

    def __init__(self, scenario: Scenario, protocol: Protocol) -> None:
        self.scenario = scenario
        self._protocol = protocol
        self._life = Life(scenario, protocol)
        self._new_clusterer = new_clusterer(scenario)
        self._at_once_calls = _UNSEEN if scenario.fine else _COARSE
        self._known: dict[tuple[object, ...], Any] = {}

    def beginning(self) -> World:
        """The namespace is recovered, all workers have joined, nothing is read."""
        names = self.scenario.workers
        owners = self.scenario.owners or self._owners(names)
        kafka = Kafka(committed=(0,) * len(self.scenario.ends), owners=()).rebalance(names, owners)
        store = self._emptied().thaw()
        store.recover(NAMESPACE, store.begin_recovery(NAMESPACE), None, {})
        relayed_in = {NAMESPACE: store.store_epoch(NAMESPACE) or ""}
        workers = tuple(self._joined(kafka, Worker(name, self._new_clusterer, relayed_in=relayed_in)) for name in names)
        return World(Frozen(store), kafka, workers, self.scenario.faults)

    def steps(self, world: World) -> list[Step]:
        """What the workers and the broker may do next; nothing, once all is quiet."""
        steps = [step for worker in world.workers for step in self._worker_steps(world, worker)]
        # These are for what was left behind: they come when nothing else does.
        return steps or list(self._follows(world)) or list(self._sweeps(world, world.workers[:1], world.faults))

    def _follows(self, world: World) -> Iterator[Step]:
        """While there is nothing to decide, workers follow others, and see that the store has lost something."""
        if world.store.view.store_epoch(NAMESPACE) is None:
            worker = world.workers[0]
            begun = self._once((worker.meaning, "follow"), functools.partial(self._life.follow, worker))
            yield Step(f"{worker.name} front", f"{worker.name}: follows", self._at_once(world, begun, "front"))

    def _worker_steps(self, world: World, worker: Worker) -> Iterator[Step]:
        name, kafka = worker.name, world.kafka
        if not worker.alive:
            yield from self._dead_steps(world, worker)
            return
        recalling = worker.front is not None and worker.front.kind == "recall"
        if worker.generation != kafka.generation and not recalling and self._may_join(kafka, name):
            yield Step(
                f"{name} front",
                f"{name}: joins the group",
                world.put(self._once((kafka.meaning, worker.meaning), lambda: self._joined(kafka, worker))),
            )
        if worker.front is not None:
            if self._may_be_answered(kafka, worker.front):
                step = f"{name}: {worker.front.kind}: {worker.front.call}"
                yield Step(f"{name} front", step, self._answer(world, worker, "front", worker.front))
            known = worker.positions.keys() <= worker.ledgers.keys()
            if self.scenario.together and worker.front.kind == "decide" and worker.waiting is None and known:
                yield from self._fetches(world, worker)
        elif worker.decided is None and worker.waiting is not None:
            begun = self._once((worker.meaning, "take"), functools.partial(self._life.decide_waiting, worker))
            step = f"{name}: decides what waited"
            yield Step(f"{name} front", step, self._at_once(world, begun, "front"))
        elif worker.decided is None:
            yield from self._fetches(world, worker)
        if worker.back is None and worker.unconfirmed:
            begun = self._once((worker.meaning, "confirm"), functools.partial(self._life.confirm, worker))
            yield Step(f"{name} back", f"{name}: confirms", self._at_once(world, begun, "back"))
        if worker.back is not None and self._may_be_answered(kafka, worker.back):
            step = f"{name}: {worker.back.kind}: {worker.back.call}"
            yield Step(f"{name} back", step, self._answer(world, worker, "back", worker.back))

    def _dead_steps(self, world: World, worker: Worker) -> Iterator[Step]:
        name, kafka = worker.name, world.kafka
        others = [member for member in kafka.members if member != name]
        if name in kafka.members and others:
            left = kafka.rebalance(others, self._owners(others))
            yield Step(BROKER, f"broker: {name} has left the group", changed(world, kafka=left))
        if kafka.open_transaction(name) is not None:
            yield Step(BROKER, f"broker: aborts the transaction of {name}", changed(world, kafka=kafka.init(name)))
        members = sorted({*kafka.members, name})
        joined = kafka.init(name).rebalance(members, self._owners(members))
        again = changed(world, kafka=joined).put(Worker(name, self._new_clusterer))
        yield Step(BROKER, f"{name}: starts again", again)

    def _fetches(self, world: World, worker: Worker) -> Iterator[Step]:
        asked = [tuple(worker.positions)] if self.scenario.together else [(at,) for at in worker.positions]
        for partitions in asked:
            ends = {
                at: min(self.scenario.ends[at], worker.positions[at] + self.scenario.batch_questions)
                for at in partitions
            }
            places = tuple((at, offset) for at, end in ends.items() for offset in range(worker.positions[at], end))
            if places:
                begun = self._once((worker.meaning, places), functools.partial(self._fetched, worker, places, ends))
                step = f"{worker.name}: fetches {places}"
                yield Step(f"{worker.name} front", step, self._at_once(world, begun, "front"))

    def _fetched(self, worker: Worker, places: tuple[tuple[int, int], ...], ends: dict[int, int]) -> Worker:
        moved = changed(worker, positions={**worker.positions, **ends})
        return self._life.fetched(moved, Fetched(places, worker.generation))

    def _sweeps(self, world: World, workers: tuple[Worker, ...], left: Faults) -> Iterator[Step]:
        if not self._once((world.store.meaning, "unpublished"), lambda: (_has_unpublished(world.store.view),))[0]:
            return
        for worker in workers:
            if worker.alive and worker.back is None and worker.decided is None:
                begun = self._once((worker.meaning, "sweep"), functools.partial(self._life.sweep, worker))
                after = self._at_once(changed(world, faults=left), begun, "back")
                yield Step(f"{worker.name} back", f"{worker.name}: sweeps", after)

    def faults(self, world: World) -> Iterator[Step]:
        """What may befall them."""
        faults, kafka = world.faults, world.kafka
        if faults.crashes:
            for worker in world.workers:
                if worker.alive and worker.busy:
                    dead = Worker(worker.name, self._new_clusterer, alive=False)
                    yield Step(
                        BROKER, f"{worker.name}: CRASHES", changed(world, faults=faults.less("crashes")).put(dead)
                    )
        if faults.rebalances:
            others = (kafka.owners[::-1], kafka.owners[:1] * len(kafka.owners))
            if len(set(kafka.owners)) == 1 < len(kafka.members):
                others = (tuple(self._owners(kafka.members)), tuple(self._owners(kafka.members))[::-1])
            for owners in others:
                moved = kafka.rebalance(kafka.members, owners)
                yield Step(
                    BROKER, f"group: REBALANCES {owners}", changed(world, kafka=moved, faults=faults.less("rebalances"))
                )
        if faults.expiries:
            for name, transaction in kafka.transactions:
                if not transaction.expired:
                    left = faults.less("expiries")
                    yield Step(BROKER, f"broker: EXPIRES {name}", changed(world, kafka=kafka.expire(name), faults=left))
        if faults.resets:
            yield Step(BROKER, "operator: RESETS the group", self._reset(world))
        if faults.losses:
            yield from self._losses(world)
        if faults.namings:
            yield from self._namings(world)
        if faults.hasty_sweeps:
            yield from self._sweeps(world, world.workers, faults.less("hasty_sweeps"))

    def _namings(self, world: World) -> Iterator[Step]:
        left = world.faults.less("namings")
        for state in world.store.view.clusters(NAMESPACE):
            if state.label is None:
                label, route = naming_of(state.cluster_id)
                call = Call("store", "label", (NAMESPACE, state.cluster_id, label, route))
                store, _ = self._ask_store(world.store, call, 0)
                yield Step(BROKER, f"operator: NAMES {label}", changed(world, store=store, faults=left))

    def _losses(self, world: World) -> Iterator[Step]:
        left = world.faults.less("losses")
        if world.earlier:
            yield Step(BROKER, "store: LOSES all", changed(world, store=self._emptied(), earlier=(), faults=left))
        for at, store in enumerate(world.earlier):
            kept = world.earlier[:at]
            back = self._once((store.meaning, "back"), functools.partial(_restarted, store))
            yield Step(
                BROKER,
                f"store: LOSES {len(world.earlier) - at} writes",
                changed(world, store=back, earlier=kept, faults=left),
            )

    def _emptied(self) -> Frozen[MemoryStore]:
        empty = self._protocol.store(clock=_no_time)
        # An emptied Redis answers every call; in memory that takes a namespace.
        empty.open(NAMESPACE, self.scenario.identity)
        return Frozen(empty)

    def _reset(self, world: World) -> World:
        """Only a group without members can be reset: all workers are gone."""
        kafka = world.kafka
        for worker in world.workers:
            kafka = kafka.init(worker.name)
        kafka = replace(kafka.rebalance((), (None,) * len(kafka.owners)), committed=(0,) * len(kafka.committed))
        dead = tuple(Worker(worker.name, self._new_clusterer, alive=False) for worker in world.workers)
        return changed(world, kafka=kafka, workers=dead, faults=world.faults.less("resets"))

    @staticmethod
    def _may_be_answered(kafka: Kafka, job: Job) -> bool:
        """Who reads the log to its end waits for the transactions that are open in it."""
        assert job.call is not None
        return job.call.server != "topic" or kafka.readable

    def _owners(self, members: tuple[str, ...] | list[str]) -> list[str]:
        return [members[at % len(members)] for at in range(len(self.scenario.ends))]

    @staticmethod
    def _may_join(kafka: Kafka, name: str) -> bool:
        """Who is assigned a partition waits for a transaction that may yet move its committed offset."""
        mine = [at for at, owner in enumerate(kafka.owners) if owner == name]
        return name in kafka.members and all(map(kafka.is_recovered, mine))

    @staticmethod
    def _joined(kafka: Kafka, worker: Worker) -> Worker:
        mine = [at for at, owner in enumerate(kafka.owners) if owner == worker.name]
        positions = {at: kafka.committed[at] for at in mine}
        return changed(
            worker, generation=kafka.generation, assignment_id=worker.assignment_id + 1, positions=positions, ledgers={}
        )

    def _answer(self, world: World, worker: Worker, thread: Thread, job: Job) -> World:
        """The waiting call is made, and the worker goes on to its next."""
        assert job.call is not None
        world, answer = self._call(world, worker, job.call)
        # The worker's meaning has its job, too.
        key = (worker.meaning, thread, answer.meaning)
        moved = self._once(key, lambda: self._go_on(worker, thread, job.answered(answer)))
        if moved.generation == 0:
            kafka = world.kafka
            return changed(world, kafka=kafka.rebalance(kafka.members, self._owners(kafka.members))).put(moved)
        if thread == "front" and moved.back is not worker.back:
            world = self._at_once(world, moved, "back")
            moved = next(w for w in world.workers if w.name == worker.name)
        return self._at_once(world, moved, thread)

    def _at_once(self, world: World, worker: Worker, thread: Thread) -> World:
        """Make those calls of the thread that are no steps of their own."""
        job: Job | None = getattr(worker, thread)
        if job is not None and job.call is not None and job.call.name in self._at_once_calls:
            return self._answer(world, worker, thread, job)
        return world.put(worker)

    def _go_on(self, worker: Worker, thread: Thread, job: Job) -> Worker:
        try:
            return self._life.go_on(worker, thread, job)
        except Exception as error:
            raise Broken(f"{worker.name} died of {error!r}") from error

    def _once(self, key: tuple[object, ...], work: Callable[[], T]) -> T:
        """What `work` comes to, which the key determines: most of a world stays the same from step to step."""
        known: T | None = self._known.get(key)
        if known is None:
            known = self._known[key] = work()
        return known

    @staticmethod
    def _read(store: MemoryStore, call: Call) -> object:
        if call.name == "unpublished":
            # Any change may have waited for long: the model has no clock.
            namespace, _, limit = call.arguments
            return store.unpublished(namespace, 0.0, limit)
        return getattr(store, call.name)(*call.arguments)

    def _call(self, world: World, worker: Worker, call: Call) -> tuple[World, Answer]:
        if call.server == "topic":
            return world, self._once((world.kafka.meaning, call.meaning), lambda: _ask_topic(world.kafka, call))
        if call.server == "kafka":
            key = (world.kafka.meaning, worker.name, call.meaning)
            kafka, answer = self._once(key, lambda: _ask_kafka(world.kafka, worker.name, call))
            return changed(world, kafka=kafka), answer
        losses = self.scenario.faults.losses - world.faults.losses
        asked = (world.store.meaning, call.meaning, losses)
        store, answer = self._once(asked, lambda: self._ask_store(world.store, call, losses))
        earlier = world.earlier
        if world.faults.losses and store.meaning != world.store.meaning:
            earlier = (*earlier, world.store)[-world.faults.lost_writes :]
        return changed(world, store=store, earlier=earlier), answer

    def _ask_store(self, store: Frozen[MemoryStore], call: Call, losses: int) -> tuple[Frozen[MemoryStore], Answer]:
        try:
            if call.name in _READS:
                return store, Answer.of(self._read(store.view, call))
            changed = store.thaw()
            # One store epoch is between two losses; it is named so that equal worlds are equal.
            with patch.object(uuid, "uuid4", lambda: SimpleNamespace(hex=f"after {losses} losses"[:12])):
                value = getattr(changed, call.name)(*call.arguments)
        except Exception as error:  # the worker's to handle
            return store, Answer.of(error=error)
        if call.name == "commit":
            check_commit(self.scenario, store.view, call.arguments[0][NAMESPACE], value[NAMESPACE])
        return Frozen(changed), Answer.of(value)


def _has_unpublished(store: MemoryStore) -> bool:
    return NAMESPACE in store.namespaces() and bool(store.unpublished(NAMESPACE, 0.0, 1))


def _restarted(store: Frozen[MemoryStore]) -> Frozen[MemoryStore]:
    """The store as another process has it: in no store epoch in force."""
    restarted = store.thaw()
    for namespace in restarted.namespaces():
        restarted.require_recovery(namespace)
    return Frozen(restarted)


_PLACE = Place("clusters", 0, 0)


def _ask_topic(kafka: Kafka, call: Call) -> Answer:
    if call.name == "offsets":
        return Answer.of({(INPUT, partition): offset for partition, offset in enumerate(kafka.committed)})
    published: dict[str, Published] = {}
    states: dict[int, ClusterState] = {}
    for entry in kafka.cluster_records():
        assert entry.key is not None
        _note(published.setdefault(_namespace(entry.key), Published()), entry.key, entry.value, _PLACE)
        if not is_namespace_key(entry.key):
            state = decode_cluster_state(entry.key, entry.value)
            if state.cluster_id not in states or states[state.cluster_id].revision <= state.revision:
                states[state.cluster_id] = state
    if call.name == "namespaces":
        return Answer.of(set(published))
    if call.name == "published":
        return Answer.of(published)
    return Answer.of({i: state for i, state in states.items() if i in call.arguments[1]})


def _ask_kafka(kafka: Kafka, producer: str, call: Call) -> tuple[Kafka, Answer]:
    try:
        return getattr(kafka, call.name)(producer, *call.arguments), Answer.of()
    except Exception as error:  # the worker's to handle
        return kafka, Answer.of(error=error)
