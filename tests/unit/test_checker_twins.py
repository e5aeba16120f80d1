"""What the checker calls a twin: evidence of a few questions, written by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.kit.checker import Evidence, Rules
from tests.kit.checker.evidence import Entry
from tests.kit.checker.openings import Openings
from tests.kit.checker.published import read_run
from tests.kit.checker.records import check_decisions_agree
from tests.kit.checker.rules import Floats
from tests.kit.checker.scores import Centroid, score
from tests.kit.checker.stored import MeanMoved, Moved, Stored
from tests.kit.checker.twins import check_twins
from tests.kit.vectors import hash_vector

RULES = Rules(0.6, hash_vector, similarity="cosine")
CENTRED = replace(RULES, similarity="centred")
# By offset: the text, its cluster, and the second at which it was decided. c2 was opened when "b c" had joined c1
# twice, which stood near it before and after.
ASKED = [
    ("a b c", 1, 0),
    ("b c", 1, 9),
    ("b c", 1, 9),
    ("a b d", 2, 9),
    ("a b c", 1, 9),
    ("a b c", 1, 9),
    ("a b d a b", 1, 9),
]


def evidence(asked: Sequence[tuple[str, int, int]], stored: Stored | None = None) -> Evidence:
    """One partition in which these were decided; the cluster topic tells how each second left c1."""
    output: list[Entry] = []
    states: list[Entry] = []
    sizes: dict[int, int] = {}
    learned: list[Floats] = []
    for offset, (text, number, second) in enumerate(asked):
        sizes[number] = sizes.get(number, 0) + 1
        told = {
            "source": {"topic": "asked", "partition": 0, "offset": offset, "timestamp": second * 1000},
            "namespace": "default",
            "cluster_id": f"c{number}",
            "outcome": "created" if sizes[number] == 1 else "joined",
            "similarity": 1.0,
            "cluster_size": sizes[number],
            "runner_up": None,
            "threshold": RULES.threshold,
            "decided_at": f"1970-01-01T00:00:{second:02}.500Z",
        }
        output.append(Entry(0, offset, 0, b"", json.dumps(told).encode()))
        learned += [np.asarray(hash_vector(text), np.float64)] if number == 1 else []
        if offset + 1 == len(asked) or asked[offset + 1][2] > second:
            states.append(Entry(0, len(states), second * 1000 + 600, b"default/c1", state(learned)))
    questions = [Entry(0, offset, 0, b"", text.encode()) for offset, (text, *_) in enumerate(asked)]
    stores = {"default": stored or Stored()}
    return Evidence("asked", questions, {0: 0}, output, [], states, {0: len(asked)}, stores)


def state(learned: Sequence[Floats]) -> bytes:
    vector = {"members": len(learned), "sum": base64.b64encode(total(learned).astype("<f4").tobytes()).decode()}
    told = {"size": len(learned), "revision": len(learned), "vector": vector, "merged_into": None, "label": None}
    times = {"created_at": "1970-01-01T00:00:00Z", "last_seen_at": "1970-01-01T00:00:00Z"}
    return json.dumps({**told, **times, "route": None, "representative": None}).encode()


def total(vectors: Sequence[Floats]) -> Floats:
    summed: Floats = np.sum(vectors, axis=0)
    return summed


def vectors(*texts: str) -> list[Floats]:
    return [np.asarray(hash_vector(text), np.float64) for text in texts]


def twins(found: Evidence, rules: Rules = RULES) -> list[str]:
    return [str(violation) for violation in check_twins(read_run(found, rules), rules)]


def near(founder: str, *members: str) -> bool:
    """True if a question is near enough to a cluster of these."""
    (question,) = vectors(founder)
    centroid = Centroid(len(members), total(vectors(*members)))
    return bool(score(question, [centroid], None, RULES)[0] >= RULES.threshold)


def test_a_founder_is_scored_against_what_its_own_batch_had_made_of_a_cluster() -> None:
    texts = [text for text, number, _ in ASKED if number == 1]
    assert near("a b d", *texts[:1])
    assert not near("a b d", *texts[:3])
    assert near("a b d", *texts)
    assert not twins(evidence(ASKED))


@pytest.mark.parametrize(("runner_up", "is_twin"), [(0.6, False), (0.600001, True)])
def test_a_score_below_the_threshold_that_was_rounded_to_it_is_no_twins(runner_up: float, is_twin: bool) -> None:
    found = evidence([("a b", 1, 0), ("c d", 2, 9)])
    told = json.loads(found.output[1].value or b"") | {"runner_up": {"cluster_id": "c1", "similarity": runner_up}}
    output = [found.output[0], replace(found.output[1], value=json.dumps(told).encode())]
    assert bool(twins(replace(found, output=output))) == is_twin


def test_a_founder_that_came_before_the_questions_that_moved_a_cluster_away_is_a_twins() -> None:
    earlier = [ASKED[0], ASKED[3], *ASKED[1:3], *ASKED[4:]]
    assert twins(evidence(earlier)) == ["NO_TWINS: default/c2: was opened within the threshold of c1"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_log_that_begins_with_an_opening_tells_what_the_batch_had_made_of_a_cluster(is_first: bool) -> None:
    asked = ASKED if is_first else [ASKED[0], ASKED[3], *ASKED[1:3], *ASKED[4:]]
    joined = vectors(*(text for text, number, _ in ASKED if number == 1))
    log: list[Moved | MeanMoved] = [
        Moved(1, 1, 1, total(joined[:1])),
        Moved(2, 1, len(joined), total(joined)),
        Moved(2, 2, 1, *vectors("a b d")),
    ]
    assert bool(twins(evidence(asked, Stored(log=log)))) is not is_first


def test_a_cluster_that_a_log_begun_anew_first_tells_of_after_the_opening_is_not_judged_by_it() -> None:
    joined = vectors(*(text for text, number, _ in ASKED if number == 1))
    log: list[Moved | MeanMoved] = [Moved(7, 1, len(joined), total(joined)), Moved(7, 2, 1, *vectors("a b d"))]
    assert not twins(evidence(ASKED, Stored(log=log)))


def test_a_merge_that_is_taken_back_is_no_opening() -> None:
    """c2 was opened beside c1, which came to stand near it, took it in and gave it back."""
    came_near = Moved(6, 1, 2, total(vectors("a b c", "a b d")))
    stored = Stored(log=[came_near, Moved(7, 2, 1, *vectors("a b d"))])
    found = evidence([("x y z", 1, 0), ("a b d", 2, 9)], stored)
    assert twins(found) == ["NO_TWINS: default/c2: was opened within the threshold of c1"]
    assert not twins(replace(found, operations=[unmerged("c2")]))


def test_a_merge_that_was_taken_back_at_a_moment_that_nobody_told_leaves_room_for_both() -> None:
    """c1 was near the founder of c2 as long as another was a part of it."""
    found = evidence([("a b d", 1, second) for second in range(4)] + [("a b d", 2, 9)])
    alone = json.loads(state(vectors("x y z"))) | {"revision": 5}
    states = [*found.cluster_states, Entry(0, 9, 10_000, b"default/c1", json.dumps(alone).encode())]
    found = replace(found, cluster_states=states)
    twin = ["NO_TWINS: default/c2: was opened within the threshold of c1"]
    assert twins(found) == twins(replace(found, operations=[])) == twin
    assert not twins(replace(found, operations=[unmerged("c3")]))
    never_apart = replace(found, cluster_states=states[:-1], operations=[unmerged("c3")])
    assert twins(never_apart) == twin


def unmerged(parted: str) -> Entry:
    """A cluster stands by itself again that was a part of c1."""
    ruled: dict[str, object] = {
        "label": None,
        "route": None,
        "pinned": False,
        "separations": [],
        "exemplars": [],
        "muted": False,
    }
    both = {"c1": ruled, parted: ruled}
    told = {"operation": 1, "id": "1", "kind": "unmerge", "undoes": None, "survivor": None, "parted": parted}
    return Entry(0, 0, 0, b"default", json.dumps({**told, "before": both, "after": both, "rules": None}).encode())


def test_the_mean_before_a_log_begun_anew_is_that_after_its_first_batch_without_the_batch() -> None:
    """c2 is near c1 under the mean after the batch, and was not under the mean that it was scored at."""
    asked = [("a b c", 1, 0), ("a b d", 2, 9), *((f"x{i} y{i}", 3 + i, 9) for i in range(40))]
    batch = vectors(*(text for text, _, second in asked if second == 9))
    before = 20 * total(vectors("a b"))
    log: list[Moved | MeanMoved] = [
        Moved(5, 1, 2, 2 * vectors("a b c")[0]),
        Moved(6, 2, 1, batch[0]),
        MeanMoved(6, 20 + len(batch), before + total(batch)),
    ]
    (question,), (centroid,) = vectors("a b d"), [Centroid(1, *vectors("a b c"))]
    scores = [
        float(score(question, [centroid], mean, CENTRED)[0])
        for mean in (Centroid(20, before), Centroid(20 + len(batch), before + total(batch)))
    ]
    threshold = sum(scores) / 2
    rules = replace(CENTRED, threshold=threshold)
    judged = [found for found in twins(evidence(asked, Stored(log=log)), rules) if "c2: was opened" in found]
    assert scores[0] < threshold < scores[1]
    assert not judged


def test_a_founder_of_the_first_batch_is_not_judged_by_the_mean_that_the_batch_left() -> None:
    """All questions have something in common only once the mean has learned the many that came later."""
    asked = [("a b c", 1, 9), ("a d e", 2, 9), *[("z w", 3, 9)] * 60]
    learned = vectors(*(text for text, *_ in asked))
    mean = Centroid(len(asked), total(learned))
    (founder,), (older,) = vectors("a d e"), vectors("a b c")
    rules = replace(CENTRED, threshold=0.35)
    assert score(founder, [Centroid(1, older)], mean, rules)[0] > rules.threshold
    found = evidence(asked)
    raw = base64.b64encode(mean.vector_sum.astype("<f4").tobytes()).decode()
    whole = {"model": "m", "model_revision": "1", "next_cluster": 4, "mean": {"questions": mean.members, "sum": raw}}
    told = Entry(0, 99, 9600, b"default", json.dumps({**whole, "seq": 1}).encode())
    judged = twins(replace(found, cluster_states=[*found.cluster_states, told]), rules)
    assert not [broken for broken in judged if "c2: was opened" in broken]


def test_a_mean_that_a_batch_fills_may_have_learned_another_partition_first() -> None:
    found = evidence([("a b", 1, 9), ("c d", 2, 9), ("e f", 3, 9)])
    decided = json.loads(found.output[0].value or b"")
    elsewhere = json.dumps({**decided, "source": {**decided["source"], "partition": 1}}).encode()
    found = replace(
        found,
        input=[replace(found.input[0], partition=1), *found.input[1:]],
        output=[replace(found.output[0], value=elsewhere), *found.output[1:]],
    )
    rules = replace(CENTRED, mean_questions=1)
    run = read_run(found, rules)
    openings = Openings(run, "default", run.decided_in("default"), rules)
    founder = run.decided[0, 2]
    means = openings.means(founder, Centroid(0, np.zeros_like(openings.vector(founder))))
    for text in ("a b", "c d"):
        assert any(np.allclose(mean.vector_sum, vectors(text)[0]) for mean in means)


def test_only_what_was_not_committed_when_memory_was_lost_may_be_decided_anew() -> None:
    found = evidence(ASKED[:2])
    again = json.loads(found.output[1].value or b"")
    again = replace(
        found.output[1], offset=2, value=json.dumps({**again, "cluster_id": "c2", "outcome": "created"}).encode()
    )
    found = replace(found, output=[*found.output, again])
    lossy = replace(RULES, delivery="at-least-once", decided_anew=[{0: (1, 2)}])
    for rules, expected in (
        (lossy, 2),
        (replace(lossy, decided_anew=[{0: (0, 1)}]), 1),
        (replace(lossy, delivery="exactly-once"), 1),
    ):
        run = read_run(found, rules)
        assert run.decided[0, 1].number == expected
        assert bool([v for v in check_decisions_agree(run, rules) if "again" in str(v)]) is (expected == 1)


def with_own(found: Evidence, threshold: float) -> Evidence:
    """The same, and c1 was opened by people with a threshold of its own."""
    states = [
        replace(one, value=json.dumps({**json.loads(one.value or b""), "ruled": {"threshold": threshold}}).encode())
        for one in found.cluster_states
    ]
    return replace(found, cluster_states=states)


def told_anew(found: Evidence, offset: int, **fields: object) -> Evidence:
    """The same, where a decision tells these."""
    output = list(found.output)
    output[offset] = replace(
        output[offset], value=json.dumps(json.loads(output[offset].value or b"") | fields).encode()
    )
    return replace(found, output=output)


def test_a_founder_is_a_twin_by_the_threshold_of_the_cluster_that_it_was_near() -> None:
    earlier = [ASKED[0], ASKED[3], *ASKED[1:3], *ASKED[4:]]
    assert twins(evidence(earlier))
    judged = [told for told in twins(with_own(evidence(earlier), 0.99)) if "c2: was opened" in told]
    assert not judged
    far = [("a b c", 1, 0), ("a d e", 2, 9)]
    assert not near("a d e", "a b c")
    assert not twins(evidence(far))
    assert twins(with_own(evidence(far), 0.05)) == ["NO_TWINS: default/c2: was opened within the threshold of c1"]


@pytest.mark.parametrize(("own", "is_twin"), [(0.5, True), (0.8, False)])
def test_a_runner_up_was_near_enough_by_its_own_threshold(own: float, is_twin: bool) -> None:
    found = told_anew(evidence([("a b", 1, 0), ("c d", 2, 9)]), 1, runner_up={"cluster_id": "c1", "similarity": 0.55})
    assert not twins(found)
    assert bool(twins(with_own(found, own))) == is_twin
    above = told_anew(found, 1, runner_up={"cluster_id": "c1", "similarity": 0.7})
    assert bool(twins(with_own(above, own))) == is_twin


def test_a_question_joins_a_cluster_with_a_threshold_of_its_own_at_that_alone() -> None:
    found = evidence([("a b", 1, 0), ("a b", 1, 9)])
    at_own = told_anew(found, 1, threshold=0.8, similarity=0.9)
    assert not twins(with_own(at_own, 0.8))
    assert twins(at_own) == ["NO_TWINS: default/c1: was decided at threshold 0.8"]
    assert twins(with_own(found, 0.8)) == ["NO_TWINS: default/c1: was decided at threshold 0.6"]
