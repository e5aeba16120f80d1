"""What a round runs on: the broker, a store, workers that are kept alive, questions that go on, and a reader."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

from questream.broker.kafka_python.consumer import RecordConsumer
from tests.kit.campaign.eras import Era, end_era
from tests.kit.campaign.kept import KeptWorker
from tests.kit.campaign.operator import Operator
from tests.kit.campaign.stores import SentinelStore, SingleStore
from tests.kit.campaign.traffic import Traffic
from tests.kit.campaign.watch import Watch
from tests.kit.checker import Evidence, collect
from tests.kit.servers import KafkaServer, Link, create_topics
from tests.kit.stream import Stream, members, wait_until

if TYPE_CHECKING:
    from tests.kit.campaign.schedule import Round

THRESHOLD = 0.6
METADATA_AGE_MILLISECONDS = 5000
# Few enough for a flood to go beyond them.
NAMESPACES_MAX = 20
MAX_POLL_INTERVAL_SECONDS = 30
# Beside other work on the machine, small batches and many namespaces take minutes.
DRAIN_SECONDS = 400.0
READY_SECONDS = 120.0
META = "questream:{*}:meta"


class Bed:
    """A context manager: up, with decisions in every partition, when it is entered.

    `paths` lead to the broker, one for each worker at least.
    """

    def __init__(self, folder: Path, kafka: KafkaServer, paths: list[Link], plan: Round) -> None:
        self.folder = folder
        self.kafka = kafka
        self.store = SingleStore(folder / "store", plan.workers) if plan.store == "single" else SentinelStore(folder)
        self.workers: list[KeptWorker] = []
        # Earlier lives of the input topic.
        self.eras: list[Era] = []
        self._paths = paths
        self._plan = plan
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def single(self) -> SingleStore:
        """The store of one server."""
        assert isinstance(self.store, SingleStore)
        return self.store

    @property
    def sentinel(self) -> SentinelStore:
        """The store that Sentinel watches."""
        assert isinstance(self.store, SentinelStore)
        return self.store

    def wait_for_owner(self) -> None:
        """Return when the workers around a model are in the group with the others; at once where there are none.

        They take seconds to start, in which others have their partitions: what strikes them would strike nobody.
        """
        if self._plan.owner:
            wait_until(self._all_are_members, "all workers are in the group", READY_SECONDS)

    def evidence_at_rest(self) -> Evidence:
        """What topics and store hold once everything asked is decided and published; fails if that does not come.

        A worker may confirm what it published before others went on: those clusters are published once more.
        """
        wait_until(self._is_drained, "every offset is committed", DRAIN_SECONDS)
        deadline = time.monotonic() + DRAIN_SECONDS
        while True:
            wait_until(self._is_published, "every cluster's state is published", DRAIN_SECONDS)
            evidence = self._evidence()
            if _is_at_rest(evidence):
                return evidence
            assert time.monotonic() < deadline, "outboxes do not stay empty, or a namespace is not recovered"

    def end_era(self) -> None:
        """Have what was asked until now judged as a life of the input topic of its own; nothing may be asked meanwhile.

        Fails if that does not come to rest.
        """
        evidence = self.evidence_at_rest()
        lost = self.traffic.places - {entry.place for entry in evidence.input}
        assert not lost, f"the broker lost {len(lost)} questions that it had acknowledged"
        self.eras.append(end_era(evidence))
        self.watch.begin_anew(self.eras[-1].output_ends)

    def _evidence(self) -> Evidence:
        """What the topics and the store hold, with the ledgers of this life of the input topic."""
        topics = self.stream.topics
        evidence = collect(
            self.stream.bootstrap_servers,
            self.store.url,
            self.stream.group_id,
            topics.input_topic,
            topics.output_topic,
            topics.cluster_topic,
            topics.dead_letter_topic,
            operation_topic=topics.operation_topic,
            correction_topic=topics.correction_topic,
        )
        name = self._name_in_ledgers()
        stored = {
            namespace: replace(
                one,
                ledgers={
                    (topics.input_topic, p): ledger for (topic, p), ledger in one.ledgers.items() if topic == name
                },
            )
            for namespace, one in evidence.stored.items()
        }
        return replace(evidence, stored=stored)

    def _name_in_ledgers(self) -> str:
        """What the ledgers call the input topic: another name for each of its lives."""
        consumer = RecordConsumer(bootstrap_servers=self.stream.bootstrap_servers, group_id=self.stream.group_id)
        try:
            identity = consumer.stream_identity(self.stream.topics.input_topic)
        finally:
            consumer.close(autocommit=False)
        with self.stream.redis() as client:
            streams = client.hgetall("questream:streams")
        return str(next(name.decode() for name, known in streams.items() if known.decode() == identity))

    def _start(self) -> None:
        plan = self._plan
        self._started.enter_context(self.store)
        topics = create_topics(self.kafka.bootstrap_servers, plan.partitions)
        options = {
            "input.namespace_field": "namespace",
            "clusters.threshold": THRESHOLD,
            "clusters.log_entries": 1_000_000,
            # A broker that was killed can load a group without the session timers of its members: those that are gone
            # are waited for this long at the next rebalance (Kafka 4.1.1, one node).
            "kafka.max_poll_interval_seconds": MAX_POLL_INTERVAL_SECONDS,
            # A partition that is added is found by a worker's next look at the metadata.
            "kafka.options": {"metadata_max_age_ms": METADATA_AGE_MILLISECONDS},
            "namespaces.max": NAMESPACES_MAX,
            **plan.options,
        }
        self.stream = Stream(self.kafka.bootstrap_servers, topics, self.store.url, options)
        for number in range(plan.workers):
            overrides = self.stream.overrides() | self.store.overrides(number)
            path = self._paths[number]
            overrides["kafka.bootstrap_servers"] = f"127.0.0.1:{path.port}"
            if plan.owner and number == 0:
                overrides["model.processes"] = 2
            worker = KeptWorker(self.folder, overrides, path, self.store.path_of(number), self.store.paths_to_it)
            self.workers.append(self._started.enter_context(worker))
        self.watch = self._started.enter_context(Watch(self.stream))
        self.traffic = self._started.enter_context(
            Traffic(self.kafka.bootstrap_servers, topics.input_topic, plan.partitions, Random(plan.seed))
        )
        everywhere = dict.fromkeys(range(plan.partitions), 0)
        if self.watch.seconds_until_decided(everywhere, READY_SECONDS) is None:
            raise AssertionError(
                f"no decision in some partition before any fault:\n{self.workers[0].process.end_of_log()}"
            )
        self.operator = self._started.enter_context(Operator(self, Random(f"{plan.seed}/operator")))

    def _all_are_members(self) -> bool:
        joined = len(members(self.stream)) == self._plan.workers + 1
        if not joined:
            time.sleep(0.2)
        return joined

    def _is_drained(self) -> bool:
        committed, asked = self.stream.committed(), self.watch.asked()
        drained = all(committed.get(partition, 0) >= end for partition, end in asked.items())
        if not drained:
            time.sleep(0.2)
        return drained

    def _is_published(self) -> bool:
        self.stream.redis_url = self.store.url
        with self.stream.redis() as client:
            return not client.keys("questream:{*}:outbox") and not any(map(_waits, client.keys(META), repeat(client)))


def _waits(key: bytes, client: Any) -> bool:
    """True if an operation is not known to be published, by a namespace's key in the store."""
    count, published = (int(one or 0) for one in client.hmget(key, ["operation_count", "operations_published"]))
    return published < count


def _is_at_rest(evidence: Evidence) -> bool:
    """True if nothing waits to be published, and every namespace that the cluster topic has is open in the store."""
    published = {entry.key.decode() for entry in evidence.cluster_states if entry.key and b"/" not in entry.key}
    opened = {namespace for namespace, stored in evidence.stored.items() if "model" in stored.meta}
    waits = any(stored.outbox or stored.operations_wait for stored in evidence.stored.values())
    return published <= opened and not waits
