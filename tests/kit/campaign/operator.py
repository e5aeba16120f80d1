"""Somebody who decides: operations of every kind, at random, whatever happens around them."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from questream.clustering.constraints import pack_vector
from questream.clustering.levels import Node
from questream.domain import DISMISSIBLE, ClusterState, Exemplar, Operation, Ruling
from questream.errors import NamingsDiffer, OperationRefused, QuestreamError
from questream.operations import By, Decisions
from questream.operations.binding import KnownQuestion, new_names
from questream.operations.requests import Propose
from questream.operations.unmerging import joined_since
from questream.store.protocol import OpenedCluster, ProposedOperation, Store
from questream.store.redis.keys import Keys
from questream.store.redis.store import RedisStore
from tests.kit.campaign.eras import partition_of
from tests.kit.campaign.traffic import NAMESPACES, SHAPES
from tests.kit.checker import Operated
from tests.kit.vectors import hash_vector

if TYPE_CHECKING:
    from tests.kit.campaign.bed import Bed

PAUSE_SECONDS = 1.0
# Clusters that still get questions.
NEWEST = 24
ANSWER_SECONDS = 5.0
# Longer than a worker of a campaign may still be publishing a cluster that an operation retires; it is waited for.
TOMBSTONE_SECONDS = 20.0
KNOWN_ONLY_DECISIONS = 5
# Near that of the campaign, and below those with a second look, which takes "a7" and "a8" for two codes.
THRESHOLDS = (0.56, 0.6, 0.63)
KEYS = Keys("questream")

# What was planned cannot be done: the clusters are others by now, or what it would undo is no more in force.
_IS_OFF = (OperationRefused, NamingsDiffer, KeyError, ValueError)


@dataclass(frozen=True)
class Plan:
    """What is to be decided. `turned_away` are vectors by the cluster that will turn them away."""

    make: Callable[[Decisions], Propose]
    turned_away: Mapping[int, Sequence[bytes]] = field(default_factory=dict)
    naming: tuple[str, str] | None = None
    threshold: float | None = None
    represents: str | None = None


@dataclass
class Attempt:
    """An operation that is to be done, and asked for again under its id until the store has answered.

    `number` is 0 until then; `asked` are the ends of the input by partition when it had answered, in life `era` of the
    topic; `answered_at` is by this process's clock. `clusters` are those that it was last proposed for,
    `erased` those of which it erases the texts.
    """

    namespace: str
    kind: str
    plan: Plan
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    clusters: frozenset[int] = frozenset()
    erased: frozenset[int] = frozenset()
    number: int = 0
    era: int = 0
    asked: Mapping[int, int] | None = None
    answered_at: float = 0.0
    absorbed: frozenset[int] | None = None

    def commit(self, store: Store) -> Operation:
        """Have it done, once however often it is called."""
        decisions = Decisions(store, self.namespace, By("ann", "", self.id))
        propose = self.plan.make(decisions)

        def noted() -> ProposedOperation:
            proposed = propose()
            self.clusters = frozenset(proposed.after)
            self.erased = frozenset() if proposed.forgets is None else proposed.forgets.cluster_ids
            return proposed

        return decisions.commit(Propose(propose.asked, noted))


class Operator:
    """Decides every `PAUSE_SECONDS` in a thread of its own, once the bed is up; a context manager."""

    def __init__(self, bed: Bed, random: Random) -> None:
        self._bed = bed
        self._random = random
        self._hands = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)
        self._unanswered: Attempt | None = None
        self._failure: BaseException | None = None
        self._lost_at = self._found_at = 0.0
        # Namespaces in which questions open no clusters, and for how many decisions more.
        self._known_only: dict[str, int] = {}
        self.attempts: list[Attempt] = []

    def __enter__(self) -> Operator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is decided meanwhile."""
        with self._hands:
            if self._failure is not None:
                raise self._failure
            yield

    def memory_lost(self) -> None:
        """The store has lost its memory until now: what it answered before it may have forgotten."""
        self._lost_at = time.monotonic()

    def memory_found(self) -> None:
        """The memory is put back by now: until then nobody may have noticed, and numbers were given again."""
        self._found_at = time.monotonic()

    def name_newest(self, namespace: str, count: int) -> None:
        """Give the newest clusters that have no name a label and a route, each of its own; without a store none."""

        def name(store: Store) -> None:
            unnamed = [one for one in self._newest(store, namespace) if one.label is None]
            for state in unnamed[:count]:
                self._attempt(store, Attempt(namespace, "label", _label(state)))

        with self._hands:
            self._on_store(name)

    def operated(self, partitions: Sequence[int]) -> list[Operated]:
        """What was decided, for the checker; `partitions` are those of the input as it is now."""
        eras = len(self._bed.eras)
        return [
            Operated(
                one.namespace,
                one.id,
                one.number,
                clusters=one.clusters,
                forgettable=not one.number or one.answered_at <= self._lost_at,
                renumbered=one.answered_at <= max(self._lost_at, self._found_at),
                asked=None if one.asked is None else asked_afterwards(one.asked, one.era, eras, partitions),
                absorbed=one.absorbed,
                turned_away=one.plan.turned_away,
                naming=one.plan.naming,
                threshold=one.plan.threshold,
                represents=one.plan.represents,
                erased=one.erased,
                may_part=one.kind in ("undo", "unmerge"),
            )
            for one in self.attempts
        ]

    def _run(self) -> None:
        try:
            while not self._ended.wait(PAUSE_SECONDS):
                with self._hands:
                    self._on_store(self._decide)
        except BaseException as error:  # raised again in the thread that pauses it
            self._failure = error

    def _on_store(self, act: Callable[[Store], None]) -> None:
        """Act on the store as it is now; one that is gone or full, or has to be recovered first, ends that."""
        with (
            contextlib.suppress(QuestreamError, redis.RedisError),
            redis.Redis.from_url(self._bed.store.url_for_people, socket_timeout=ANSWER_SECONDS) as client,
        ):
            act(RedisStore(client, tombstone_seconds=TOMBSTONE_SECONDS))

    def _decide(self, store: Store) -> None:
        if self._unanswered is not None:
            self._attempt(store, self._unanswered)
            return
        namespace, kind = self._random.choice(NAMESPACES), self._random.choice(list(_KINDS))
        self._known_only = {name: left - 1 for name, left in self._known_only.items()}
        ended = next((name for name, left in self._known_only.items() if left <= 0), None)
        if ended is not None:
            namespace, kind = ended, "open"
        plan = None
        # Between two looks the store may have lost what the first one saw.
        with contextlib.suppress(KeyError):
            plan = self._plan(store, namespace, kind)
        if plan is not None:
            self._attempt(store, Attempt(namespace, kind, plan))

    def _plan(self, store: Store, namespace: str, kind: str) -> Plan | None:
        live = self._newest(store, namespace)
        if kind == "open":
            return self._open(namespace)
        if kind == "unmerge":
            return self._unmerge(store, namespace)
        if kind == "levels":
            return self._on_levels(store, namespace, live)
        return _KINDS[kind](self, namespace, live) if len(live) > 1 else None

    def _attempt(self, store: Store, attempt: Attempt) -> None:
        """Have it done; where the store does not answer it may have been done, and is asked for again."""
        if self._unanswered is not attempt:
            self.attempts.append(attempt)
        self._unanswered = attempt
        try:
            operation = attempt.commit(store)
        except _IS_OFF:
            self._unanswered = None
            return
        self._unanswered = None
        attempt.number, attempt.answered_at, attempt.era = operation.number, time.monotonic(), len(self._bed.eras)
        self._look_around(attempt, operation)

    def _newest(self, store: Store, namespace: str) -> list[ClusterState]:
        """Live clusters that questions came to lately, the newest first."""
        numbers = sorted({number for number, *_ in self._bed.watch.lately(namespace)}, reverse=True)[:NEWEST]
        states = sorted(store.states(namespace, numbers), key=lambda state: -state.cluster_id)
        return [state for state in states if state.vector_sum is not None]

    def _look_around(self, attempt: Attempt, operation: Operation) -> None:
        """What came before it."""
        if attempt.kind in ("reject", "split", "move", "rules", "known-only", "open", "intents"):
            attempt.asked = self._ends()
        if any(ruling.pinned for ruling in operation.after.values()):
            with redis.Redis.from_url(self._bed.store.url, socket_timeout=ANSWER_SECONDS) as client:
                attempt.absorbed = frozenset(map(int, client.zrange(KEYS.of(attempt.namespace, "aliases"), 0, -1)))

    def _ends(self) -> dict[int, int] | None:
        """Where the partitions of the input end now; None where Kafka does not answer."""
        topic = self._bed.stream.topics.input_topic
        try:
            # One that was there before may not know of a partition that was added since.
            consumer = KafkaConsumer(bootstrap_servers=self._bed.stream.bootstrap_servers, enable_auto_commit=False)
            try:
                found = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
                return {at.partition: end for at, end in consumer.end_offsets(found).items()}
            finally:
                consumer.close(autocommit=False)
        except KafkaError:
            return None

    # A plan for each kind; None where there is nothing to do it to.

    def _label(self, _: str, live: Sequence[ClusterState]) -> Plan:
        return _label(self._random.choice(live))

    def _undo(self, namespace: str, _: Sequence[ClusterState]) -> Plan | None:
        done = [one for one in self.attempts if one.namespace == namespace and one.number]
        undone = self._random.choice(done[-10:]) if done else None
        return None if undone is None else Plan(lambda by: by.undo(undone.number))

    def _pin(self, _: str, live: Sequence[ClusterState]) -> Plan:
        number = self._random.choice(live).cluster_id
        return Plan(lambda by: by.mark("pin", number))

    def _unpin(self, _: str, live: Sequence[ClusterState]) -> Plan | None:
        pinned = [one.cluster_id for one in live if one.ruling.pinned]
        number = self._random.choice(pinned) if pinned else None
        return None if number is None else Plan(lambda by: by.mark("unpin", number))

    def _mute(self, _: str, live: Sequence[ClusterState]) -> Plan:
        number = self._random.choice(live).cluster_id
        return Plan(lambda by: by.mark("mute", number))

    def _unmute(self, _: str, live: Sequence[ClusterState]) -> Plan | None:
        muted = [one.cluster_id for one in live if one.ruling.muted]
        number = self._random.choice(muted) if muted else None
        return None if number is None else Plan(lambda by: by.mark("unmute", number))

    def _resolve(self, _: str, live: Sequence[ClusterState]) -> Plan:
        number = self._random.choice(live).cluster_id
        return Plan(lambda by: by.mark("resolve", number))

    def _reopen(self, _: str, live: Sequence[ClusterState]) -> Plan | None:
        resolved = [one.cluster_id for one in live if one.ruling.resolved_size is not None]
        number = self._random.choice(resolved) if resolved else None
        return None if number is None else Plan(lambda by: by.mark("reopen", number))

    def _dismiss(self, _: str, live: Sequence[ClusterState]) -> Plan:
        number, suggestion = self._random.choice(live).cluster_id, self._random.choice(DISMISSIBLE)
        return Plan(lambda by: by.dismiss(number, suggestion))

    def _separate(self, _: str, live: Sequence[ClusterState]) -> Plan:
        one, other = (state.cluster_id for state in self._random.sample(live, 2))
        return Plan(lambda by: by.separate(one, other))

    def _merge(self, _: str, live: Sequence[ClusterState]) -> Plan:
        one, other = (state.cluster_id for state in self._random.sample(live, 2))
        return Plan(lambda by: by.merge(one, other, keep=one))

    def _reject(self, namespace: str, _: Sequence[ClusterState]) -> Plan | None:
        question = self._question(namespace)
        return None if question is None else Plan(lambda by: by.reject([question]), _away(question))

    def _split(self, namespace: str, _: Sequence[ClusterState]) -> Plan | None:
        question = self._question(namespace)
        if question is None:
            return None
        return Plan(lambda by: by.split(question.cluster_id, [question]), _away(question))

    def _move(self, namespace: str, live: Sequence[ClusterState]) -> Plan | None:
        question = self._question(namespace)
        target = self._random.choice(live).cluster_id
        return None if question is None else Plan(lambda by: by.move([question], target), _away(question))

    def _rules(self, _: str, live: Sequence[ClusterState]) -> Plan:
        del live
        threshold = self._random.choice(THRESHOLDS)
        return Plan(lambda by: by.rules({"threshold": threshold}), threshold=threshold)

    def _known_only_rules(self, namespace: str, live: Sequence[ClusterState]) -> Plan:
        del live
        self._known_only[namespace] = KNOWN_ONLY_DECISIONS
        return Plan(lambda by: by.rules({"mode": "known-only"}))

    def _open(self, namespace: str) -> Plan:
        self._known_only.pop(namespace, None)
        return Plan(lambda by: by.rules({"mode": None}))

    def _represent(self, namespace: str, _: Sequence[ClusterState]) -> Plan | None:
        question = self._question(namespace)
        text = None if question is None or question.place is None else self._bed.traffic.text_at(*question.place[1:])
        if question is None or text is None:
            return None
        return Plan(lambda by: by.represent(question.cluster_id, text, question.place), represents=text)

    def _forget(self, _: str, live: Sequence[ClusterState]) -> Plan:
        number = self._random.choice(live).cluster_id
        return Plan(lambda by: by.forget(number))

    def _intents(self, namespace: str, _: Sequence[ClusterState]) -> Plan | None:
        """An intent of which questions are asked soon, or are asked already."""
        asked = [self._bed.traffic.text_at(partition, at) for _, partition, at, _ in self._bed.watch.lately(namespace)]
        topics = [int(found) for text in asked if text for found in re.findall(r"a(\d+)", text)]
        if not topics:
            return None
        topic = max(topics) + self._random.randrange(-1, 4)
        text = self._random.choice(SHAPES[:3]).format(t=topic)
        vector, name = hash_vector(text), uuid.uuid4().hex[:8]
        label, route = f"label-{name}", f"route-{name}"
        exemplar = Exemplar(new_names(1)[0], "must", pack_vector(vector))
        opened = OpenedCluster(1, vector, int(time.time() * 1000), b"", text)
        # Both sides of the namespace's, and none.
        own = self._random.choice((None, *THRESHOLDS))
        leaves = [(Ruling(label, route, exemplars=(exemplar,), threshold=own), opened)]
        return Plan(lambda by: by.open_intents(leaves, {}), naming=(label, route))

    def _unmerge(self, store: Store, namespace: str) -> Plan | None:
        """One that was merged away lately, with the questions that joined since as far as their texts are known."""
        lately = {(partition, at): name for _, partition, at, name in self._bed.watch.lately(namespace)}
        numbers = sorted({number for number, *_ in self._bed.watch.lately(namespace)})
        merged = [one.cluster_id for one in store.states(namespace, numbers) if one.merged_into is not None]
        if not merged:
            return None
        number = self._random.choice(merged)
        joined = []
        # Places of an earlier life of the topic are those of other questions by now.
        for one in [] if self._bed.eras else joined_since(store, namespace, number):
            text = self._bed.traffic.text_at(*one.place[1:])
            name = lately.get(one.place[1:])
            if text is not None and name is not None:
                place = (self._bed.stream.topics.input_topic, *one.place[1:])
                joined.append(KnownQuestion(number, hash_vector(text), place, question_id=name, key=name.encode()))
        return Plan(lambda by: by.unmerge(number, joined))

    def _on_levels(self, store: Store, namespace: str, live: Sequence[ClusterState]) -> Plan | None:
        """Of two intents or topics, or of what is moved to one."""
        live_nodes = set(store.levels(namespace).levels.parents.values())
        level = self._random.choice((1, 1, 2))
        names = [str(node) for node in sorted(live_nodes) if node.level == level]
        if len(names) < 2 or not live:
            return None
        one, other = self._random.sample(names, 2)
        moved = f"c{self._random.choice(live).cluster_id}" if level == 1 else f"i{self._intent(live_nodes)}"
        made: list[Callable[[Decisions], Propose]] = [
            lambda by: by.move_nodes([moved], one),
            lambda by: by.move_nodes([moved], "own"),
            lambda by: by.merge_levels(one, other, keep=one),
            lambda by: by.separate_levels(one, other),
            lambda by: by.pin_level(one),
            lambda by: by.unpin_level(one),
        ]
        return Plan(self._random.choice(made))

    def _intent(self, live_nodes: Iterable[Node]) -> int:
        return self._random.choice(sorted(node.number for node in live_nodes if node.level == 1))

    def _question(self, namespace: str) -> KnownQuestion | None:
        """One that was decided lately."""
        found = self._bed.watch.lately(namespace)
        self._random.shuffle(found)
        for number, partition, offset, name in found:
            text = self._bed.traffic.text_at(partition, offset)
            if text is not None:
                place = (self._bed.stream.topics.input_topic, partition, offset)
                return KnownQuestion(number, hash_vector(text), place, question_id=name, key=name.encode())
        return None


