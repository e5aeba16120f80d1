"""What is published with a batch and beside it, in which order, and what is claimed of it afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from questream.broker.port import Offsets, Outgoing
from questream.broker.quota import Pace
from questream.clustering.rules import Rules
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.domain import Question, Record, Source
from questream.encoder import Tokens
from questream.errors import BadRecord, NamespaceRefused, RecordsTooLarge, RecoveryNeeded, StoreUnavailable
from questream.metrics import Metrics
from questream.store.protocol import Confirmation, Identity, StoreError, Unconfirmed, Waiting
from questream.store.reference.store import MemoryStore
from questream.store.retention import Retention
from questream.stream import housekeeping
from questream.stream.backlog import Batch
from questream.stream.decider import DecidedBatch, Decider, Published
from questream.stream.housekeeping import Housekeeping
from questream.stream.publishing import Publishing, Topics
from questream.stream.question import Embedded, Pending, Ready, Refused
from questream.stream.retirement import Retirement
from questream.stream.retry import Retry
from tests.contract.test_levels import FOUND
from tests.kit.logged import logged_by

TOPICS = Topics("decisions", "clusters", "dead")
DIMENSION = 8
CONFIG = NamespaceConfig(Identity("model", "1", DIMENSION, "cosine", "average", 0.9), Rules(0.9, 0.9, "cosine"))
NO_ENCODER: Any = None  # the vectors are the test's
SENT_AT_MS = 1_700_000_000_000


class Store(MemoryStore):
    """The store in memory, which notes what is confirmed and how often it is asked."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 1000.0
        self.confirmed: list[Confirmation] = []
        self.looks: list[str] = []
        self.unavailable = 0
        self.refused: set[str] = set()

    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        self.confirmed += confirmations
        return super().confirm(confirmations)

    def namespaces(self) -> list[str]:
        self.looks.append("namespaces")
        return super().namespaces()

    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        self.looks.append("outbox")
        return super().unpublished(namespace, older_than_seconds, limit)

    def waiting(
        self, namespaces: Sequence[str], older_than_seconds: float, limit: int
    ) -> dict[str, Waiting | StoreError]:
        found = super().waiting(namespaces, older_than_seconds, limit)
        if self.unavailable:
            self.unavailable -= 1
            return found | {namespaces[-1]: StoreUnavailable("not now")}
        return found | {name: NamespaceRefused("no rights") for name in namespaces if name in self.refused}


class Publications:
    """A publisher that keeps what is published at once, or refuses the record at `too_large`.

    `meanwhile` happens once records are sent, and before they count.
    """

    def __init__(self) -> None:
        self.all: list[list[Outgoing]] = []
        self.held_seconds = 0.0
        self.too_large: int | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def start(self) -> None: ...

    def publish(
        self,
        records: Sequence[Outgoing],
        offsets: Offsets,
        membership: Any,  # noqa: ARG002 - the protocol's signature
        verify_before_commit: Callable[[], None],
    ) -> Offsets:
        if self.too_large is not None:
            raise RecordsTooLarge([self.too_large], "output")
        self.meanwhile()
        verify_before_commit()
        self.all.append(list(records))
        return offsets

    def close(self) -> None: ...

    @property
    def topics(self) -> list[list[str]]:
        """Where the records of each publication went."""
        return [[record.topic for record in records] for records in self.all]


