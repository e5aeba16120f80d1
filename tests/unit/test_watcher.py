"""What the process that publishes events publishes, and when it gives the turn up, over topics in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from questream.broker.port import FoundTopic, Outgoing, Partition
from questream.errors import KafkaRefused, Superseded
from questream.settings import Settings
from questream.watch import watcher as watching
from questream.watch.watcher import Membership, Readers, Turn, Watcher
from tests.kit.watching import Asked, decided
from tests.unit.test_events import MINUTE_MS, after, steady

SETTINGS = Settings()
KAFKA = SETTINGS.kafka
DECISIONS, STATES, EVENTS = (
    Partition(topic, 0) for topic in (KAFKA.output_topic, KAFKA.cluster_topic, KAFKA.event_topic)
)
PAST = steady()
# More than any test takes.
MOST_TURNS = 200


@dataclass(frozen=True)
class Publication:
    """What was published in one transaction, and how far the process had come by then."""

    subjects: list[str]
    offsets: dict[Partition, int]
    generation: int


@dataclass
class Topics:
    """Topics, and the group's place in them; the consumers of them are tested on Kafka itself."""

    records: dict[Partition, list[Any]] = field(default_factory=lambda: {DECISIONS: [], STATES: [], EVENTS: []})
    committed: dict[Partition, int] = field(default_factory=dict)
    # Of the events, in the order in which they were published.
    data: list[dict[str, Any]] = field(default_factory=list)
    published: list[Publication] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    generation: int = 1
    has_turn: bool = True
    # Of the group's offsets, since the process began.
    looks: int = 0
    # Whoever polls for ever fails.
    polls: Iterator[int] = field(default_factory=lambda: iter(range(5 * MOST_TURNS)))

    def decide(self, asked: Sequence[Asked]) -> None:
        """Have these questions be decided."""
        line = self.records[DECISIONS]
        for record in decided(asked, before=self.asked, key=f"asker {len(self.asked)}"):
            made = SimpleNamespace(
                topic=DECISIONS.topic, partition=0, offset=len(line), timestamp=0, key=record.key, value=record.value
            )
            line.append(made)
        self.asked += asked

    def burst(self, cluster: str) -> None:
        """Have a new cluster be asked about by six."""
        self.decide(after(self.asked, cluster, 6, MINUTE_MS))

    def publish(
        self, records: Sequence[Outgoing], offsets: Mapping[Partition, int], membership: Any, _: object
    ) -> None:
        """As a publisher of one transaction."""
        subjects = [(record.key or b"").decode() for record in records]
        self.published.append(Publication(subjects, dict(offsets), membership.generation_id))
        self.committed |= offsets
        self.data += [orjson.loads(record.value or b"")["data"] for record in records]

    @property
    def events_of(self) -> list[str]:
        """The clusters that an event was published of."""
        return [subject.rpartition("/")[2] for one in self.published for subject in one.subjects]


