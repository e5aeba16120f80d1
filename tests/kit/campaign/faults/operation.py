"""What operators do while a stream runs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Self

from kafka import KafkaAdminClient

from tests.kit.campaign.bed import Bed
from tests.kit.campaign.faults.base import Dice, Fault
from tests.kit.campaign.faults.servers import SINGLE
from tests.kit.campaign.traffic import NAMESPACES
from tests.kit.servers import RedisServer, create_topics
from tests.kit.servers.topics import make_topic_anew
from tests.kit.stream import Stream, WorkerProcess, assert_one_decision_each, question, wait_until

REFUSED_SECONDS = 120.0


@dataclass(frozen=True)
class AddedPartition(Fault):
    """The input topic gets one partition more, and questions go there before a worker can know of it."""

    kind = "partition added"
    struck = "broker"

    def inflict(self, bed: Bed) -> None:
        admin = KafkaAdminClient(bootstrap_servers=bed.kafka.bootstrap_servers)
        try:
            partitions = len(bed.watch.asked()) + 1
            admin.create_partitions({bed.stream.topics.input_topic: partitions})
        finally:
            admin.close()
        bed.traffic.add_partition()


@dataclass(frozen=True)
class MadeAnewTopic(Fault):
    """The input topic is deleted under running workers, and made anew under its name with other questions in it.

    Just before, all that was asked is decided: undecided questions would be lost by the deletion.
    """

    kind = "input topic made anew"
    struck = "broker"
    alone = True

    def inflict(self, bed: Bed) -> None:
        with bed.traffic.paused(), bed.operator.paused():
            bed.end_era()
            make_topic_anew(bed.kafka.bootstrap_servers, bed.stream.topics.input_topic, len(bed.watch.asked()))
            bed.traffic.begin_anew()


@dataclass(frozen=True)
class NamedClusters(Fault):
    """People give the newest clusters labels and routes, each of its own, while they are merged."""

    kind = "clusters named"
    struck = "people"
    namespace: str
    clusters: int

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.choice(NAMESPACES), dice.count(1, 10))

    def inflict(self, bed: Bed) -> None:
        bed.operator.name_newest(self.namespace, self.clusters)


@dataclass(frozen=True)
class SwappedStore(Fault):
    """A rolling change of redis.url has reached one worker: it is led to another Redis, empty, and has to refuse."""

    kind = "store swapped for one worker"
    struck = "workers"
    needs = SINGLE
    worker: int

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.worker())

    def inflict(self, bed: Bed) -> None:
        worker = bed.workers[self.worker]
        with RedisServer(bed.folder / f"other-store-{uuid.uuid4().hex[:6]}") as other:
            ends = worker.exits.total()
            with worker.led_to(other.url):
                wait_until(lambda: worker.exits.total() > ends, "the worker refuses another Redis", REFUSED_SECONDS)
            with other.client() as client:
                decided = [name for name in client.keys("*") if ":cluster:" in name or ":ledger:" in name]
            assert not decided, f"decided in another Redis: {decided[:5]}"


@dataclass(frozen=True)
class OtherStream(Fault):
    """Another stream with topics of its own runs on the same broker and Redis for a while: it has its own prefix."""

    kind = "another stream on the store"
    struck = "workers"
    alone = True
    needs = SINGLE
    questions: int

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.count(20, 200))

    def inflict(self, bed: Bed) -> None:
        topics = create_topics(bed.kafka.bootstrap_servers, 2)
        prefix = f"other-{uuid.uuid4().hex[:6]}"
        # With the first stream's prefix it is refused, and takes nothing.
        mixed = Stream(bed.kafka.bootstrap_servers, topics, bed.store.url, {"clusters.namespace": "shop"})
        with WorkerProcess(bed.folder, mixed.overrides()) as refused:
            assert refused.wait(REFUSED_SECONDS) > 0
        other = Stream(bed.kafka.bootstrap_servers, topics, bed.store.url, {"redis.prefix": prefix})
        other.send(question(number, f"a{number % 7} b{number % 7}") for number in range(self.questions))
        with WorkerProcess(bed.folder, other.overrides()), other.decisions() as reader:
            decisions = reader.values(self.questions, REFUSED_SECONDS)
            assert_one_decision_each(decisions, (f"q{number}" for number in range(self.questions)))
        assert {decision["cluster_id"] for decision in decisions} == {f"c{number}" for number in range(1, 8)}
