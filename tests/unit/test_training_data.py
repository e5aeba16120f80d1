"""What training is fed with: one set of texts, a part of it held out, pairs out of the rest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.errors import QuestreamError
from questream.lab.training.corpus import Corpus, as_pairs, corpus_of, read_corpus, text_key
from questream.lab.training.recipe import Recipe, scaled_warm_up
from questream.lab.training.sampling import draw_pairs, hard_negatives, pairs_within
from questream.lab.training.split import bounded, split
from questream.records.files import FileQuestion, LabelledPair

TEXTS = st.integers(0, 40).map(lambda number: f"question {number}")
PAIRS = st.lists(st.builds(LabelledPair, TEXTS, TEXTS, st.booleans()), max_size=60)
QUESTIONS = st.lists(
    st.builds(FileQuestion, st.just("q"), TEXTS, st.integers(0, 12).map(lambda n: f"g{n}")), max_size=60
)


def groups_as_texts(corpus: Corpus) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for text, group in zip(corpus.texts, corpus.groups.tolist(), strict=True):
        found.setdefault(group, set()).add(text)
    return {frozenset(texts) for texts in found.values()}


def question(text: str, gold: str | None) -> FileQuestion:
    return FileQuestion("q", text, gold)


def many_groups(count: int, size: int) -> Corpus:
    return corpus_of([], {0: [question(f"text {g}-{i}", f"g{g}") for g in range(count) for i in range(size)]})


def test_pairs_labelled_the_same_make_groups_of_what_they_connect() -> None:
    pairs = [LabelledPair("a", "b", True), LabelledPair("b", "c", True), LabelledPair("d", "a", False)]
    corpus = corpus_of(pairs, {})
    assert groups_as_texts(corpus) == {frozenset("abc"), frozenset("d")}
    assert len(corpus.same) == 2
    assert corpus.different.tolist() == [[0, 3]]


def test_texts_that_differ_in_case_and_white_space_are_one() -> None:
    corpus = corpus_of([LabelledPair("Where is it?", " where  IS it? ", True)], {0: [question("WHERE is it?", "g")]})
    assert corpus.texts == ["WHERE is it?"]
    assert corpus.left_out.unusable_pairs == 1


def test_a_text_in_two_groups_is_left_out_with_its_pairs() -> None:
    rows = [question("a", "g1"), question("a", "g2"), question("b", "g1"), question("c", None)]
    corpus = corpus_of([LabelledPair("a", "b", True)], {0: rows})
    assert corpus.texts == ["b"]
    assert (corpus.left_out.ambiguous_texts, corpus.left_out.unusable_pairs) == (1, 1)


def test_where_pairs_and_groups_contradict_each_other_the_groups_hold() -> None:
    rows = [question("a", "g1"), question("b", "g1"), question("c", "g2")]
    pairs = [
        LabelledPair("a", "c", True),
        LabelledPair("a", "b", False),
        # By a text without a group, which joins the one and not the other.
        LabelledPair("a", "x", True),
        LabelledPair("x", "c", True),
    ]
    corpus = corpus_of(pairs, {0: rows})
    assert groups_as_texts(corpus) == {frozenset("abx"), frozenset("c")}
    assert corpus.left_out.contradicting_pairs == 3


def test_a_group_has_its_name_in_its_own_file_alone() -> None:
    corpus = corpus_of([], {0: [question("a", "c1"), question("b", "c1")], 1: [question("d", "c1")]})
    assert groups_as_texts(corpus) == {frozenset("ab"), frozenset("d")}


def test_a_file_of_groups_without_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("one\ntwo\n")
    with pytest.raises(QuestreamError, match='needs a "gold"'):
        read_corpus([], [path])


@given(PAIRS, QUESTIONS, st.floats(0.1, 0.8), st.integers(0, 5))
def test_no_text_and_no_group_stands_on_both_sides(
    pairs: list[LabelledPair], questions: list[FileQuestion], share: float, seed: int
) -> None:
    corpus = corpus_of(pairs, {0: questions})
    try:
        halves = split(corpus, share, seed)
    except QuestreamError:
        return
    train, held_out = ({text_key(text) for text in half.texts} for half in (halves.train, halves.held_out))
    assert not train & held_out
    assert train | held_out == {text_key(text) for text in corpus.texts}
    assert groups_as_texts(halves.train) | groups_as_texts(halves.held_out) == groups_as_texts(corpus)
    for half in (halves.train, halves.held_out):
        told = {(text_key(pair.text_a), text_key(pair.text_b), pair.same) for pair in pairs}
        for kind, same in ((half.same, True), (half.different, False)):
            for one, other in kind.tolist():
                a, b = text_key(half.texts[one]), text_key(half.texts[other])
                assert {(a, b, same), (b, a, same)} & told
                assert bool(half.groups[one] == half.groups[other]) is same


def test_about_the_share_is_held_out_and_a_seed_repeats_it() -> None:
    corpus = many_groups(200, 3)
    halves = split(corpus, 0.2, 7)
    assert 115 <= len(halves.held_out.texts) <= 120
    assert split(corpus, 0.2, 7).held_out.texts == halves.held_out.texts
    assert split(corpus, 0.2, 8).held_out.texts != halves.held_out.texts


def test_a_pair_of_different_questions_stays_on_one_side_unless_a_chain_of_them_ties_all() -> None:
    few = [LabelledPair(f"text {g}-0", f"text {g + 1}-0", False) for g in range(0, 200, 2)]
    rows = [question(f"text {g}-{i}", f"g{g}") for g in range(200) for i in range(2)]
    assert split(corpus_of(few, {0: rows}), 0.3, 0).left_out.parted_pairs == 0
    chain = [LabelledPair(f"text {g}-0", f"text {g + 1}-0", False) for g in range(199)]
    halves = split(corpus_of(chain, {0: rows}), 0.3, 0)
    assert 0 < halves.left_out.parted_pairs < 60
    assert 90 <= len(halves.held_out.texts) <= 120


def test_too_little_data_is_told_with_what_to_do() -> None:
    with pytest.raises(QuestreamError, match=r"too little data: 0 groups .* --held-out"):
        split(many_groups(3, 1), 0.3, 0)


def test_what_is_compared_is_bounded_in_whole_groups() -> None:
    part = bounded(many_groups(50, 4), 41, 0)
    assert Counter(part.groups.tolist()).most_common(1)[0][1] == 4
    assert len(part.texts) == 40


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 20))
def test_pairs_of_a_group_are_bounded_and_different(groups: list[int], most: int) -> None:
    numbers = np.array(groups, np.int64)
    drawn = pairs_within(numbers, most, np.random.default_rng(0)).tolist()
    assert len({tuple(pair) for pair in drawn}) == len(drawn)
    counts = Counter(groups[one] for one, other in drawn)
    for one, other in drawn:
        assert one < other
        assert groups[one] == groups[other]
    for group, size in Counter(groups).items():
        assert counts[group] == min(most, size * (size - 1) // 2)


def test_where_there_is_room_no_text_of_a_large_group_is_left_out() -> None:
    drawn = pairs_within(np.zeros(30, np.int64), 40, np.random.default_rng(0))
    assert set(drawn.ravel().tolist()) == set(range(30))


def test_hard_negatives_are_the_nearest_of_other_groups_that_are_not_likely_the_same() -> None:
    angles = np.deg2rad([0, 30, 10, 40, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    groups = np.array([0, 0, 1, 2, 3])
    # The pair's own cosine is .87: what is at 10 degrees is nearer than .95 of that, what is at 40 is not.
    assert hard_negatives(as_pairs([(0, 1)]), vectors, groups, 1).tolist() == [[0, 3]]
    assert hard_negatives(as_pairs([(0, 1)]), vectors, groups, 2).tolist() == [[0, 3], [0, 4]]
    assert len(hard_negatives(as_pairs([(0, 1)]), vectors, groups, 0)) == 0


def test_the_pairs_to_train_on_bear_both_labels_or_are_for_ranking_alone() -> None:
    corpus = many_groups(20, 3)
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = draw_pairs(corpus, vectors, Recipe())
    assert len(drawn.positives) == 60
    assert set(drawn.labels.tolist()) == {0, 1}
    same = corpus.groups[drawn.labelled[:, 0]] == corpus.groups[drawn.labelled[:, 1]]
    assert (same == drawn.labels.astype(bool)).all()
    alone = draw_pairs(corpus, vectors, Recipe(hard_negatives=0))
    assert (len(alone.positives), len(alone.labelled)) == (60, 0)


@pytest.mark.parametrize(("steps", "warm_up"), [(1, 1), (600, 60), (10_000, 1000), (100_000, 1000)])
def test_the_warm_up_is_scaled_down_for_small_data(steps: int, warm_up: int) -> None:
    assert scaled_warm_up(Recipe(), steps) == warm_up