class Reader:
    """A consumer of topics in memory, which hands out at most `most` records a poll; `turns` hears of each."""

    def __init__(self, topics: Topics, most: int = 2000, turns: Callable[[], object] = lambda: None) -> None:
        self._topics, self._most, self._turns = topics, most, turns
        self._positions: dict[Partition, int] = {}

    def subscribe(self, topic: str, _: object) -> None:
        self._positions = {Partition(topic, 0): 0}

    def assign(self, partitions: Collection[Partition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)

    def assignment(self) -> set[Partition]:
        return set(self._positions) if self._topics.has_turn else set()

    def group_metadata(self) -> Any:
        return SimpleNamespace(generation_id=self._topics.generation)

    def partitions(self, topic: str) -> list[Partition]:
        return [at for at in self._topics.records if at.topic == topic]

    def poll(self, _: float) -> dict[Partition, list[Any]]:
        self._turns()
        next(self._topics.polls)
        found = {at: self._topics.records[at][next_:][: self._most] for at, next_ in self._positions.items()}
        self._positions |= {at: messages[-1].offset + 1 for at, messages in found.items() if messages}
        return {at: messages for at, messages in found.items() if messages}

    def seek(self, partition: Partition, offset: int) -> None:
        self._positions[partition] = offset

    def position(self, partition: Partition) -> int:
        return self._positions[partition]

    def pause(self, _: Collection[Partition]) -> None: ...
    def resume(self, _: Collection[Partition]) -> None: ...

    def paused(self) -> set[Partition]:
        return set()

    def beginning_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {at: len(self._topics.records[at]) for at in partitions}

    def committed(self, partition: Partition) -> int | None:
        self._topics.looks += 1
        return self._topics.committed.get(partition)

    def close(self, _: float) -> None: ...


@dataclass
class Bed:
    """A process that has the turn; before each look the next of `steps` happens, and after the last it is stopped."""

    topics: Topics = field(default_factory=Topics)
    steps: list[Callable[[], object]] = field(default_factory=list)
    most: int = 2000
    stopping: threading.Event = field(default_factory=threading.Event)
    watcher: Watcher = field(default_factory=lambda: Watcher(SETTINGS))

    def run(self) -> None:
        """The turn to its end."""
        member = Reader(self.topics, turns=self._step)
        readers = (Reader(self.topics, self.most) for _ in range(3))
        membership = Membership(cast("Any", member), EVENTS.topic)
        publisher = cast("Any", self.topics)
        Turn(self.watcher, SETTINGS, membership, Readers(*cast("Any", readers)), publisher, ()).run(self.stopping)

    def _step(self) -> None:
        if self.steps:
            self.steps.pop(0)()
        else:
            self.stopping.set()


@pytest.fixture
def bed() -> Bed:
    """A process whose group has looked at the past, in which an event was."""
    made = Bed()
    made.topics.decide(PAST)
    made.topics.burst("c100")
    made.topics.committed = {DECISIONS: len(made.topics.records[DECISIONS]), STATES: 0}
    return made


def nothing() -> None: ...


def test_of_what_was_decided_before_the_first_start_nothing_is_told(bed: Bed) -> None:
    bed.topics.committed = {}
    bed.steps = [nothing, nothing]
    bed.run()
    end = len(bed.topics.records[DECISIONS])
    assert bed.topics.published == [Publication([], {DECISIONS: end}, 1), Publication([], {STATES: 0}, 1)]


def test_what_was_looked_at_is_learnt_and_an_event_is_told_with_its_offsets_at_once(bed: Bed) -> None:
    bed.topics.burst("c101")
    bed.steps = [nothing, nothing, lambda: bed.topics.burst("c102"), nothing]
    bed.run()
    assert bed.topics.events_of == ["c101", "c102"]
    assert [one.offsets for one in bed.topics.published] == [
        {DECISIONS: len(bed.topics.records[DECISIONS]) - 6},
        {DECISIONS: len(bed.topics.records[DECISIONS])},
    ]


def test_an_event_of_a_cluster_without_names_has_those_of_its_decisions(bed: Bed) -> None:
    bed.topics.burst("c101")
    line = bed.topics.records[DECISIONS]
    for record in line[-6:]:
        record.value = orjson.dumps({**orjson.loads(record.value), "label": "cards", "route": "card-team"})
    bed.topics.burst("c102")
    for record in line[-6:]:
        record.value = orjson.dumps({**orjson.loads(record.value), "label": 7, "route": None})
    bed.steps = [nothing, nothing]
    bed.run()
    assert [(one["cluster_id"], one.get("label"), one.get("route")) for one in bed.topics.data] == [
        ("c101", "cards", "card-team"),
        ("c102", None, None),
    ]


def test_a_process_is_ready_once_it_has_learnt(bed: Bed) -> None:
    conditions: list[str | None] = []
    bed.most = 1000
    bed.steps = [lambda: conditions.append(bed.watcher.condition.ready())] * 4
    bed.run()
    learning = "learning from the decisions that were looked at before"
    assert conditions[1:] == [learning, None, None]


def test_a_process_without_the_turn_tells_nothing_more(bed: Bed) -> None:
    def given_away() -> None:
        bed.topics.has_turn = False
        bed.topics.burst("c101")

    bed.steps = [nothing, given_away]
    with pytest.raises(Superseded, match="gave the topic of events to another"):
        bed.run()
    assert bed.topics.published == []


def test_a_process_that_joins_again_goes_on_unless_another_published_events_meanwhile(bed: Bed) -> None:
    def joins(generation: int) -> None:
        bed.topics.generation = generation
        bed.topics.looks = 0

    def joined_again() -> None:
        bed.topics.burst("c101")
        joins(2)

    def another_published() -> None:
        bed.topics.committed[DECISIONS] += 1
        bed.topics.generation = 3
        bed.topics.burst("c102")

    looks: list[int] = []
    bed.steps = [
        nothing,
        # It is about to join: whether another told events is asked once it has.
        lambda: joins(-1),
        lambda: looks.append(bed.topics.looks),
        joined_again,
        lambda: looks.append(bed.topics.looks),
        another_published,
    ]
    with pytest.raises(Superseded, match="published events meanwhile"):
        bed.run()
    assert looks == [0, 2]
    assert [(one.subjects, one.generation) for one in bed.topics.published] == [(["acme/c101"], 2)]


def test_what_was_begun_without_a_membership_commits_nothing(bed: Bed) -> None:
    bed.topics.generation = -1
    bed.topics.burst("c101")
    bed.steps = [nothing, nothing]
    with pytest.raises(Superseded, match="dropped this member"):
        bed.run()
    assert bed.topics.published == []


def test_partitions_that_are_added_end_the_turn(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK_FOR_PARTITIONS_SECONDS", 0.0)

    def added() -> None:
        bed.topics.records[Partition(DECISIONS.topic, 1)] = []

    bed.steps = [nothing, nothing, added, *[nothing] * MOST_TURNS]
    bed.run()
    assert not bed.stopping.is_set()
    assert len(bed.steps) == MOST_TURNS


class Admin:
    """Tells which of these topics exist."""

    def __init__(self, *topics: str) -> None:
        self._topics = topics

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None: ...

    def find_topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        return {name: FoundTopic(name, 1, 1, 0, {}, None) for name in names if name in self._topics}


def test_a_process_that_stands_by_ends_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    one, turns = Watcher(SETTINGS), iter(range(MOST_TURNS))

    def turn() -> None:
        if next(turns) == 2:
            assert one.condition.remark() == "another process publishes events"
            one.stop()

    monkeypatch.setattr(watching, "open_admin", lambda _: Admin(DECISIONS.topic, STATES.topic, EVENTS.topic))
    monkeypatch.setattr(watching, "make_consumer", lambda *_: Reader(Topics(has_turn=False), turns=turn))
    one.run()
    assert next(turns) == 3


def test_a_topic_that_is_missing_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "open_admin", lambda _: Admin(DECISIONS.topic, EVENTS.topic))
    monkeypatch.setattr(watching, "make_consumer", lambda *_: pytest.fail("a session begins"))
    with pytest.raises(KafkaRefused, match=f"topic {STATES.topic} does not exist"):
        Watcher(SETTINGS).run()
