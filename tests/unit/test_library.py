from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import questream
from questream import QuestionClusterer, QuestreamError
from questream.clustering.levels import Leaves, LevelRules, leaf
from questream.clustering.merging import Merge
from questream.deciding.grouping import Grouping
from questream.encoder import Tokens
from questream.errors import StoreUnavailable
from questream.operations import merge_clusters
from questream.store.protocol import Merged
from questream.store.reference.store import MemoryStore
from tests.kit.stepping import unit_rows
from tests.unit.test_assignment import stream


def test_vectors_get_ids_scores_and_events() -> None:
    clusterer = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8)
    one, other = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
    assigned = clusterer.assign([one, other, [1.0, 0.1, 0.0, 0.0]])
    assert assigned.ids == [1, 2, 1]
    assert [decision.outcome for decision in assigned.decisions] == ["created", "created", "joined"]
    assert assigned.scores == pytest.approx([1, 1, 0.995037], abs=1e-5)
    assert {event.cluster_id: (event.event, event.size) for event in assigned.events} == {
        1: ("created", 2),
        2: ("created", 1),
    }


def test_nearest_learns_nothing() -> None:
    clusterer = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8)
    clusterer.assign([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    before = [(state.cluster_id, state.size) for state in clusterer.clusters()]
    neighbours = clusterer.nearest([0.9, 0.1, 0.0, 0.0])
    assert [neighbour.cluster_id for neighbour in neighbours] == [1, 2]
    assert [(state.cluster_id, state.size) for state in clusterer.clusters()] == before


def test_a_near_cluster_whose_question_differs_is_passed_over() -> None:
    on, off, again = "Turn dark mode on", "Turn dark mode off", "Please turn dark mode on"
    rows = [[1.0, 0.0, 0.0, 0.0], [1.0, 0.01, 0.0, 0.0], [1.0, 0.02, 0.0, 0.0]]
    clusterer = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8)
    assigned = clusterer.assign(rows, [on, off, again])
    assert assigned.ids == [1, 2, 1]
    first, second, third = assigned.decisions
    assert [(d.checked_by, d.reason) for d in (first, second)] == [(None, None), ("features", "antonym")]
    assert (third.checked_by, third.reason) == ("features", "antonym")
    assert third.runner_up is not None
    assert third.runner_up.cluster_id == 2
    assert clusterer.assign(rows[:1], [off]).ids == [2]
    found = {neighbour.cluster_id: neighbour.reason for neighbour in clusterer.nearest(rows[0], text=off)}
    assert found == {1: "antonym", 2: None}
    without = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8, judge_features=False)
    assert without.assign(rows, [on, off, again]).ids == [1, 1, 1]


def test_what_people_merged_stays_together_though_it_differs() -> None:
    on, off = "Turn dark mode on", "Turn dark mode off"
    rows, store = [[1.0, 0.0, 0.0, 0.0], [1.0, 0.01, 0.0, 0.0]], MemoryStore()
    clusterer = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8, store=store)
    assert clusterer.assign(rows, [on, off]).ids == [1, 2]
    merge_clusters(store, "default", 1, 2)
    clusterer.nearest(rows[0])
    assert clusterer.assign([*rows, *rows], [off, on, off, on]).ids == [1, 1, 1, 1]


def test_two_clusterers_on_one_store_share_clusters() -> None:
    store = MemoryStore()
    questions = stream(3, 200, 8, 16, 0.2, 0.5)
    one, other = (QuestionClusterer(dimension=16, store=store) for _ in range(2))
    one.assign(questions[:100])
    other.assign(questions[100:])
    one.assign(questions[:10])
    assert sum(state.size for state in one.clusters()) == 210
    assert [s.cluster_id for s in one.clusters()] == [s.cluster_id for s in other.clusters()]


def test_vectors_are_normalised_first() -> None:
    rows = unit_rows(np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32))
    short, long = QuestionClusterer(dimension=8), QuestionClusterer(dimension=8)
    assert short.assign(rows).ids == long.assign(rows * 17).ids


def test_nothing_in_nothing_out() -> None:
    assert QuestionClusterer(dimension=8).assign([]).ids == []


