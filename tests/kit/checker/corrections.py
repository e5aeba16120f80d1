"""The questions that operations moved: what the corrections say of them, against operations and decisions."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.kit.checker.clusters import parted_in, root_of
from tests.kit.checker.evidence import Entry
from tests.kit.checker.operations import forgotten, published_operations
from tests.kit.checker.published import Run
from tests.kit.checker.rules import Operated, Rules
from tests.kit.checker.violation import Promise, Violation


@dataclass(frozen=True, slots=True)
class Correction:
    """A question, by its place and id, was in cluster `before` and is in `after` since an operation; None for none."""

    namespace: str
    operation: int
    place: tuple[str, int, int]
    question_id: str | None
    before: int | None
    after: int | None
    key: bytes | None


def check_corrections(run: Run, rules: Rules) -> Iterator[Violation]:
    """Each correction of an operation is published once, and each question's lead from where it was decided."""
    if run.evidence.operations is None or run.evidence.corrections is None:
        return
    made = Counter(one for entry in run.evidence.operations for one in _of_operation(entry))
    published = Counter(_of_record(entry) for entry in run.evidence.corrections)
    for one in made.keys() - published.keys():
        yield _broken(one, "moved a question of which its correction is missing")
    for one in published.keys() - made.keys():
        yield _broken(one, "did not move a question that a correction says it moved")
    if rules.delivery == "exactly-once":
        for one in published.keys() & made.keys():
            if published[one] > made[one]:
                yield _broken(one, "has more than one correction of a question")
    yield from _check_steps(run, rules, sorted(made, key=lambda one: one.operation))


def _check_steps(run: Run, rules: Rules, made: list[Correction]) -> Iterator[Violation]:
    """Nothing is said of namespaces with operations that the store forgot, or gave another number after a loss."""
    published = published_operations(run.evidence)
    answered: dict[str, list[Operated]] = {}
    for one in rules.operated:
        if one.number:
            answered.setdefault(one.namespace, []).append(one)
    unclear = {name for name, operated in answered.items() if forgotten(operated, published.get(name, ()))}
    parted = parted_in(run)
    at = {
        (namespace, decision.value["question_id"]): decision.number
        for namespace in run.namespaces
        for decision in run.decided_in(namespace)
    }
    for step in made:
        asked = step.namespace, step.question_id
        if step.namespace in unclear or asked not in at:
            continue
        # What two clusters were to each other before their merge was taken back is not looked up.
        was_parted = {at[asked], step.before} & parted.get(step.namespace, set())
        if not was_parted and _root(run, step.namespace, at[asked]) != _root(run, step.namespace, step.before):
            yield _broken(step, "moved a question from where it was not")
        at[asked] = step.after


def _root(run: Run, namespace: str, number: int | None) -> int | None:
    return None if number is None else root_of(run, namespace, number)


def _of_operation(entry: Entry) -> Iterator[Correction]:
    value = json.loads(entry.value or b"")
    for one in value.get("corrections") or ():
        key = None if one["key"] is None else base64.b64decode(one["key"])
        yield _correction((entry.key or b"").decode(), value["operation"], one, key)


def _of_record(entry: Entry) -> Correction:
    value = json.loads(entry.value or b"")
    return _correction(value["namespace"], value["operation"], value, entry.key)


def _correction(namespace: str, operation: int, value: Mapping[str, Any], key: bytes | None) -> Correction:
    source = value["source"]
    place = source["topic"], source["partition"], source["offset"]
    before, after = (None if one is None else int(one[1:]) for one in (value["from"], value["to"]))
    return Correction(namespace, operation, place, value["question_id"], before, after, key)


def _broken(one: Correction, detail: str) -> Violation:
    return Violation(Promise.CORRECTIONS, f"{one.namespace} {one.operation}", detail)
