"""The checker finds what is wrong with intents and topics: bugs planted in a worker, beside a stream without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from questream.clustering.levels import Levels, Node, leaf
from questream.deciding.level_runs import is_due
from questream.store.protocol import StoredLevels
from tests.fault.test_planted_bugs import OPTIONS as NEAR_OPTIONS
from tests.fault.test_planted_bugs import RULES as NEAR_RULES
from tests.fault.test_planted_bugs import Broken, Starter, assert_broken, at_rest, cases
from tests.fault.test_planted_operations import decide, send
from tests.kit.checker import Promise, Rules
from tests.kit.checker.planted import LEVEL_BUGS
from tests.kit.stream import Stream, question, wait_until
from tests.kit.vectors import hash_vector, spelled

SUBJECTS = 4
EACH = 6
THRESHOLD = 0.9
OPTIONS = {"clusters.threshold": THRESHOLD, "clusters.similarity": "cosine"}
RULES = Rules(THRESHOLD, hash_vector, similarity="cosine")

KEPT: Broken = {None: set(), "kept-ignored": {Promise.RULINGS}}
MERGED: Broken = {None: set(), "kept-merged": {Promise.RULINGS}}
BROKEN: Broken = {None: set(), **{bug: {Promise.LEVELS} for bug in LEVEL_BUGS if bug not in KEPT | MERGED}}


@cases(BROKEN)
def test_levels_that_are_found_twice(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    """Questions of four subjects, then more of them, and the first ones again, whose decisions have a path."""
    stream = make_stream(1, **OPTIONS)
    start_worker(stream, bug=bug)
    waves = [range(SUBJECTS * EACH), range(SUBJECTS * EACH, 3 * SUBJECTS * EACH), range(SUBJECTS * EACH)]
    asked, version = 0, 0
    for wave in waves:
        stream.send(question(asked + at, text_of(number)) for at, number in enumerate(wave))
        asked += len(wave)
        at_rest(stream, asked)
        if wave is not waves[-1]:
            version = published_after(stream, version)
    with stream.decisions() as reader:
        paths = [one["path"] for one in reader.values(asked)]
    # The worker may not have read the levels before the last wave; else the promise is not put to the test.
    while paths[-1] is None:
        stream.send([question(asked, text_of(0))])
        asked += 1
        at_rest(stream, asked)
        with stream.decisions() as reader:
            paths = [one["path"] for one in reader.values(asked)]
    evidence = at_rest(stream, asked)
    assert bug or len({path[1] for path in paths if path}) >= SUBJECTS
    assert_broken(evidence, RULES, broken)


@cases(KEPT)
def test_what_people_keep_in_an_intent(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    """A cluster is moved to the intent of another subject, and one to an intent of its own; then a run is due."""
    stream = make_stream(1, **OPTIONS)
    start_worker(stream, bug=bug)
    stream.send(question(at, text_of(at)) for at in range(SUBJECTS * EACH))
    at_rest(stream, SUBJECTS * EACH)
    version = published_after(stream, 0)
    target = str(stream.store().levels("default").levels.path(2)[1])
    operated = [
        decide(stream, lambda by: by.move_nodes(["c1"], target)),
        decide(stream, lambda by: by.move_nodes(["c3"], "own")),
    ]
    stream.send(question(at, text_of(at)) for at in range(SUBJECTS * EACH, 3 * SUBJECTS * EACH))
    at_rest(stream, 3 * SUBJECTS * EACH)
    published_after(stream, version)
    assert_broken(at_rest(stream, 3 * SUBJECTS * EACH), replace(RULES, operated=operated), broken)


@cases(MERGED)
def test_clusters_that_people_keep_in_two_intents(
    make_stream: Callable[..., Stream], start_worker: Starter, bug: str | None, broken: set[Promise]
) -> None:
    """Both are pinned where they are, and then a question draws them together."""
    stream = make_stream(1, **NEAR_OPTIONS)
    start_worker(stream, bug=bug)
    send(stream, ["red sea", "sea blue"])
    at_rest(stream, 2)
    store = stream.store()
    found = StoredLevels(Levels({leaf(1): Node(1, 1), leaf(2): Node(1, 2)}, (3, 1)), 2)
    assert store.write_levels("default", store.store_epoch("default") or "", found)
    operated = [decide(stream, lambda by: by.pin_level("i1")), decide(stream, lambda by: by.pin_level("i2"))]
    send(stream, ["red sea blue"] * 3)
    assert_broken(at_rest(stream, 5), replace(NEAR_RULES, operated=operated), broken)


def text_of(number: int) -> str:
    """Two questions of a subject have a cosine of .8: other questions, and one intent."""
    return f"subject{spelled(number % SUBJECTS)} " * 2 + f"aspect{spelled(number)}"


def published_after(stream: Stream, version: int) -> int:
    """The version of the levels once a later one is published, and no run is due."""
    store = stream.store()

    def is_calm() -> bool:
        mark = store.levels_marks(["default"])["default"]
        return mark.published == mark.version > version and not is_due(mark)

    wait_until(is_calm, "levels are found and published")
    return store.levels_marks(["default"])["default"].version
