"""Record by record: nothing lost, nothing twice, one decision each, dead letters untouched, offsets in order."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.kit.checker.evidence import Entry, Headers, Place
from tests.kit.checker.published import Decision, Run, header
from tests.kit.checker.rules import Rules
from tests.kit.checker.thresholds import Thresholds
from tests.kit.checker.violation import Promise, Violation

_ERROR_HEADERS = ("stage", "error", "reason", "topic", "partition", "offset", "attempts")
_ADDED = {f"questream-{name}" for name in _ERROR_HEADERS}
_REFERENCE = "questream-reference"
# What a topic takes by default; a little less of key, value and headers may be more with what is around them.
_LARGEST_BYTES = 1_000_000
_CODE = re.compile(rb"[a-z][a-z0-9_]*")


def check_published_once(run: Run, rules: Rules) -> Iterator[Violation]:
    """Every record is in the output or among the dead letters, once; repeated only where delivery allows for it."""
    counts = Counter(
        decision.place
        for decision in run.decisions
        if decision.topic == run.evidence.input_topic and decision.outcome != "replayed"
    )
    for place in sorted(run.asked):
        published, lettered = counts[place], len(run.letters.get(place, ()))
        if rules.tombstones == "skip" and _is_tombstone(run.asked[place]):
            if published or lettered:
                yield Violation(Promise.ONCE, _name(place), "a tombstone, yet decided or dead-lettered")
        elif not published and not lettered:
            yield Violation(Promise.NOTHING_LOST, _name(place), "neither decided nor dead-lettered")
            if place[1] < run.evidence.committed.get(place[0], 0):
                yield Violation(Promise.OFFSETS, _name(place), "its offset is committed, yet it was not published")
        elif published and lettered:
            yield Violation(Promise.ONCE, _name(place), "both decided and dead-lettered")
        elif published + lettered > 1 and rules.delivery == "exactly-once":
            yield Violation(Promise.ONCE, _name(place), f"published {published + lettered} times")
    for decision in run.decisions:
        if decision.topic != run.evidence.input_topic:
            yield Violation(Promise.ONCE, _name(decision.place), "decided of a topic that is not the input")
        elif decision.place not in run.asked and _is_held(run, decision.place):
            yield Violation(Promise.ONCE, _name(decision.place), "decided, yet the input has no such record")


def check_decisions_agree(run: Run, rules: Rules) -> Iterator[Violation]:
    """A decision that is published again is the same to the byte, and the one that the ledger holds."""
    for decision in run.decisions:
        first = None if rules.may_decide_anew(decision.place) else run.decided.get(decision.place)
        if decision.outcome == "replayed":
            # A ledger forgets below the group's offset alone, and nobody sets that back.
            if not rules.store_lost_memory:
                yield Violation(Promise.ONE_ID, _name(decision.place), "answered by clusters of a later time")
            continue
        if first is None:
            continue
        compared = (first.value.keys() | decision.value.keys()) - rules.added_fields
        names = sorted(name for name in compared if decision.value.get(name) != first.value.get(name))
        if names:
            yield Violation(Promise.ONE_ID, _name(decision.place), f"published again with another {', '.join(names)}")
    for namespace, stored in run.evidence.stored.items():
        heads = {
            partition: ledger.head
            for (topic, partition), ledger in stored.ledgers.items()
            if topic == run.evidence.input_topic
        }
        for decision in run.decided_in(namespace):
            partition, offset = decision.place
            if offset > heads.get(partition, -1):
                yield Violation(
                    Promise.REMEMBERED, _name(decision.place), f"decided, yet the ledger ends at {heads.get(partition)}"
                )
        yield from _compare_ledgers(run, namespace)


def check_unmatched(run: Run, rules: Rules) -> Iterator[Violation]:
    """A question without a cluster has nothing of one, and was nowhere near enough; all others have a cluster.

    None has both a route and a `suggested_route`, which says what a route would have been that is none.
    """
    own = {namespace: Thresholds(run, namespace) for namespace in run.namespaces}
    for place, decision in run.decided.items():
        value, is_unmatched = decision.value, decision.outcome == "unmatched"
        nearest = decision.runner_up[0] if decision.runner_up else None
        near_enough = max(own[decision.namespace].of(nearest, decision.threshold)) + rules.tolerance
        if is_unmatched != (decision.number is None):
            yield Violation(Promise.ONE_ID, _name(place), f"{decision.outcome}, with cluster {value['cluster_id']}")
        elif is_unmatched and (value["label"] or value["route"] or value.get("path") or decision.size):
            yield Violation(Promise.ONE_ID, _name(place), "unmatched, with label, route, path or size of a cluster")
        elif value["route"] and value.get("suggested_route"):
            yield Violation(Promise.ONE_ID, _name(place), "has a route, and one that it would have had")
        elif is_unmatched and not value.get("reason") and (decision.similarity or -1.0) > near_enough:
            yield Violation(Promise.ONE_ID, _name(place), "unmatched, although a cluster was near enough")


def check_pass_through(run: Run, rules: Rules) -> Iterator[Violation]:
    """A decision has the key and the headers of its question, but for those that describe the question's own form."""
    del rules
    for place, decision in run.decided.items():
        asked = run.asked.get(place)
        if asked is None:
            continue
        expected = [
            (name, value or b"")
            for name, value in asked.headers
            if name.lower() != "content-type" and not name.lower().startswith("ce_")
        ]
        if decision.entry.key != asked.key or _plain(decision.entry.headers) != expected:
            yield Violation(Promise.PASSED_THROUGH, _name(place), "key or headers differ from the question's")


