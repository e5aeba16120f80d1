"""What the ledgers know of a question: its decision, nothing yet, or nothing any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from questream.broker.port import NextOffset, Partition
from questream.domain import Decision, Question, Record, Source
from questream.errors import BadRecord, NamespaceRefused, Superseded
from questream.metrics import Metrics
from questream.records.fingerprint import fingerprint
from questream.store.protocol import Ledger
from questream.stream import recall
from questream.stream.question import Recalled
from questream.stream.recall import Recall, Unrecorded

OWN, OTHER = "shop", "bank"
STREAM = "questions"
DECISION = Decision(7, 0.9, "joined", 3, None, None, None, "model", 0.9, False, 1)


def question(offset: int, namespace: str = OWN, value: bytes = b"Why?") -> Question:
    record = Record(Source(STREAM, 0, offset, 1), None, value)
    return Question(f"q{offset}", "Why?", namespace, record)


def ledger(head: int, *recorded: int) -> Ledger:
    """A ledger that ends at `head`, with the decisions of these offsets."""
    known = {offset: fingerprint(question(offset).record) for offset in {head, *recorded}}
    return Ledger(head, dict.fromkeys(recorded, DECISION), "1", known)


class Bed:
    """A recall with one partition, whose group has committed `committed`; `reads` and `cuts` are of its ledgers."""

    def __init__(self, found: Ledger | Exception, committed: int | None = 0, head_is_another: bool = False) -> None:
        self.found = found
        self.committed_at = committed
        self.reads: list[str] = []
        self.cuts: list[int] = []
        self.asked = 0
        self.checks: list[int] = []
        self._head_is_another = head_is_another
        own: Any = self
        self.recall = Recall(own, {own: own}, OWN, own, 1.0, own, Metrics(), own)
        self.identity = self

    def call(self, call: Any, *args: Any) -> Any:
        """As of PollingRetry."""
        return call(*args)

    def recorded(self, namespace: str, *_: object) -> Ledger:
        self.reads.append(namespace)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def config_of(self, _: str) -> Any:
        return SimpleNamespace(identity=self)

    def forget(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        assert (namespace, topic, partition) == (OWN, STREAM, 0)
        self.cuts.append(offset)
        return ledger(offset - 1)

    def forget_in_all(self, topic: str, partition: int, offset: int) -> None:
        assert (topic, partition) == (STREAM, 0)
        self.cuts.append(offset)

    def committed(self, partition: Partition, _: float) -> NextOffset | None:
        assert partition == (STREAM, 0)
        self.asked += 1
        return None if self.committed_at is None else NextOffset(self.committed_at, "")

    def is_another(self, topic: str, partition: int, offset: int, known: str) -> bool:
        """As of RecordCheck."""
        assert (topic, partition, known) == (STREAM, 0, fingerprint(question(offset).record))
        self.checks.append(offset)
        return self._head_is_another

    def look_up(self, *asked: Question) -> list[Recalled | Unrecorded]:
        return [self.recall.look_up(one) for one in asked]


def test_a_recorded_question_keeps_its_decision_and_one_behind_the_ledger_is_new() -> None:
    bed = Bed(ledger(8, 7, 8))
    first, second, third = bed.look_up(question(7), question(8), question(9))
    assert isinstance(first, Recalled)
    assert isinstance(second, Recalled)
    assert (first.decision, first.store_epoch) == (DECISION, "1")
    assert isinstance(third, Unrecorded)
    assert (third.fresh, third.store_epoch) == (True, "1")
    assert (bed.reads, bed.asked, bed.checks) == ([OWN], 0, [])


def test_decisions_are_let_go_once_the_questions_behind_them_come() -> None:
    bed = Bed(ledger(8, 7, 8))
    bed.look_up(question(9))
    ((kept, _),) = bed.recall._ledgers.values()
    assert (kept.head, kept.decisions) == (8, {})


def test_a_ledger_is_read_again_in_the_next_assignment() -> None:
    bed = Bed(ledger(8, 8))
    bed.look_up(question(8), question(9))
    bed.found = ledger(9, 9)
    bed.recall.clear()
    (found,) = bed.look_up(question(9))
    assert isinstance(found, Recalled)
    assert bed.reads == [OWN, OWN]


@pytest.mark.parametrize("committed", [None, 3, 4])
def test_a_question_that_the_ledger_forgot_is_read_again_after_one_look_at_the_group(committed: int | None) -> None:
    bed = Bed(ledger(8, 8), committed)
    for found in bed.look_up(question(4), question(5)):
        assert isinstance(found, Unrecorded)
        assert not found.fresh
    assert (bed.asked, bed.checks, bed.cuts) == (1, [8], [])


@pytest.mark.parametrize("found", [ledger(8, 8), ledger(8, 4, 8)])
def test_what_the_group_has_passed_is_another_workers(found: Ledger) -> None:
    bed = Bed(found, committed=5)
    other = question(4, value=b"Another record?") if 4 in found.decisions else question(4)
    for _ in range(2):
        with pytest.raises(Superseded):
            bed.look_up(other)
    assert (bed.checks, bed.cuts) == ([], [])


def test_a_ledger_that_is_read_again_has_its_gap_looked_at_again() -> None:
    bed = Bed(ledger(8, 8))
    bed.look_up(question(4))
    bed.recall.clear()
    bed.committed_at = 5
    with pytest.raises(Superseded):
        bed.look_up(question(4))


def test_no_more_ledgers_and_gaps_are_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_MOST_LEDGERS", 2)
    bed = Bed(ledger(8, 8))
    bed.look_up(*(question(4, f"tenant-{number}") for number in range(5)))
    assert len(bed.recall._ledgers) == len(bed.recall._gaps_known) == 2


def test_another_record_at_a_recorded_place_is_a_new_question_and_so_are_those_behind() -> None:
    bed = Bed(ledger(8, 7, 8))
    found, behind = bed.look_up(question(7, value=b"Another record?"), question(8))
    assert isinstance(found, Unrecorded)
    assert isinstance(behind, Unrecorded)
    assert (found.fresh, behind.fresh, bed.cuts, bed.checks) == (True, True, [7], [])


def test_where_the_ledgers_last_record_has_gone_a_question_below_it_is_new() -> None:
    bed = Bed(ledger(8, 8), head_is_another=True)
    (found,) = bed.look_up(question(4))
    assert isinstance(found, Unrecorded)
    assert (found.fresh, bed.cuts) == (True, [4])


def test_a_refused_namespace_is_asked_for_again_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(NamespaceRefused("another model"))
    for _ in range(2):
        with pytest.raises(BadRecord):
            bed.look_up(question(7, OTHER))
    assert bed.reads == [OTHER]
    monkeypatch.setattr(recall, "_REFUSED_SECONDS", 0.0)
    with pytest.raises(BadRecord):
        bed.look_up(question(7, "third"))
    bed.found = ledger(8, 7, 8)
    (found,) = bed.look_up(question(7, "third"))
    assert isinstance(found, Recalled)


def test_the_refusal_of_the_workers_own_namespace_is_no_dead_letter() -> None:
    with pytest.raises(NamespaceRefused):
        Bed(NamespaceRefused("another model")).look_up(question(7))


def test_records_that_stand_where_others_were_have_all_ledgers_cut_and_read_again() -> None:
    bed = Bed(ledger(8, 8))
    bed.look_up(question(8))
    bed.recall.forget_from(STREAM, 0, 8)
    bed.found = ledger(7)
    (found,) = bed.look_up(question(8))
    assert isinstance(found, Unrecorded)
    assert (found.fresh, bed.cuts, bed.reads) == (True, [8], [OWN, OWN])