def test_what_cannot_be_assigned_is_refused() -> None:
    clusterer = QuestionClusterer(dimension=4)
    with pytest.raises(ValueError, match=r"vectors are \(n, 4\)"):
        clusterer.assign(np.ones((2, 3)))
    with pytest.raises(ValueError, match="finite and not zero"):
        clusterer.assign([[np.nan, 0, 0, 1]])
    with pytest.raises(ValueError, match="finite and not zero"):
        clusterer.assign(np.zeros((1, 4)))
    with pytest.raises(QuestreamError, match="takes an encoder"):
        clusterer.assign(["Where is my card?"])
    with pytest.raises(ValueError, match="granularity is one of question, duplicate; intents and topics are `levels`"):
        QuestionClusterer(dimension=4, granularity="topic")  # type: ignore[arg-type]  # what a notebook may pass
    with pytest.raises(ValueError, match="give an encoder"):
        QuestionClusterer()


class Lengths:
    """An encoder of texts to vectors that says nothing but their length."""

    name, revision, dimension, preset = "lengths", "1", 4, None

    def tokenise_all(self, texts: Sequence[str]) -> list[Tokens]:
        return [Tokens(np.zeros(len(text), np.int32), truncated=False) for text in texts]

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Any:
        return unit_rows(np.array([[len(text), 1.0, 0.0, 0.0] for text in tokens], np.float32))


def texts_clusterer() -> QuestionClusterer:
    return QuestionClusterer(Lengths(), similarity="cosine", threshold=0.8)  # type: ignore[arg-type]  # all it asks of one


TEXTS = ["one", "two", "a longer one"]


def pandas() -> Any:
    """Not imported at the top, as it takes part of a second in each process that collects tests."""
    import pandas  # type: ignore[import-untyped]  # ships no types

    return pandas


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(list, id="list"),
        pytest.param(tuple, id="tuple"),
        pytest.param(np.array, id="array"),
        pytest.param(lambda texts: np.array(texts, object), id="array of objects"),
        pytest.param(lambda texts: pandas().Series(texts), id="Series"),
        pytest.param(lambda texts: pandas().Series(texts, index=[7, 7, 9]), id="Series with an index"),
        pytest.param(lambda texts: pandas().Series(texts, dtype=object), id="Series of objects"),
        pytest.param(lambda texts: pandas().Series(texts, dtype="category"), id="Series of categories"),
        pytest.param(lambda texts: pandas().Index(texts), id="Index"),
        pytest.param(iter, id="iterator"),
        pytest.param(lambda texts: dict.fromkeys(texts).keys(), id="keys"),
    ],
)
def test_texts_come_in_whatever_holds_them(hold: Callable[[list[str]], Any]) -> None:
    assert texts_clusterer().assign(hold(TEXTS)).ids == texts_clusterer().assign(TEXTS).ids


def test_the_question_of_a_mail_is_embedded_and_shown() -> None:
    mail, clusterer = "Hello,\n\nwhere is my card?\n\nBest regards\nAnna", texts_clusterer()
    clusterer.assign([mail])
    assert [state.representative for state in clusterer.clusters()] == ["where is my card?"]
    assert clusterer.nearest(mail) == clusterer.nearest("where is my card?")


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, "pandas.NA", 17, b"bytes"], ids=repr)
def test_what_is_no_text_is_refused_by_its_position(missing: Any) -> None:
    missing = pandas().NA if missing == "pandas.NA" else missing
    for given in (["one", missing, "two", missing], np.array(["one", missing, "two", missing], object)):
        with pytest.raises(ValueError, match="those at positions 1, 3 are None, NaN or something else"):
            texts_clusterer().assign(given)
    with pytest.raises(ValueError, match="those at position 0 "):
        texts_clusterer().assign(pandas().Series([missing, "one"], dtype=object))


@pytest.mark.parametrize("missing", [None, float("nan"), "pandas.NA"], ids=repr)
def test_questions_that_are_all_missing_are_refused(missing: Any) -> None:
    missing = pandas().NA if missing == "pandas.NA" else missing
    with pytest.raises(ValueError, match="positions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more are None"):
        texts_clusterer().assign([missing] * 12)


def test_vectors_come_in_frames_and_columns_too_and_a_missing_one_is_named() -> None:
    rows = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    for given in (
        rows,
        np.array(rows),
        pandas().DataFrame(rows),
        pandas().Series(rows),
        pandas().Series([np.array(row) for row in rows]),
    ):
        assert QuestionClusterer(dimension=4).assign(given).ids == [1, 2]
    with pytest.raises(ValueError, match="finite and not zero, those at position 1 are not"):
        QuestionClusterer(dimension=4).assign([[1.0, 0, 0, 0], [np.nan, 0, 0, 0]])
    for given in ([[1.0, 2.0, 3.0, 4.0], [1.0]], [[1.0, None, 2.0, 3.0]], [1.0, {}]):
        with pytest.raises(ValueError, match=r"vectors"):
            QuestionClusterer(dimension=4).assign(given)  # type: ignore[arg-type]  # what a notebook may pass