def check_dead_letters(run: Run, rules: Rules) -> Iterator[Violation]:
    """A dead letter has the record's bytes, key and headers, and says where it came from and why it failed.

    One of a record that is larger than a topic takes has its digest and sizes instead, and what is small of the rest.
    """
    del rules
    for entry in run.evidence.dead_letters:
        if any(name not in {known for known, _ in entry.headers} for name in _ADDED):
            yield Violation(Promise.DEAD_LETTERS, f"dead letter {entry.place}", "an error header is missing")
    for place, letters in run.letters.items():
        asked = run.asked.get(place)
        if asked is None:
            if _is_held(run, place):
                yield Violation(Promise.DEAD_LETTERS, _name(place), "dead-lettered, yet the input has no such record")
            continue
        for letter in letters:
            yield from _compare_letter(place, asked, letter)


def check_offsets(run: Run, rules: Rules) -> Iterator[Violation]:
    """What is published in a transaction has its offset committed in it."""
    if rules.delivery != "exactly-once":
        return
    for place in sorted(run.decided.keys() | run.letters.keys()):
        committed = run.evidence.committed.get(place[0], 0)
        if place[1] >= committed:
            yield Violation(Promise.OFFSETS, _name(place), f"published, yet the group is at {committed}")


def _compare_ledgers(run: Run, namespace: str) -> Iterator[Violation]:
    for (topic, partition), ledger in run.evidence.stored[namespace].ledgers.items():
        if topic != run.evidence.input_topic:
            continue
        for offset, recorded in ledger.rows.items():
            decision = run.decided.get((partition, offset))
            if decision is not None and not _is_recorded(decision, recorded.number, recorded.created, recorded.size):
                yield Violation(
                    Promise.ONE_ID, _name((partition, offset)), "the ledger holds another decision than was published"
                )


def _is_tombstone(asked: Entry) -> bool:
    return asked.key is not None and asked.value is None


def _is_recorded(decision: Decision, number: int | None, created: bool, size: int) -> bool:
    outcome = "unmatched" if number is None else "created" if created else "joined"
    return (decision.number, decision.outcome, decision.size) == (number, outcome, size)


def _compare_letter(place: Place, asked: Entry, letter: Entry) -> Iterator[Violation]:
    own = [(name, value) for name, value in letter.headers if name not in _ADDED and name != _REFERENCE]
    if (reference := header(letter, _REFERENCE)) is not None:
        if not _refers(json.loads(reference), asked) or letter.value is not None or letter.key not in (None, asked.key):
            yield Violation(Promise.DEAD_LETTERS, _name(place), "its reference is not to the record")
        if not set(own) <= set(asked.headers):
            yield Violation(Promise.DEAD_LETTERS, _name(place), "its headers are not among the record's")
    elif (letter.key, letter.value) != (asked.key, asked.value):
        yield Violation(Promise.DEAD_LETTERS, _name(place), "its key or value is not the record's")
    elif _plain(tuple(own)) != [(name, value) for name, value in _plain(asked.headers) if name not in _ADDED]:
        yield Violation(Promise.DEAD_LETTERS, _name(place), "its headers are not the record's")
    headers = dict(letter.headers)
    codes = [headers.get(f"questream-{name}") or b"" for name in ("stage", "reason")]
    if not all(_CODE.fullmatch(code) for code in codes) or not (headers.get("questream-attempts") or b"").isdigit():
        yield Violation(Promise.DEAD_LETTERS, _name(place), "its error headers do not say why it failed")


def _refers(reference: Mapping[str, Any], asked: Entry) -> bool:
    key, value = asked.key or b"", asked.value or b""
    header_bytes = sum(len(name.encode()) + len(content or b"") for name, content in asked.headers)
    return reference == {
        "key_bytes": len(key),
        "value_bytes": len(value),
        "header_bytes": header_bytes,
        "sha256": hashlib.sha256(value).hexdigest(),
    } and (len(key) + len(value) + header_bytes > _LARGEST_BYTES)


def _is_held(run: Run, place: Place) -> bool:
    """True if the input would still hold the record: retention takes the oldest."""
    return place[1] >= run.evidence.input_begins.get(place[0], 0)


def _plain(headers: Headers) -> list[tuple[str, bytes]]:
    # A null value becomes empty: kafka-python's producer refuses null.
    return [(name, value or b"") for name, value in headers]


def _name(place: Place) -> str:
    return f"record {place[0]}/{place[1]}"