_KINDS: dict[str, Callable[[Operator, str, Sequence[ClusterState]], Plan | None]] = {
    "label": Operator._label,
    "undo": Operator._undo,
    "pin": Operator._pin,
    "unpin": Operator._unpin,
    "mute": Operator._mute,
    "unmute": Operator._unmute,
    "resolve": Operator._resolve,
    "reopen": Operator._reopen,
    "dismiss": Operator._dismiss,
    "separate": Operator._separate,
    "merge": Operator._merge,
    "reject": Operator._reject,
    "split": Operator._split,
    "move": Operator._move,
    "rules": Operator._rules,
    "known-only": Operator._known_only_rules,
    "represent": Operator._represent,
    "forget": Operator._forget,
    "intents": Operator._intents,
    "unmerge": lambda *_: None,
    "levels": lambda *_: None,
}


def _label(state: ClusterState) -> Plan:
    name = uuid.uuid4().hex[:8]
    label, route = f"label-{name}", f"route-{name}"
    return Plan(lambda by: by.label(state.cluster_id, label, route), naming=(label, route))


def _away(question: KnownQuestion) -> dict[int, Sequence[bytes]]:
    return {question.cluster_id: [pack_vector(question.vector)]}


def asked_afterwards(ends: Mapping[int, int], era: int, eras: int, partitions: Sequence[int]) -> dict[int, int]:
    """From where on questions were asked later, in the names that evidence has for all lives; earlier ones had ended.

    `ends` are those of the input by partition, in life `era` of so many before the last.
    """
    asked: dict[int, int] = {}
    for number in range(eras + 1):
        for partition in partitions:
            name = partition_of(number, partition, eras)
            asked[name] = 2**62 if number < era else ends.get(partition, 0) if number == era else 0
    return asked