def test_one_text_is_no_list_of_texts() -> None:
    with pytest.raises(ValueError, match="give a list of texts, not one text"):
        texts_clusterer().assign("Where is my card?")


def test_the_package_shows_its_public_names_alone() -> None:
    shown = {name for name in dir(questream) if not name.startswith("_")}
    assert shown == set(questream.__all__)
    assert all(getattr(questream, name) is not None for name in questream.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", questream.__version__)


def test_what_a_notebook_prints_is_a_line_without_texts_and_vectors() -> None:
    clusterer = texts_clusterer()
    assigned = clusterer.assign(["my secret question", *TEXTS])
    printed = [clusterer, assigned, assigned.decisions[0], assigned.events[0], clusterer.nearest("one")[0]]
    for value in printed:
        assert len(repr(value)) <= 120, repr(value)
        assert "\n" not in repr(value)
        assert "secret" not in repr(value)
        assert "array" not in repr(value)


def test_the_ledger_of_a_notebook_does_not_grow() -> None:
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=16, store=store)
    for seed in range(20):
        clusterer.assign(stream(seed, 10, 3, 16, 0.2, 0.5))
    (entries,) = (entries for state in store._namespaces.values() for entries in state.ledgers.values())
    assert len(entries) == 1


class _MergesOnlyLater(MemoryStore):
    """A store that does not answer the first merge."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("not now")
        return super().merge(namespace, store_epoch, seq, merges)


def test_a_merge_whose_call_failed_is_proposed_again() -> None:
    store = _MergesOnlyLater()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, merge_threshold=0.8, store=store)
    # Two that are two, until each has learned one that lies between them.
    clusterer.assign([[1.0, 0.4, 0.0], [1.0, -0.4, 0.0]])
    with pytest.raises(StoreUnavailable):
        clusterer.assign([[1.0, 0.2, 0.0], [1.0, -0.2, 0.0]])
    assert len(clusterer.clusters()) == 2
    clusterer.assign([[0.0, 0.0, 1.0], [0.0, 0.05, 1.0]])
    assert sorted(state.cluster_id for state in clusterer.clusters()) == [1, 3]


def subjects(seed: int, each: int) -> NDArray[np.float32]:
    """Six subjects in turn: two questions of one have a cosine of about .6, others none."""
    rows = np.zeros((6 * each, 6 + 6 * each))
    for row in range(len(rows)):
        rows[row, [row % 6, 6 + row]] = np.sqrt([0.6, 0.4])
    return unit_rows((rows + np.random.default_rng(seed).normal(0, 0.01, rows.shape)).astype(np.float32))


def test_clusters_are_grouped_to_intents_and_each_question_gets_its_path() -> None:
    questions = subjects(0, 60)
    rules = LevelRules(resolutions=(1.0, 0.2))
    clusterer = QuestionClusterer(dimension=questions.shape[1], threshold=0.9, similarity="cosine", levels=rules)
    first = clusterer.assign(questions[:150])
    assert [path[0] for path in first.paths] == [leaf(cluster_id) for cluster_id in first.ids]
    assert all(path[1] == path[0] for path in first.paths), "no level was found yet"
    later = clusterer.assign(questions[150:156])
    # A new cluster falls where its neighbours are, and its own decision says so.
    assert [path[1] for path in later.paths] == [clusterer.path(number)[1] for number in range(1, 7)]
    assert {path[1].level for path in later.paths} == {1}
    clusterer.assign(questions[156:])
    paths = [clusterer.path(cluster_id) for cluster_id in range(1, len(questions) + 1)]
    assert len({path[1] for path in paths}) == 6
    assert all(paths[at][1] == paths[at % 6][1] for at in range(len(paths)))


def test_levels_are_found_from_time_to_time_without_being_asked() -> None:
    questions = subjects(1, 50)
    rules = LevelRules(resolutions=(1.0, 0.2))
    clusterer = QuestionClusterer(dimension=questions.shape[1], threshold=0.9, similarity="cosine", levels=rules)
    clusterer.assign(questions[:60])
    assert clusterer.path(1)[1] == leaf(1)
    clusterer.assign(questions[60:70])
    assert clusterer.path(1)[1].level == 1


def test_what_two_clusters_become_is_where_either_was() -> None:
    grouping = Grouping(LevelRules(resolutions=(1.0, 0.2)))
    unit = subjects(2, 4)
    grouping.run(Leaves(np.arange(1, 25), unit, np.ones(24)), 24)
    intent = grouping.path(7)[1]
    assert intent == grouping.path(1)[1]
    # Leaf 25 stood alone and is the larger one; leaf 7 was of an intent.
    grouping.merge([(25, 7), (13, 1)])
    assert grouping.path(25)[1] == grouping.path(13)[1] == intent
    assert grouping.path(7) == (leaf(7),) * 3
    assert grouping.levels.children()[intent] == [leaf(13), leaf(19), leaf(25)]


@pytest.mark.parametrize(("at", "due"), [(63, False), (64, True)])
def test_the_first_run_is_due_at_64_questions(at: int, due: bool) -> None:
    assert Grouping(LevelRules()).is_due(at) is due


@pytest.mark.parametrize(("at", "due"), [(11_999, False), (12_000, True)])
def test_a_large_stream_is_grouped_again_at_a_fifth_more(at: int, due: bool) -> None:
    grouping = Grouping(LevelRules())
    grouping.run(Leaves(np.arange(0), np.empty((0, 4), np.float32), np.empty(0)), 10_000)
    assert grouping.is_due(at) is due


def test_without_levels_nothing_is_grouped() -> None:
    clusterer = QuestionClusterer(dimension=4)
    assert clusterer.assign(np.eye(4)).paths == []
    assert clusterer.path(1) == (leaf(1),) * 3
    with pytest.raises(ValueError, match="levels=LevelRules"):
        clusterer.regroup()


@pytest.mark.parametrize(
    ("parameter", "given", "allowed"),
    [
        ("threshold", float("nan"), "a finite number"),
        ("threshold", True, "a finite number"),
        ("threshold", "0.8", "a finite number"),
        ("merge_threshold", float("-inf"), "a finite number"),
        ("centroid_members", 0, "a whole number from 1 to 1000000"),
        ("centroid_members", 1.5, "a whole number from 1 to 1000000"),
        ("mean_questions", -1, "a whole number from 1 to 1000000"),
        ("namespace", "a/{b}", "1 to 64 letters, digits"),
        ("namespace", "", "1 to 64 letters, digits"),
        ("namespace", None, "1 to 64 letters, digits"),
        ("dimension", 0, "a whole number, 1 or more"),
        ("dimension", -4, "a whole number, 1 or more"),
        ("dimension", 4.5, "a whole number, 1 or more"),
        ("dimension", True, "a whole number, 1 or more"),
    ],
)
def test_a_parameter_outside_its_range_is_refused(parameter: str, given: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{parameter} is {allowed}"):
        QuestionClusterer(**({"dimension": 4} | {parameter: given}))


class _Agreeing:
    """A judge to whom all pairs ask the same."""

    def same(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return [True] * len(pairs)


def test_a_margin_outside_its_range_is_refused_where_there_is_a_judge() -> None:
    with pytest.raises(ValueError, match=r"^judge_margin is a number from 0\.001 to 1"):
        QuestionClusterer(dimension=4, judge=_Agreeing(), judge_margin=-0.1)


def test_a_number_of_numpy_is_a_number() -> None:
    clusterer = QuestionClusterer(
        dimension=np.int64(4),  # type: ignore[arg-type]  # what a notebook may pass
        threshold=np.float32(0.5),  # type: ignore[arg-type]  # what a notebook may pass
        centroid_members=np.int32(8),  # type: ignore[arg-type]  # what a notebook may pass
    )
    assert (clusterer.dimension, clusterer.rules.threshold) == (4, 0.5)


def test_vectors_that_can_be_read_only_once_are_read() -> None:
    rows = np.eye(4, dtype=np.float32)
    assert QuestionClusterer(dimension=4).assign(iter(rows)).ids == [1, 2, 3, 4]  # type: ignore[arg-type]  # a generator


@pytest.mark.parametrize("length", [1e-300, 1e-30, 1e30, 1e300])
def test_the_length_of_a_vector_says_nothing(length: float) -> None:
    clusterer = QuestionClusterer(dimension=4)
    assert clusterer.assign(np.eye(4) * length).ids == clusterer.assign(np.eye(4)).ids == [1, 2, 3, 4]


@pytest.mark.parametrize("given", [None, 5, object()])
def test_what_holds_no_questions_is_refused_in_words(given: Any) -> None:
    with pytest.raises(ValueError, match="give a list of texts or of vectors"):
        QuestionClusterer(dimension=4).assign(given)
    with pytest.raises(ValueError, match="must be"):
        QuestionClusterer(dimension=4).nearest(None)  # type: ignore[arg-type]  # what a notebook may pass


@pytest.mark.parametrize("wrong", [None, float("nan"), 5, b"bytes", "half \ud800"], ids=repr)
def test_a_text_beside_a_vector_that_is_none_is_refused_by_its_position(wrong: Any) -> None:
    clusterer = QuestionClusterer(dimension=4)
    with pytest.raises(ValueError, match="position 1 are not"):
        clusterer.assign(np.eye(4)[:3], ["one", wrong, "two"])
    with pytest.raises(ValueError, match="give a list of texts"):
        clusterer.assign(np.eye(4)[:3], "abc")
    assert clusterer.clusters() == []


def test_threads_take_turns_with_one_clusterer() -> None:
    clusterer = QuestionClusterer(dimension=8, threshold=0.9, levels=LevelRules())
    streams = [np.random.default_rng(seed).normal(size=(60, 3, 8)) for seed in range(4)]

    def assign(stream: Any) -> list[int]:
        ids = []
        for rows in stream:
            ids += clusterer.assign(rows).ids
            clusterer.nearest(rows[0])
        return ids

    with ThreadPoolExecutor(len(streams)) as threads:
        assigned = list(threads.map(assign, streams))
    assert sum(state.size for state in clusterer.clusters()) == sum(map(len, assigned)) == 4 * 60 * 3


def test_a_clusterer_goes_on_in_another_process() -> None:
    clusterer = QuestionClusterer(dimension=4)
    clusterer.assign(np.eye(4)[:2])
    copied = pickle.loads(pickle.dumps(clusterer))
    assert copied.assign(np.eye(4)).ids == [1, 2, 3, 4]
    assert len(clusterer.clusters()) == 2


@pytest.mark.parametrize(
    ("parameter", "given", "allowed"),
    [
        ("encoder", "all-MiniLM-L6-v2", r"what load_encoder\(...\) gives"),
        ("store", "redis://localhost", "a store that is open"),
        ("levels", 1, r"LevelRules\(...\)"),
        ("judge", 1, r"what load_judge\(...\) gives"),
        ("prepare", None, "a function"),
    ],
)
def test_a_part_that_is_none_is_refused_by_its_name(parameter: str, given: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{parameter} is {allowed}"):
        QuestionClusterer(**({"dimension": 4} | {parameter: given}))


@pytest.mark.parametrize("limit", ["x", 1.5, None, True, -1])
def test_a_limit_that_is_no_number_of_clusters_is_refused(limit: Any) -> None:
    clusterer = QuestionClusterer(dimension=4)
    with pytest.raises(ValueError, match=r"^limit is a whole number, 0 or more"):
        clusterer.nearest(np.eye(4)[0], limit)


def test_a_text_or_an_id_that_is_none_is_refused() -> None:
    clusterer = QuestionClusterer(dimension=4)
    with pytest.raises(ValueError, match="texts must be texts"):
        clusterer.nearest(np.eye(4)[0], 5, None)  # type: ignore[arg-type]  # no text
    for wrong in (["1"], [None], 5, [1.0]):
        with pytest.raises(ValueError, match="give a list of"):
            clusterer.survivors(wrong)  # type: ignore[arg-type]  # no ids
    with pytest.raises(ValueError, match="give a list of ids"):
        clusterer.path("1")  # type: ignore[arg-type]  # no id
    assert clusterer.survivors(np.array([1, 2])) == [1, 2]
    assert clusterer.survivors(one for one in (1, 2)) == [1, 2]


@pytest.mark.parametrize(
    "given",
    [
        {"neighbours": 0},
        {"neighbours": "8"},
        {"voters": -1},
        {"least_cosine": float("nan")},
        {"inertia": "little"},
        {"resolutions": (24.0,)},
        {"resolutions": 5},
        {"resolutions": ("x", 8.0)},
    ],
    ids=str,
)
def test_rules_of_levels_that_make_no_sense_are_refused_by_their_name(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        LevelRules(**given)
