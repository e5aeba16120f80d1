"""The lives of an input topic that was made anew, judged as one."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.kit.campaign.eras import end_era, partition_of, whole
from tests.kit.checker import Evidence
from tests.kit.checker.evidence import Entry
from tests.kit.checker.stored import Stored, StoredLedger

FORMER = partition_of(0, 0, 1)


def asked(offset: int, key: bytes) -> Entry:
    return Entry(0, offset, 0, key, b"{}")


def decided(offset: int, of: int, key: bytes) -> Entry:
    return Entry(0, offset, 0, key, json.dumps({"source": {"partition": 0, "offset": of}}).encode())


def letter(offset: int, of: int, key: bytes) -> Entry:
    return Entry(0, offset, 0, key, b"", (("questream-partition", b"0"), ("questream-offset", b"%d" % of)))


def evidence(*, first: bytes, ledger_head: int, output: list[Entry], dead_letters: list[Entry]) -> Evidence:
    stored = {"shop": Stored(ledgers={("questions", 0): StoredLedger(ledger_head, {})})}
    questions = [asked(0, first + b"0"), asked(1, first + b"1")]
    return Evidence("questions", questions, {0: 0}, output, dead_letters, [], {0: ledger_head + 1}, stored)


def partitions(entries: list[Entry]) -> list[int]:
    return [json.loads(entry.value or b"")["source"]["partition"] for entry in entries]


BEFORE = evidence(first=b"a", ledger_head=1, output=[decided(0, 0, b"a0")], dead_letters=[letter(0, 1, b"a1")])
AFTER = evidence(
    first=b"b",
    ledger_head=0,
    output=[*BEFORE.output, decided(1, 0, b"b0")],
    dead_letters=[*BEFORE.dead_letters, letter(1, 1, b"b1")],
)


def test_what_was_published_of_each_life_is_told_apart() -> None:
    seen = whole(AFTER, [end_era(BEFORE)])
    assert [(entry.place, entry.key) for entry in seen.input] == [
        ((FORMER, 0), b"a0"),
        ((FORMER, 1), b"a1"),
        ((0, 0), b"b0"),
        ((0, 1), b"b1"),
    ]
    assert partitions(seen.output) == [FORMER, 0]
    assert [dict(entry.headers)["questream-partition"] for entry in seen.dead_letters] == [b"%d" % FORMER, b"0"]
    assert seen.committed == {FORMER: 2, 0: 1}
    assert {place: ledger.head for place, ledger in seen.stored["shop"].ledgers.items()} == {
        ("questions", FORMER): 1,
        ("questions", 0): 0,
    }


def test_a_decision_of_an_earlier_life_that_is_repeated_later_is_of_that_life() -> None:
    repeated = replace(AFTER, output=[*AFTER.output, decided(2, 0, b"a0")])
    assert partitions(whole(repeated, [end_era(BEFORE)]).output) == [FORMER, 0, FORMER]


def test_what_no_record_has_asked_is_of_the_life_in_which_it_was_published() -> None:
    strange = replace(AFTER, output=[*AFTER.output, decided(2, 7, b"z")])
    assert partitions(whole(strange, [end_era(BEFORE)]).output) == [FORMER, 0, 0]


def test_a_topic_that_was_never_made_anew_is_what_it_is() -> None:
    assert whole(AFTER, []) is AFTER
