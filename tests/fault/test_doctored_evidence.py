"""Each promise by itself: the evidence of a clean run, doctored in one place, and what the checker says of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from questream.operations import KnownQuestion
from tests.fault.test_planted_bugs import MERGING, OPTIONS, RULES, THRESHOLD, at_rest
from tests.fault.test_planted_operations import decide
from tests.kit.checker import Evidence, Named, Operated, Promise, Rules, check
from tests.kit.checker.evidence import Entry
from tests.kit.checker.stored import StoredCluster
from tests.kit.stream import Message, Stream, WorkerProcess, question
from tests.kit.vectors import hash_vector

Doctoring = Callable[[Evidence], Evidence]


def retold(entry: Entry, **told: Any) -> Entry:
    """The record with some fields of its JSON changed."""
    return replace(entry, value=json.dumps({**json.loads(entry.value or b""), **told}).encode())


def with_cluster(evidence: Evidence, number: int, **changed: Any) -> Evidence:
    """A cluster in Redis that stands otherwise."""
    stored = copy.deepcopy(dict(evidence.stored))
    clusters: dict[int, StoredCluster] = stored["default"].clusters
    clusters[number] = replace(clusters[number], **changed)
    return replace(evidence, stored=stored)


def without_ledgers(evidence: Evidence) -> Evidence:
    return replace(evidence, stored={"default": replace(evidence.stored["default"], ledgers={})})


def without_log(evidence: Evidence) -> Evidence:
    return replace(evidence, stored={"default": replace(evidence.stored["default"], log=[])})


def with_next_number(evidence: Evidence, number: int) -> Evidence:
    meta = {**evidence.stored["default"].meta, "next": b"%d" % number}
    return replace(evidence, stored={"default": replace(evidence.stored["default"], meta=meta)})


def without_newest_state(evidence: Evidence, key: bytes) -> Evidence:
    """The cluster topic without the last revision of a key, however often it was told."""
    revisions = {
        entry: json.loads(entry.value or b"")["revision"] for entry in evidence.cluster_states if entry.key == key
    }
    last = max(revisions.values())
    states = [entry for entry in evidence.cluster_states if revisions.get(entry) != last]
    return replace(evidence, cluster_states=states)


def with_older_state_last(evidence: Evidence, key: bytes) -> Evidence:
    """The cluster topic with the first record of a key once more at its end."""
    first = next(entry for entry in evidence.cluster_states if entry.key == key)
    end = evidence.cluster_states[-1]
    again = replace(first, offset=end.offset + 1, timestamp=end.timestamp)
    return replace(evidence, cluster_states=[*evidence.cluster_states, again])


def with_text(evidence: Evidence, offset: int, text: str) -> Evidence:
    """The input with another question at an offset."""
    asked = [retold(entry, text=text) if entry.offset == offset else entry for entry in evidence.input]
    return replace(evidence, input=asked)


def with_operation(evidence: Evidence, **changed: Any) -> Evidence:
    """The operation topic with a last record that tells something else."""
    operations = [*(evidence.operations or ())]
    operations[-1] = retold(operations[-1], **changed)
    return replace(evidence, operations=operations)


def with_operations(evidence: Evidence, change: Callable[[list[Entry]], list[Entry]]) -> Evidence:
    """Another operation topic."""
    return replace(evidence, operations=change([*(evidence.operations or ())]))


def with_steps_from(evidence: Evidence, cluster_id: str) -> Evidence:
    """Operations and corrections that moved their questions out of this cluster."""

    def moved(told: dict[str, Any]) -> list[dict[str, Any]]:
        return [one | {"from": cluster_id} for one in told["corrections"]]

    operations = [
        retold(entry, corrections=moved(json.loads(entry.value or b""))) for entry in evidence.operations or ()
    ]
    corrections = [retold(entry, **{"from": cluster_id}) for entry in evidence.corrections or ()]
    return replace(evidence, operations=operations, corrections=corrections)


def place_and_id(stream: Stream, cluster_id: str) -> dict[str, Any]:
    """A question that was decided to be in this cluster, as `KnownQuestion` names it."""
    with stream.decisions() as reader:
        decision = next(one for one in reader.values(len(MERGING)) if one["cluster_id"] == cluster_id)
    source = decision["source"]
    return {
        "place": (source["topic"], source["partition"], source["offset"]),
        "question_id": decision["question_id"],
    }


def without_meta(evidence: Evidence, name: str) -> Evidence:
    """Redis without a field of the namespace."""
    meta = {known: value for known, value in evidence.stored["default"].meta.items() if known != name}
    return replace(evidence, stored={"default": replace(evidence.stored["default"], meta=meta)})


def with_output(evidence: Evidence, at: int, **changed: Any) -> Evidence:
    """The output with a record that tells something else."""
    output = [*evidence.output]
    output[at] = retold(output[at], **changed)
    return replace(evidence, output=output)


def repeated(evidence: Evidence, **changed: Any) -> Evidence:
    """The output with its last record once more, as it is or changed."""
    return replace(evidence, output=[*evidence.output, retold(evidence.output[-1], **changed)])


def with_levels(evidence: Evidence, *versions: dict[str, list[str]]) -> Evidence:
    """The cluster topic with levels at its end; each version names the clusters of its intents."""
    end = evidence.cluster_states[-1]
    told = {"schema_version": 1, "namespace": "default", "event": "levels", "parts": 1, "part": 0, "ended": []}
    entries = [
        replace(
            end,
            key=b"default/levels/0",
            value=json.dumps({**told, "version": number, "next": [5, 1], "opened": 4, "within": within}).encode(),
            offset=end.offset + number,
        )
        for number, within in enumerate(versions, start=1)
    ]
    return replace(evidence, cluster_states=[*evidence.cluster_states, *entries])


def referring(evidence: Evidence) -> Evidence:
    """The first dead letter with a reference in the place of its bytes."""
    letter = evidence.dead_letters[0]
    value = letter.value or b""
    reference: dict[str, object] = {"key_bytes": len(letter.key or b""), "value_bytes": len(value), "header_bytes": 0}
    reference |= {"sha256": sha256(value).hexdigest()}
    headers = (*letter.headers, ("questream-reference", json.dumps(reference).encode()))
    return replace(evidence, dead_letters=[replace(letter, value=None, headers=headers), *evidence.dead_letters[1:]])


# The founder of c4 stands at offset 7, behind a record that is no question; c1 was merged into c3, the larger.
FOUNDER = len(MERGING) + 1
# Nobody asks them; one who did would be decided as people said.
TURNED_AWAY, MOVED = "green moon", "cold wind"
DOCTORINGS: dict[str, tuple[Doctoring, set[Promise]]] = {
    "a decision is missing": (
        lambda e: replace(e, output=e.output[:-1]),
        {Promise.NOTHING_LOST, Promise.OFFSETS, Promise.SIZES},
    ),
    "a dead letter is missing": (lambda e: replace(e, dead_letters=[]), {Promise.NOTHING_LOST, Promise.OFFSETS}),
    "a decision is there twice": (repeated, {Promise.ONCE}),
    "a decision is there twice and differs": (lambda e: repeated(e, cluster_id="c2"), {Promise.ONE_ID}),
    "a decision is there twice and was made later": (lambda e: repeated(e, outcome="replayed"), {Promise.ONE_ID}),
    "the ledger holds another decision": (lambda e: with_output(e, -1, cluster_id="c2"), {Promise.ONE_ID}),
    "a question that joined is called unmatched": (
        lambda e: with_output(e, -1, outcome="unmatched"),
        {Promise.ONE_ID},
    ),
    "an unmatched question has a size": (
        lambda e: with_output(e, -1, outcome="unmatched", cluster_id=None),
        {Promise.ONE_ID},
    ),
    "a decision of no question": (lambda e: replace(e, input=e.input[:-1]), {Promise.ONCE}),
    "a header is missing": (
        lambda e: replace(e, output=[replace(e.output[0], headers=()), *e.output[1:]]),
        {Promise.PASSED_THROUGH},
    ),
    "the group stands behind": (lambda e: replace(e, committed={0: 3}), {Promise.OFFSETS}),
    "the ledger is gone": (without_ledgers, {Promise.REMEMBERED}),
    "a dead letter's header is changed": (
        lambda e: replace(e, dead_letters=[replace(e.dead_letters[0], headers=e.dead_letters[0].headers[1:])]),
        {Promise.DEAD_LETTERS},
    ),
    "a dead letter's key is gone": (
        lambda e: replace(e, dead_letters=[replace(e.dead_letters[0], key=None)]),
        {Promise.DEAD_LETTERS},
    ),
    "a dead letter refers to a record that is not too large": (referring, {Promise.DEAD_LETTERS}),
    "an alias leads nowhere": (lambda e: with_cluster(e, 1, merged_into=99), {Promise.KNOWN_ID, Promise.SIZES}),
    "an alias leads in a circle": (lambda e: with_cluster(e, 1, merged_into=1), {Promise.KNOWN_ID}),
    "an id is given after its cluster was merged away": (
        lambda e: with_output(e, 0, cluster_size=9),
        {Promise.KNOWN_ID},
    ),
    "a number will come again": (lambda e: with_next_number(e, 4), {Promise.UNIQUE_ID}),
    "a cluster is created twice": (lambda e: with_output(e, -1, outcome="created"), {Promise.UNIQUE_ID}),
    "a cluster was never created": (lambda e: with_output(e, 0, outcome="joined"), {Promise.UNIQUE_ID}),
    "a question counts twice": (lambda e: with_cluster(e, 2, size=3), {Promise.SIZES, Promise.SIZE_SEQUENCE}),
    "a size comes twice": (lambda e: with_output(e, -1, cluster_size=1), {Promise.SIZE_SEQUENCE}),
    "a centroid learned nothing": (
        lambda e: with_cluster(e, 2, vector_sum=2 * hash_vector("one two")),
        {Promise.CENTROIDS},
    ),
    "a founder stood near": (lambda e: with_text(e, FOUNDER, "red sea"), {Promise.NO_TWINS}),
    "a founder stood near, the log is gone": (
        lambda e: without_log(with_text(e, FOUNDER, "red sea")),
        {Promise.NO_TWINS},
    ),
    "a question joined from afar": (lambda e: with_output(e, -1, similarity=0.1), {Promise.NO_TWINS}),
    "a path that nobody published": (lambda e: with_output(e, -1, path=["i1", "i1", "c2"]), {Promise.LEVELS}),
    "an intent's id is given again": (
        lambda e: with_levels(e, {"i1": ["c2"], "i2": ["c3"]}, {"i1": ["c2"]}, {"i1": ["c2"], "i2": ["c3"]}),
        {Promise.LEVELS},
    ),
    "an intent becomes another": (
        lambda e: with_levels(e, {"i1": ["c2"], "i2": ["c3"]}, {"i1": ["c3"], "i2": ["c2"]}),
        {Promise.LEVELS},
    ),
    "an intent has a number of those to come": (lambda e: with_levels(e, {"i7": ["c2"]}), {Promise.LEVELS}),
    "a label is gone": (lambda e: with_cluster(e, 2, label=None), {Promise.NAMES, Promise.CLUSTER_TOPIC}),
    "a label and another's route": (lambda e: with_cluster(e, 3, label="sea", route="town"), {Promise.NAMES}),
    "the newest state is missing": (lambda e: without_newest_state(e, b"default/c3"), {Promise.CLUSTER_TOPIC}),
    "the newest state is not the last": (lambda e: with_older_state_last(e, b"default/c2"), {Promise.CLUSTER_TOPIC}),
    "the namespace is not told of": (
        lambda e: replace(e, cluster_states=[entry for entry in e.cluster_states if entry.key != b"default"]),
        {Promise.CLUSTER_TOPIC},
    ),
    "an operation is missing": (lambda e: with_operations(e, lambda told: told[:-1]), {Promise.OPERATIONS}),
    "an operation is there twice": (lambda e: with_operations(e, lambda told: [*told, told[-1]]), {Promise.OPERATIONS}),
    "an operation has another number": (lambda e: with_operation(e, operation=99), {Promise.OPERATIONS}),
    "an operation comes behind a later one": (
        lambda e: with_operations(e, lambda told: [told[1], told[0], *told[2:]]),
        {Promise.OPERATIONS},
    ),
    "a correction is missing": (lambda e: replace(e, corrections=[]), {Promise.CORRECTIONS}),
    "a correction is there twice": (
        lambda e: replace(e, corrections=[*(e.corrections or ()), *(e.corrections or ())]),
        {Promise.CORRECTIONS},
    ),
    "a correction leads to another cluster": (
        lambda e: replace(e, corrections=[retold(one, to="c7") for one in e.corrections or ()]),
        {Promise.CORRECTIONS},
    ),
    "a question was moved from where it was not": (lambda e: with_steps_from(e, "c3"), {Promise.CORRECTIONS}),
    "the store has forgotten what was decided": (
        lambda e: replace(e, stored={"default": replace(e.stored["default"], operations={})}),
        {Promise.RULINGS},
    ),
    "a pinned cluster is not pinned": (
        lambda e: with_cluster(e, 2, pinned=False),
        {Promise.RULINGS, Promise.CLUSTER_TOPIC},
    ),
    "a cluster is muted": (lambda e: with_cluster(e, 2, muted=True), {Promise.RULINGS, Promise.CLUSTER_TOPIC}),
    "a cluster is resolved": (
        lambda e: with_cluster(e, 2, resolved_size=1),
        {Promise.RULINGS, Promise.CLUSTER_TOPIC},
    ),
    "a pinned cluster was merged away": (lambda e: with_cluster(e, 2, merged_into=3), {Promise.RULINGS}),
    "a cluster was merged into a pinned one": (lambda e: with_cluster(e, 4, merged_into=2), {Promise.RULINGS}),
    "what keeps two clusters apart is gone": (
        lambda e: with_cluster(e, 2, bound=frozenset()),
        {Promise.RULINGS, Promise.CLUSTER_TOPIC},
    ),
    "a label that an operation gave is gone": (
        lambda e: with_cluster(e, 3, label=None, route=None),
        {Promise.RULINGS, Promise.CLUSTER_TOPIC},
    ),
    "rules are gone": (lambda e: without_meta(e, "rules"), {Promise.RULINGS, Promise.CLUSTER_TOPIC}),
    "a question is decided by former rules": (
        lambda e: with_output(e, -1, threshold=THRESHOLD),
        {Promise.RULINGS},
    ),
    "a question goes where it was turned away": (
        lambda e: with_output(with_text(e, FOUNDER + 1, TURNED_AWAY), -2, similarity=0.9),
        {Promise.RULINGS},
    ),
    "a question does not go where it was moved": (
        lambda e: with_output(with_text(e, FOUNDER + 1, MOVED), -2, similarity=0.9),
        {Promise.RULINGS},
    ),
    "a merge is not told of": (lambda e: without_newest_state(e, b"default/c1"), {Promise.CLUSTER_TOPIC}),
}


def test_evidence_doctored_in_one_place_breaks_the_promise_of_that_place(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(1, **OPTIONS)
    start_worker(stream)
    texts = ["quite another matter", "red sea", "one two"]
    poison = Message(b'{"id": \xff', b"poison", [("who", b"me")])
    header = ("traceparent", b"00-1")
    stream.send(question(i, text, headers=[header]) for i, text in enumerate(MERGING))
    at_rest(stream, len(MERGING))
    stream.store().label("default", 2, "sea", "water")
    turned_away, moved = (KnownQuestion(2, hash_vector(text)) for text in (TURNED_AWAY, MOVED))
    moved = replace(moved, **place_and_id(stream, "c2"))
    operated = [
        decide(stream, make)
        for make in (
            lambda by: by.mark("pin", 2),
            lambda by: by.separate(2, 3),
            lambda by: by.label(3, "numbers", "counting"),
            lambda by: by.reject([turned_away]),
            lambda by: by.move([moved], 3),
            lambda by: by.rules({"threshold": THRESHOLD + 0.01}),
        )
    ]
    stream.send([poison, *(question(100 + i, text, headers=[header]) for i, text in enumerate(texts))])
    evidence = at_rest(stream, len(MERGING) + 1 + len(texts))
    rules = replace(RULES, named=[Named("default", 2, "sea", "water")], operated=operated)
    assert not check(evidence, rules)
    for name, (doctor, broken) in DOCTORINGS.items():
        violations = check(doctor(evidence), rules)
        assert broken <= {violation.promise for violation in violations}, (name, list(map(str, violations)))
    assert_sizes_beside_a_forgotten_operation(evidence, rules)


def assert_sizes_beside_a_forgotten_operation(evidence: Evidence, rules: Rules) -> None:
    """One that takes a merge back leaves open which part a question went to, and any other nothing."""

    def breaks_sizes(found: Evidence, *, may_part: bool) -> bool:
        lost = Operated("default", "lost", 0, frozenset({2, 3}), forgettable=True, may_part=may_part)
        violations = check(found, replace(rules, operated=[*rules.operated, lost]))
        return Promise.SIZES in {violation.promise for violation in violations}

    clusters = evidence.stored["default"].clusters
    one_more = with_cluster(evidence, 2, size=clusters[2].size + 1)
    moved = with_cluster(one_more, 3, size=clusters[3].size - 1)
    assert not breaks_sizes(evidence, may_part=True)
    assert not breaks_sizes(moved, may_part=True)
    assert breaks_sizes(one_more, may_part=True)
    assert breaks_sizes(moved, may_part=False)


def test_every_promise_is_broken_by_some_doctoring() -> None:
    assert set().union(*(broken for _, broken in DOCTORINGS.values())) == set(Promise)