class Bed:
    """The steps from a decision to its publication, on a store of their own."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.store, self.publications, self.metrics = Store(), Publications(), Metrics()
        self.assignment_id = 1
        self.published: list[Published] = []
        self.namespaces = Namespaces(self.store, CONFIG)
        self.retry = Retry(threading.Event())
        own: dict[str, Any] = {
            "current_assignment": lambda: self.assignment_id,
            "on_superseded": lambda _: None,
            "own_namespace": "shop",
        }
        self.decider = Decider(Clusterer(self.store, self.namespaces), self.metrics, self.retry, **own)
        self.publishing = Publishing(
            self.store,
            self.publications,
            TOPICS,
            self.metrics,
            self.retry,
            **own,
            on_published=self.published.append,
            pace=pace,
        )

    def decided(self, *items: Ready) -> DecidedBatch:
        decided = self.decider.decide(Batch(items, self.assignment_id, None, 0.0))
        assert decided is not None
        return decided

    def question(self, offset: int, axis: int = 0, namespace: str = "shop", partition: int = 0) -> Embedded:
        record = Record(Source("questions", partition, offset, SENT_AT_MS), None, b"Why?")
        asked = Question(str(offset), "Why?", namespace, record)
        store_epoch = self.namespaces.recorded(namespace, "questions", partition).store_epoch
        tokens = Tokens(np.zeros(1, np.int32), truncated=False)
        pending = Pending(asked, tokens, NO_ENCODER, store_epoch, True)
        return Embedded(pending, np.eye(DIMENSION, dtype=np.float32)[axis])

    def publish(self, *items: Ready) -> None:
        self.publishing.publish(self.decided(*items))

    def sampled(self, name: str, labels: dict[str, str] | None = None) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def keeper(self, retention: Retention | None = None) -> Housekeeping:
        """As of a worker that has decided nothing yet."""
        retirement = Retirement(self.store, retention or Retention(), self.metrics, self.retry)
        namespaces = Namespaces(self.store, CONFIG)
        return Housekeeping(namespaces, self.store, self.publishing, retirement, self.retry, "shop")


@pytest.fixture
def bed() -> Bed:
    return Bed()


def refused(offset: int, by_reference: bool = False) -> Refused:
    record = Record(Source("questions", 0, offset, SENT_AT_MS), None, b"")
    return Refused(record, BadRecord("decode", "empty_text", "no text"), by_reference=by_reference)


def test_decisions_their_clusters_and_dead_letters_are_one_publication(bed: Bed) -> None:
    bed.publish(bed.question(0), refused(1), bed.question(2))
    assert bed.publications.topics == [["decisions", "dead", "decisions", "clusters", "clusters"]]
    assert [published.below for published in bed.published] == [{("questions", 0): 3}]
    assert bed.sampled("questream_published_total") == 2
    assert bed.sampled("questream_dead_lettered_total", {"reason": "empty_text"}) == 1
    assert bed.sampled("questream_similarity_count") == 1
    assert bed.sampled("questream_end_to_end_seconds_count") == 2


def test_a_batch_of_an_assignment_that_has_ended_is_not_published(bed: Bed) -> None:
    """One before it may have been refused, and no offset may be committed past that."""
    decided = bed.decided(bed.question(0), bed.question(1))
    bed.assignment_id = 2
    bed.publishing.publish(decided)
    assert bed.publications.all == []
    assert bed.published == []
    assert bed.sampled("questream_dropped_total") == 2


def test_offsets_of_an_assignment_that_has_ended_are_claimed_no_longer(bed: Bed) -> None:
    """The log may have been cut meanwhile, and its offsets given again."""
    bed.publish(bed.question(0), bed.question(0, 1, partition=1))
    bed.assignment_id = 2
    bed.publishing.confirm()
    assert [one.committed for one in bed.store.confirmed] == [{}]
    bed.publish(bed.question(1))
    bed.publishing.confirm()
    assert bed.store.confirmed[-1].committed == {("questions", 0): 2}


def test_decisions_of_a_store_that_forgot_them_meanwhile_are_not_published(bed: Bed) -> None:
    decided = bed.decided(bed.question(0))
    bed.publications.meanwhile = lambda: bed.store.require_recovery("shop")
    with pytest.raises(RecoveryNeeded):
        bed.publishing.publish(decided)
    assert bed.publications.all == []
    assert bed.published == []


def test_what_was_put_back_is_published_before_the_first_decision_of_its_store_epoch(bed: Bed) -> None:
    bed.publish(bed.question(0))
    bed.store.now += 60
    bed.store.require_recovery("shop")
    bed.store._namespaces["shop"].outbox[1] = 1.0
    bed.publish(bed.question(1, 1))
    assert bed.publications.topics[-2:] == [["clusters"], ["decisions", "clusters", "clusters"]]


def test_a_cluster_that_is_gone_keeps_none_behind_it_in_an_outbox() -> None:
    bed = Bed(Pace(2, 1.0))
    bed.publish(bed.question(0), bed.question(1, 1))
    bed.store.require_recovery("shop")
    outbox = bed.store._namespaces["shop"].outbox
    outbox.clear()
    outbox.update({98: 1.0, 2: 2.0, 99: 3.0, 1: 4.0})
    bed.publish(bed.question(2, 2))
    # Two at a time, of which one is there.
    assert bed.publications.topics[1:] == [["clusters"], ["clusters"], ["decisions", "clusters", "clusters"]]


def test_a_state_that_its_topic_does_not_take_is_an_error_and_no_dead_letter(bed: Bed) -> None:
    decided = bed.decided(bed.question(0))
    bed.publications.too_large = 1
    with pytest.raises(RecordsTooLarge):
        bed.publishing.publish(decided)
    letter = bed.decided(refused(1, by_reference=True))
    bed.publications.too_large = 0
    with pytest.raises(RecordsTooLarge):
        bed.publishing.publish(letter)


def test_a_quota_that_makes_batches_smaller_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bed = Bed(Pace(64, 1.0))
    bed.publications.held_seconds = 60.0
    bed.publish(bed.question(0))
    assert [record.message for record in logged_by(Publishing, caplog)] == [
        "a quota of the broker (producer_byte_rate) holds publishing back: batches get smaller"
    ]
    bed.publications.held_seconds = 0.0
    bed.publish(bed.question(1))
    assert len(logged_by(Publishing, caplog)) == 1


def test_where_nothing_waits_nothing_is_published(bed: Bed) -> None:
    bed.publish(bed.question(0))
    bed.publishing.confirm()
    assert not bed.publishing.relay_pending("shop", 0.0)
    bed.publishing.relay_operations("shop")
    bed.publishing.relay_levels("shop")
    assert len(bed.publications.all) == 1


@pytest.fixture
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_SWEEP_SECONDS", 0.0)


@pytest.mark.usefixtures("_always_due")
def test_what_a_dead_worker_left_where_nobody_asks_is_published(bed: Bed) -> None:
    bed.decided(bed.question(0, namespace="bank"))
    bed.store.now += 60
    keeper = bed.keeper()
    keeper.sweep()
    assert bed.publications.topics == [["clusters", "clusters"]]
    # Others are looked for every ten seconds, and an outbox is asked for more only where there was as much as fits.
    keeper.sweep()
    assert bed.store.looks == ["namespaces", "outbox", "outbox", "outbox"]


def test_a_sweep_that_was_just_made_is_not_made_again(bed: Bed) -> None:
    bed.decided(bed.question(0))
    keeper = bed.keeper()
    keeper.sweep()
    keeper.sweep()
    assert bed.store.looks == ["namespaces", "outbox"]


@pytest.mark.usefixtures("_always_due")
def test_a_store_that_cannot_say_what_waits_is_asked_again(bed: Bed) -> None:
    bed.decided(bed.question(0), bed.question(1, namespace="bank"))
    bed.store.now += 60
    bed.store.unavailable = 1
    bed.keeper().sweep()
    assert [len(records) for records in bed.publications.all] == [2, 2]


@pytest.mark.usefixtures("_always_due")
def test_a_namespace_that_the_store_refuses_keeps_no_other_from_being_swept(bed: Bed) -> None:
    bed.decided(bed.question(0), bed.question(1, namespace="bank"))
    bed.store.now += 60
    bed.store.refused = {"bank"}
    bed.keeper().sweep()
    assert sorted(record.key or b"" for record in bed.publications.all[0]) == [b"shop", b"shop/c1"]
    bed.store.refused = {"shop"}
    with pytest.raises(NamespaceRefused):
        bed.keeper().sweep()


@pytest.mark.usefixtures("_always_due")
def test_nothing_is_retired_of_a_namespace_that_has_to_be_recovered(bed: Bed) -> None:
    bed.decided(bed.question(0), bed.question(1, 1))
    bed.store.require_recovery("shop")
    keeper = bed.keeper(Retention(max_clusters=1))
    keeper.sweep()
    assert [state.cluster_id for state in bed.store.clusters("shop")] == [1, 2]
    bed.namespaces.recovered("shop")
    keeper.sweep()
    assert [state.cluster_id for state in bed.store.clusters("shop")] == [2]


@pytest.mark.usefixtures("_always_due")
def test_levels_that_were_found_are_published_by_the_next_sweep(bed: Bed) -> None:
    bed.decided(bed.question(0))
    store_epoch = bed.store.store_epoch("shop") or ""
    assert bed.store.write_levels("shop", store_epoch, FOUND)
    keeper = bed.keeper()
    keeper.sweep()
    published = len(bed.publications.all)
    assert published == 1
    keeper.sweep()
    assert len(bed.publications.all) == published
