"""The checker finds what is done against people: bugs planted in workers, each beside a stream without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from questream.clustering.constraints import pack_vector
from questream.domain import Exemplar, Ruling
from questream.operations import By, Decisions, KnownQuestion
from questream.operations.requests import Propose
from questream.store.protocol import OpenedCluster
from tests.fault.test_planted_bugs import OPTIONS, RULES, Broken, Starter, assert_broken, at_rest, cases
from tests.kit.checker import Operated, Promise
from tests.kit.checker.planted import OPERATION_BUGS
from tests.kit.stream import Stream, forget, question
from tests.kit.vectors import hash_vector

# c1 and c2 stand apart until a question draws them together, and so do c3 and c4, c5 and c6; the last two are c7.
FIRST = ["one two", "two three", "red sea", "sea blue", "old key", "key ring", "long road home", "long road"]
LATER = [*["one two three"] * 3, *["red sea blue"] * 3, *["old key ring"] * 3, "long road"]

UNDER_WORKERS: Broken = {
    None: set(),
    "operation-published-twice": {Promise.OPERATIONS},
    "operation-not-published": {Promise.OPERATIONS},
    "pinned-merged": {Promise.RULINGS},
    "separated-merged": {Promise.RULINGS},
    "names-mixed": {Promise.NAMES},
    "exemplars-ignored": {Promise.RULINGS},
    "rules-ignored": {Promise.RULINGS},
}
# c1 and c2 stand apart, of c3 somebody chooses what stands for it, c4 is merged with c1 and parts from it.
SHOWN = ["one two", "red sea", "old key", "long road", "one two", "red sea"]
SHOWN_LATER = ["one two", *["red sea"] * 2, *["old key"] * 2, "long road", "new thing"]
OF_TEXTS: Broken = {
    None: set(),
    "representative-overruled": {Promise.RULINGS},
    "erased-text-published": {Promise.RULINGS},
    "mode-ignored": {Promise.RULINGS},
    "two-routes": {Promise.ONE_ID},
    "own-threshold-ignored": {Promise.RULINGS},
}
AFTER_A_LOSS: Broken = {None: set(), "operations-forgotten": {Promise.RULINGS}}


@cases(UNDER_WORKERS)
def test_what_people_decided_between_two_waves_of_questions(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    stream = make_stream(1, **OPTIONS)
    start_worker(stream, bug=bug)
    send(stream, FIRST)
    at_rest(stream, len(FIRST))
    operated = decide_all(stream)
    send(stream, LATER)
    assert_broken(at_rest(stream, len(FIRST) + len(LATER)), replace(RULES, operated=operated), broken)


@cases(AFTER_A_LOSS)
def test_what_people_decided_before_redis_was_emptied(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    stream = make_stream(1, **OPTIONS)
    first = start_worker(stream)
    send(stream, FIRST)
    at_rest(stream, len(FIRST))
    operated = decide_all(stream)
    at_rest(stream, len(FIRST))
    first.kill()
    forget(stream, first)
    with stream.redis() as client:
        client.flushall()
    start_worker(stream, bug=bug, left_behind_seconds=0.1)
    send(stream, LATER)
    evidence = at_rest(stream, len(FIRST) + len(LATER))
    assert_broken(evidence, replace(RULES, operated=operated, store_lost_memory=True), broken)


@cases(OF_TEXTS)
def test_what_people_chose_erased_took_back_and_know_between_two_waves_of_questions(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    stream = make_stream(1, **OPTIONS)
    start_worker(stream, bug=bug)
    send(stream, SHOWN)
    at_rest(stream, len(SHOWN))
    operated = [
        decide(stream, lambda by: by.represent(3, "where is my key"), represents="where is my key"),
        decide(stream, lambda by: by.forget(2), erased=frozenset([2])),
        decide(stream, lambda by: by.label(1, "numbers", "desk")),
        decide(stream, lambda by: by.merge(1, 4)),
        decide(stream, lambda by: by.unmerge(4)),
        decide(stream, lambda by: by.open_intents([intent("blue bird"), intent("green frog", 0.95)], {})),
        decide(stream, lambda by: by.rules({"mode": "known-only"})),
    ]
    later = [*SHOWN_LATER, "blue bird", "green frog"]
    send(stream, later)
    assert_broken(at_rest(stream, len(SHOWN) + len(later)), replace(RULES, operated=operated), broken)


def test_a_part_that_came_through_another_cluster_leaves_no_gap_there(
    make_stream: Callable[..., Stream], start_worker: Starter
) -> None:
    stream = make_stream(1, **OPTIONS)
    start_worker(stream)
    asked = ["red sea", *["long road"] * 2, *["old key"] * 4]
    send(stream, asked)
    at_rest(stream, len(asked))
    operated = [
        decide(stream, lambda by: by.merge(1, 2)),
        decide(stream, lambda by: by.merge(2, 3)),
        decide(stream, lambda by: by.unmerge(1)),
    ]
    evidence = at_rest(stream, len(asked))
    came_through, whole = (evidence.stored["default"].clusters[number] for number in (2, 3))
    # c2 counted c1 when it was merged, and does not lead to it.
    assert (came_through.merged_into, came_through.size, whole.size) == (3, 3, 6)
    assert_broken(evidence, replace(RULES, operated=operated), set())


def test_every_bug_of_operations_is_planted_in_some_test() -> None:
    assert OPERATION_BUGS.keys() == set().union(UNDER_WORKERS, AFTER_A_LOSS, OF_TEXTS) - {None}


def intent(text: str, threshold: float | None = None) -> tuple[Ruling, OpenedCluster]:
    """A cluster with one example, which people know before any question comes, and perhaps its own threshold."""
    vector = hash_vector(text)
    exemplar = Exemplar(f"0a-{len(text):02x}", "must", pack_vector(vector))
    return Ruling("birds", "zoo", exemplars=(exemplar,), threshold=threshold), OpenedCluster(1, vector, 0, b"", text)


def send(stream: Stream, texts: list[str]) -> None:
    stood = stream.end(0)
    stream.send(question(stood + i, text) for i, text in enumerate(texts))


def decide_all(stream: Stream) -> list[Operated]:
    """An operation of each kind; a second label is one that is given up again."""
    road = KnownQuestion(7, hash_vector("long road"))
    return [
        decide(stream, lambda by: by.mark("pin", 1)),
        decide(stream, lambda by: by.separate(3, 4)),
        decide(stream, lambda by: by.label(5, "keys", "shop")),
        decide(stream, lambda by: by.label(6, "rings", "jeweller")),
        decide(stream, lambda by: by.label(7, "roads", "travel")),
        decide(stream, lambda by: by.undo(5)),
        decide(stream, lambda by: by.reject([road])),
        decide(stream, lambda by: by.rules({"threshold": 0.56})),
    ]


def decide(
    stream: Stream,
    make: Callable[[Decisions], Propose],
    represents: str | None = None,
    erased: frozenset[int] = frozenset(),
) -> Operated:
    """Commit an operation; later questions come behind all that was asked by now."""
    decisions = Decisions(stream.store(), "default", By("ann"))
    operation = decisions.commit(make(decisions))
    return Operated(
        "default",
        operation.id,
        operation.number,
        frozenset(operation.after),
        asked={0: stream.end(0)},
        absorbed=frozenset(),
        threshold=operation.rules.after.threshold if operation.rules else None,
        represents=represents,
        erased=erased,
    )
