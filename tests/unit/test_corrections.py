"""What operations say of where the questions that they name belong, and what takes that back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from questream import QuestionClusterer
from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.clustering.rules import Rules
from questream.domain import Correction, Mode, Operation
from questream.operations import By, Decisions, KnownQuestion, merge_clusters
from questream.operations.lookup import with_next_best, would_join
from questream.records import decode_operation, encode_corrections, encode_operation
from questream.store.operation_text import operation_text, parse_operation
from questream.store.reference.store import MemoryStore
from questream.tools.clusters import lineage
from questream.tools.kept_questions import still_kept
from questream.tools.members import First
from tests.kit.schemas import schema_of

PLACE = ("questions", 0, 7)
RULES = Rules(threshold=0.9, merge_threshold=0.95, similarity="cosine", linkage="centroid")


@pytest.fixture
def store() -> MemoryStore:
    """Three clusters of one question each."""
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    assert clusterer.assign([[1, 0, 0], [0, 1, 0], [0, 0, 1]]).ids == [1, 2, 3]
    return store


@pytest.fixture
def decisions(store: MemoryStore) -> Decisions:
    return Decisions(store, "default", By("ann"))


def asked(cluster_id: int, offset: int = 7) -> KnownQuestion:
    """A question whose decision named this cluster."""
    vector = np.array([1, 0.3, 0], np.float32)
    return KnownQuestion(cluster_id, vector / np.linalg.norm(vector), (*PLACE[:2], offset), None, "q7", b"key")


def steps(operation: Operation) -> list[tuple[int, int | None, int | None]]:
    return [(one.place[2], one.before, one.after) for one in operation.corrections]


def test_a_moved_question_is_in_the_target_and_goes_on_from_there(decisions: Decisions) -> None:
    first = decisions.commit(decisions.move([asked(1), asked(1, 8)], 2))
    assert first.corrections[0] == Correction(PLACE, 1, 2, "q7", b"key")
    assert steps(first) == [(7, 1, 2), (8, 1, 2)]
    # Its decision names the first cluster for ever.
    second = decisions.commit(decisions.move([asked(1)], 3))
    assert steps(second) == [(7, 2, 3)]
    assert list(second.after) == [3, 2]
    assert steps(decisions.commit(decisions.move([asked(1)], 3))) == []


def test_another_question_at_the_place_of_one_that_was_moved_is_where_it_was_decided(decisions: Decisions) -> None:
    decisions.commit(decisions.move([asked(1)], 2))
    another = replace(asked(1), question_id="of a topic that was made anew")
    assert steps(decisions.commit(decisions.move([another], 3))) == [(7, 1, 3)]


def test_a_cluster_does_not_keep_a_question_that_was_moved_out_of_it(store: MemoryStore, decisions: Decisions) -> None:
    keeps = KeptMembers.of([KeptMember((*PLACE[:2], offset), 0.9) for offset in (7, 8, 9)])

    def offsets() -> list[int]:
        *_, live = lineage(store, "default", 1)
        kept = still_kept(store, "default", replace(live, kept_members=str(keeps)), First.NEWEST)
        return [one.place[2] for one in kept]

    decisions.commit(decisions.move([asked(1)], 2))
    decisions.commit(decisions.reject([asked(1, 8)]))
    assert offsets() == [9]
    # What another topic of this name had there was never in this cluster.
    decisions.commit(decisions.move([replace(asked(3, 9), question_id="another")], 2))
    assert offsets() == [9]
    merge_clusters(store, "default", 1, 2, lambda *_: True)
    assert offsets() == [9, 7]


def test_a_question_that_was_turned_away_is_in_no_cluster(decisions: Decisions) -> None:
    assert steps(decisions.commit(decisions.reject([asked(1)]))) == [(7, 1, None)]
    assert steps(decisions.commit(decisions.reject([asked(1)]))) == []
    assert steps(decisions.commit(decisions.move([asked(1)], 2))) == [(7, None, 2)]


def test_a_question_that_was_split_off_is_in_the_part_until_that_is_taken_back(
    store: MemoryStore, decisions: Decisions
) -> None:
    split = decisions.commit(decisions.split(1, [asked(1), asked(1, 8)]))
    assert steps(split) == [(7, 1, 4), (8, 1, 4)]
    assert [[one.kind for one in split.after[i].exemplars] for i in (1, 4)] == [["cannot"] * 2, ["must"] * 2]
    part = store.cluster("default", 4)
    assert part is not None
    assert (part.size, part.members, part.label) == (0, 2, None)
    undone = decisions.commit(decisions.undo(split.number))
    assert steps(undone) == [(7, 4, 1), (8, 4, 1)]
    gone = store.cluster("default", 4)
    assert gone is not None
    assert gone.event == "retired"


def test_a_split_that_is_said_again_answers_what_it_did(store: MemoryStore) -> None:
    decisions = Decisions(store, "default", By("ann", id="mine"))
    split = decisions.commit(decisions.split(1, [asked(1)]))
    assert decisions.commit(decisions.split(1, [asked(1)])) == split
    assert store.sizes("default").clusters == 4


def test_a_part_that_a_question_joined_stays_when_the_split_is_taken_back(
    store: MemoryStore, decisions: Decisions
) -> None:
    split = decisions.commit(decisions.split(1, [asked(1)]))
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    assert clusterer.assign([asked(1).vector]).ids == [4]
    assert steps(decisions.commit(decisions.undo(split.number))) == [(7, 4, 1)]
    part = store.cluster("default", 4)
    assert part is not None
    assert (part.size, part.ruling.exemplars, part.ruling.separations) == (1, (), ())


def test_a_rejected_question_is_in_the_next_best_cluster(store: MemoryStore, decisions: Decisions) -> None:
    rules = Rules(threshold=0.2, merge_threshold=0.9, similarity="cosine", linkage="centroid")
    between = np.array([1, 0.5, 0.05], np.float32)
    question = replace(asked(1), vector=between / np.linalg.norm(between), text="which card?")
    assert would_join(store.load("default"), rules, replace(question, text=None)) == ()
    question = replace(question, would_join=would_join(store.load("default"), rules, question))
    assert question.would_join == (1, 2)
    assert steps(decisions.commit(decisions.reject([question]))) == [(7, 1, 2)]
    # What turned it away takes it no more.
    again = replace(question, would_join=would_join(store.load("default"), rules, question))
    assert again.would_join == (2,)
    assert steps(decisions.commit(decisions.reject([again]))) == [(7, 2, None)]


def test_a_question_that_no_other_cluster_takes_opens_one(store: MemoryStore, decisions: Decisions) -> None:
    one, like_it, another = (replace(asked(1, offset), question_id=f"q{offset}", text="lost?") for offset in (7, 8, 9))
    another = replace(another, vector=np.array([0.6, -0.8, 0], np.float32), text="stolen?")
    given = with_next_best(store.load("default"), RULES, [one, like_it, another])
    assert [(question.would_join, question.opens) for question in given] == [((1,), 0), ((1,), 0), ((), 2)]
    rejected = decisions.commit(decisions.reject(given))
    assert steps(rejected) == [(7, 1, 4), (8, 1, 4), (9, 1, 5)]
    assert {i: [named.kind for named in rejected.after[i].exemplars] for i in rejected.after} == {
        1: ["cannot"] * 3,
        4: ["must"] * 2,
        5: ["must"],
    }
    assert [(state.cluster_id, state.size, state.members) for state in store.states("default", [4, 5])] == [
        (4, 0, 2),
        (5, 0, 1),
    ]
    # What comes later goes there, and the two do not merge.
    later = with_next_best(store.load("default"), RULES, [one, another])
    assert [question.would_join for question in later] == [(4,), (5,)]
    undone = decisions.commit(decisions.undo(rejected.number))
    assert steps(undone) == [(7, 4, 1), (8, 4, 1), (9, 5, 1)]
    assert [state.event for state in store.states("default", [4, 5])] == ["retired", "retired"]
    (back,) = with_next_best(store.load("default"), RULES, [one])
    assert back.would_join == (1,)


def test_a_cluster_that_a_rejected_question_opened_stays_where_one_joined(store: MemoryStore) -> None:
    decisions = Decisions(store, "default", By("ann"))
    question = replace(asked(1), text="lost?")
    rejected = decisions.commit(decisions.reject(with_next_best(store.load("default"), RULES, [question])))
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    assert clusterer.assign([question.vector]).ids == [4]
    decisions.commit(decisions.undo(rejected.number))
    (state,) = store.states("default", [4])
    assert (state.event != "retired", state.size, state.ruling.exemplars) == (True, 1, ())


@pytest.mark.parametrize(
    ("text", "mode"), [(None, "open"), ("lost?", "known-only")], ids=["without its text", "known only"]
)
def test_a_rejected_question_opens_no_cluster_where_nobody_knows_or_wants_it(
    store: MemoryStore, decisions: Decisions, text: str | None, mode: Mode
) -> None:
    given = with_next_best(store.load("default"), replace(RULES, mode=mode), [replace(asked(1), text=text)])
    assert steps(decisions.commit(decisions.reject(given))) == [(7, 1, None)]
    assert store.sizes("default").clusters == 3


def test_a_question_without_a_place_has_no_correction(decisions: Decisions) -> None:
    assert decisions.commit(decisions.move([replace(asked(1), place=None)], 2)).corrections == ()


def test_an_undo_moves_back_what_no_later_operation_moved(decisions: Decisions) -> None:
    first = decisions.commit(decisions.move([asked(1), asked(1, 8)], 2))
    decisions.commit(decisions.move([asked(1, 8)], 3))
    undone = decisions.commit(decisions.undo(first.number))
    assert steps(undone) == [(7, 2, 1)]
    assert steps(decisions.commit(decisions.undo(undone.number))) == [(7, 1, 2)]


def test_corrections_name_the_clusters_of_today(store: MemoryStore, decisions: Decisions) -> None:
    moved = decisions.commit(decisions.move([asked(1)], 2))
    merge_clusters(store, "default", 2, 3)
    survivor = store.cluster("default", 2)
    assert survivor is not None
    assert steps(decisions.commit(decisions.move([asked(3)], 1))) == [(7, survivor.merged_into or 2, 1)]
    assert moved.number == 1


MOVED = Operation(
    "id",
    4,
    "move",
    "ann",
    "",
    5,
    {},
    {},
    corrections=(Correction(PLACE, 1, 2, "q7", b"key\xff"), Correction(("questions", 1, 0), None, 3)),
)


def test_corrections_are_kept_and_published_with_their_operation() -> None:
    assert parse_operation(4, 5, operation_text(MOVED), None) == MOVED
    key, value = encode_operation("default", "clusters", MOVED)
    schema_of("operation").validate(orjson.loads(value))
    assert decode_operation(key, value) == ("default", "clusters", MOVED)
    of_earlier = orjson.loads(value)
    del of_earlier["corrections"]
    assert decode_operation(key, orjson.dumps(of_earlier))[2] == replace(MOVED, corrections=())


def test_a_correction_is_under_the_key_of_its_decision() -> None:
    records = encode_corrections("default", "clusters", MOVED)
    assert [key for key, _ in records] == [b"key\xff", None]
    told = [orjson.loads(value) for _, value in records]
    for one in told:
        schema_of("correction").validate(one)
    assert [(one["question_id"], one["source"]["offset"], one["from"], one["to"]) for one in told] == [
        ("q7", 7, "c1", "c2"),
        (None, 0, None, "c3"),
    ]
