from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.errors import QuestreamError
from questream.lab.calibration import propose_threshold
from questream.lab.calibration.answers import FEWEST_ANSWERS, Inquiry
from questream.lab.calibration.groups import propose_from_groups
from questream.lab.calibration.pairs import PairStream, pair_stream, propose_from_pairs
from questream.lab.calibration.preview import preview
from questream.lab.calibration.proposal import Proposal
from questream.lab.calibration.sweep import Floats, Sweep, grid_of, nearest_level, sweep, weighted_f
from questream.lab.calibration.unlabelled import propose_intents, propose_unlabelled
from questream.lab.evaluation.agreement import Labels, agreement, shared_counts
from questream.library import QuestionClusterer
from questream.records.files import LabelledPair
from tests.kit.stepping import unit_rows

TOPICS = 20
RULES = Rules(0.5, 0.5)


def groups_and_vectors(spread: float) -> tuple[list[int], Matrix]:
    random = np.random.default_rng(5)
    groups = random.integers(TOPICS, size=600)
    centres, background = random.normal(size=(TOPICS, 64)), random.normal(size=64)
    return groups.tolist(), unit_rows(
        (centres[groups] + background + spread * random.normal(size=(600, 64))).astype(np.float32)
    )


@cache
def nested(spread: float = 0.35, seed: int = 3, questions: int = 500) -> tuple[Sweep, Labels, Labels, Matrix]:
    """A stream of 12 subjects, in each of which questions in threes are the same: subjects and threes, both true."""
    random = np.random.default_rng(seed)
    threes = random.permutation(np.arange(questions) // 3)
    subjects = threes % 12
    centres, points = random.normal(size=(12, 48)), random.normal(size=(questions // 3 + 1, 48))
    noise = random.normal(size=(questions, 48))
    vectors = unit_rows((centres[subjects] + 0.75 * points[threes] + spread * noise).astype(np.float32))
    return sweep(vectors, RULES, grid_of(RULES)), subjects, threes, vectors


def f1_curve(swept: Sweep, gold: Labels) -> Floats:
    counts = [shared_counts(clusters, gold) for clusters in swept.after]
    precision = np.array([(shared / here).mean() for shared, here, _ in counts])
    recall = np.array([(shared / there).mean() for shared, _, there in counts])
    return weighted_f(precision, recall, 1.0)


def f1_at(swept: Sweep, threshold: float, gold: Labels) -> float:
    return float(f1_curve(swept, gold)[swept.at(threshold)])


def best_f1(swept: Sweep, gold: Labels) -> float:
    return float(f1_curve(swept, gold).max())


def answered(swept: Sweep, gold: Labels, count: int, wrong: float = 0.0, seed: int = 0, cost: float = 1.0) -> Inquiry:
    """An inquiry after `count` answers of one who knows the gold groups and errs now and then."""
    inquiry, random = Inquiry(swept, None, cost, seed), np.random.default_rng(seed)
    for _ in range(count):
        ask = inquiry.next()
        assert ask is not None
        same = bool(gold[ask.first] == gold[ask.second])
        assert inquiry.add_answer(ask.first, ask.second, same != (random.random() < wrong))
    return inquiry


def drawn_pairs(gold: Labels, count: int, seed: int = 0) -> PairStream:
    """As many pairs of one gold group as of two, of a stream whose texts are their numbers."""
    random = np.random.default_rng(seed)
    first, second = (random.integers(len(gold), size=60_000) for _ in range(2))
    kept = first != second
    first, second = first[kept], second[kept]
    same = gold[first] == gold[second]
    rows = np.concatenate([np.flatnonzero(same)[: count // 2], np.flatnonzero(~same)[: count // 2]])
    return PairStream([str(i) for i in range(len(gold))], first[rows], second[rows], same[rows])


@pytest.mark.parametrize("spread", [0.7, 1.2])
def test_the_proposed_threshold_finds_the_groups_however_tight_they_are(spread: float) -> None:
    groups, vectors = groups_and_vectors(spread)

    def agrees(threshold: float) -> float:
        ids = QuestionClusterer(dimension=64, threshold=threshold).assign(vectors).ids
        return agreement(ids, groups).bcubed_f1

    figures = [agrees(threshold) for threshold in (0.45, 0.55, 0.65)]
    assert agrees(propose_threshold(vectors).value) > max(figures) - 0.03
    assert min(figures) < max(figures) - 0.02  # else any threshold would do


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="100 at least"):
        propose_threshold(groups_and_vectors(0.7)[1][:99])


@pytest.mark.parametrize("level", ["subjects", "threes"])
def test_answers_find_the_level_that_the_user_has_in_mind(level: str) -> None:
    swept, subjects, threes, _ = nested()
    gold = subjects if level == "subjects" else threes
    proposal = answered(swept, gold, 40).proposal()
    assert f1_at(swept, proposal.value, gold) > best_f1(swept, gold) - 0.03
    other = threes if level == "subjects" else subjects
    assert f1_at(swept, proposal.value, other) < best_f1(swept, other) - 0.1


def test_a_few_wrong_answers_cost_little() -> None:
    swept, _, threes, _ = nested()
    losses = []
    for seed in range(4):
        proposal = answered(swept, threes, 40, wrong=0.1, seed=seed).proposal()
        losses.append(best_f1(swept, threes) - f1_at(swept, proposal.value, threes))
    assert np.mean(losses) < 0.03


def test_what_is_in_force_stays_unless_answers_speak_clearly_for_another() -> None:
    swept, _, threes, _ = nested()

    def proposed(in_force: float | None) -> Proposal:
        inquiry = Inquiry(swept, in_force=in_force)
        for ask in inquiry.asks(10):
            inquiry.add_answer(ask.first, ask.second, bool(threes[ask.first] == threes[ask.second]))
        return inquiry.proposal()

    alone = proposed(None)
    best = alone.settings[alone.row]
    near = next(other.value for other in alone.settings if 0.02 < best.score - other.score < 0.08)
    far = next(other.value for other in alone.settings if best.score - other.score > 0.15)
    # Not the one of the grid beside it.
    kept = proposed(near + 0.001)
    assert kept.value == near + 0.001
    assert any(f"{alone.value:.3f} suits these answers best" in remark for remark in kept.remarks)
    assert any(f"{near + 0.001:.3f}, the value of {swept.dial.key}" in remark for remark in kept.remarks)
    assert (proposed(far).value, proposed(far).remarks) == (alone.value, alone.remarks)
    assert (proposed(alone.value).value, proposed(alone.value).remarks) == (alone.value, alone.remarks)


def test_answers_narrow_the_interval_and_suffice_before_all_is_asked() -> None:
    swept, _, threes, _ = nested()
    few, many = answered(swept, threes, 4), answered(swept, threes, 40)
    assert width(many.proposal()) < width(few.proposal())
    assert not few.is_sure
    assert many.is_sure
    assert len(many.answers) > FEWEST_ANSWERS


def width(proposal: Proposal) -> float:
    low, high = proposal.low, proposal.high
    return (1.2 if high is None else high) - (0.2 if low is None else low)


def test_the_interval_holds_the_best_threshold() -> None:
    swept, subjects, threes, _ = nested()
    held = 0
    for gold in (subjects, threes):
        # Thresholds that differ by less than two points are one to the user.
        curve = f1_curve(swept, gold)
        good = [t for t, f1 in zip(swept.values, curve, strict=True) if f1 > curve.max() - 0.02]
        for seed in range(3):
            proposal = answered(swept, gold, 40, seed=seed).proposal()
            held += any((proposal.low or 0.0) <= t <= (proposal.high or 1.0) for t in good)
    assert held >= 5


@pytest.mark.parametrize(
    ("same", "remark", "side"), [(True, "every answer was yes", "low"), (False, "every answer was no", "high")]
)
def test_answers_of_one_kind_bound_the_threshold_on_one_side(same: bool, remark: str, side: str) -> None:
    swept = nested()[0]
    inquiry = Inquiry(swept)
    for _ in range(15):
        ask = inquiry.next()
        assert ask is not None
        inquiry.add_answer(ask.first, ask.second, same)
    proposal = inquiry.proposal()
    assert getattr(proposal, side) is None
    assert any(one.startswith(remark) for one in proposal.remarks)


def test_a_threshold_that_the_answers_leave_open_is_proposed_with_a_warning() -> None:
    swept, _, threes, _ = nested()

    def is_open(proposal: Proposal) -> bool:
        return any("the answers leave the threshold open" in remark for remark in proposal.remarks)

    few = answered(swept, threes, 3)
    assert is_open(few.proposal())
    assert not is_open(answered(swept, threes, 40).proposal())
    # Whatever was in force before, unless that is proposed for want of a clear gain, which a remark says as well.
    expected = [one.score for one in few.proposal().settings]
    for value, score in zip(swept.values, expected, strict=True):
        beside = Inquiry(swept, in_force=value)
        for (one, other), same in few.answers.items():
            beside.add_answer(one, other, same)
        kept = any("suits these answers best" in remark for remark in beside.proposal().remarks)
        assert is_open(beside.proposal()) is not kept
        assert kept is (max(expected) - 0.1 <= score < max(expected))


def test_an_answer_is_learned_once_and_a_skipped_pair_is_not_asked_again() -> None:
    inquiry = Inquiry(nested()[0])
    ask = inquiry.next()
    assert ask is not None
    assert inquiry.add_answer(ask.first, ask.second, True)
    assert not inquiry.add_answer(ask.second, ask.first, False)
    skipped = set()
    for _ in range(30):
        ask = inquiry.next()
        assert ask is not None
        pair = frozenset((ask.first, ask.second))
        assert pair not in skipped
        skipped.add(pair)
        inquiry.pass_over(ask)


def test_no_answers_propose_nothing() -> None:
    with pytest.raises(QuestreamError, match="no answers"):
        Inquiry(nested()[0]).proposal()


@pytest.mark.parametrize("level", ["subjects", "threes"])
def test_gold_groups_find_their_best_threshold_in_an_interval(level: str) -> None:
    swept, subjects, threes, _ = nested()
    gold = subjects if level == "subjects" else threes
    proposal = propose_from_groups([swept], [gold])
    assert f1_at(swept, proposal.value, gold) == pytest.approx(best_f1(swept, gold))
    assert (proposal.low or 0.0) < proposal.value < (proposal.high or 1.0)


def test_a_higher_threshold_joins_less_falsely_and_misses_more() -> None:
    swept, _, threes, _ = nested()
    low, *_, high = (setting.mistakes for setting in propose_from_groups([swept], [threes]).settings)
    assert low is not None
    assert high is not None
    assert low.false_joins > high.false_joins
    assert low.missed_joins < high.missed_joins


def test_bcubed_of_a_proposal_is_that_of_the_evaluation() -> None:
    swept, _, threes, _ = nested()
    proposal = propose_from_groups([swept], [threes])
    clusters = swept.after[swept.at(proposal.value)]
    score = proposal.settings[proposal.row].score
    assert score == pytest.approx(agreement(clusters.tolist(), threes.tolist()).bcubed_f1)


@pytest.mark.parametrize("level", ["subjects", "threes"])
def test_pairs_find_the_level_that_they_were_labelled_at(level: str) -> None:
    swept, subjects, threes, _ = nested()
    gold = subjects if level == "subjects" else threes
    proposal = propose_from_pairs(swept, drawn_pairs(gold, 200))
    assert f1_at(swept, proposal.value, gold) > best_f1(swept, gold) - 0.05


@pytest.mark.parametrize("way", ["groups", "pairs", "answers", "sample"])
def test_costly_false_joins_raise_the_threshold_whichever_way_it_is_found(way: str) -> None:
    swept, _, threes, vectors = nested(spread=0.6)

    def propose(cost: float) -> float:
        match way:
            case "groups":
                return propose_from_groups([swept], [threes], cost).value
            case "pairs":
                return propose_from_pairs(swept, drawn_pairs(threes, 200), cost).value
            case "answers":
                return answered(swept, threes, 40, cost=cost).proposal().value
            case _:
                return propose_intents(swept, vectors, RULES, cost).value

    cheap, costly = propose(0.2), propose(5.0)
    assert cheap <= propose(1.0) <= costly
    assert cheap < costly


def test_f_weighs_precision_by_what_a_false_join_costs() -> None:
    precise, complete = np.array([0.9]), np.array([0.5])
    assert weighted_f(precise, complete, 1.0)[0] == pytest.approx(2 * 0.9 * 0.5 / 1.4)
    assert weighted_f(precise, complete, 9.0)[0] > weighted_f(complete, precise, 9.0)[0]
    assert weighted_f(np.array([0.0]), np.array([0.0]), 1.0)[0] == 0.0


def duplicates(seed: int = 1) -> Matrix:
    """Half of the questions asked twice in nearly the same place, the others alone, all far from each other."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(300, 64))
    points[100:200] = points[:100] + 0.1 * random.normal(size=(100, 64))
    return unit_rows(points.astype(np.float32))


def test_no_sample_alone_shows_its_level_however_clearly_it_is_of_duplicates_or_of_few_subjects_seldom_asked() -> None:
    _, few = groups_and_vectors(3.0)
    for vectors in (duplicates(), few[:100], groups_and_vectors(0.7)[1], groups_and_vectors(1.2)[1]):
        guess = propose_unlabelled(sweep(vectors, RULES, grid_of(RULES)), vectors, RULES)
        assert not guess.is_known
        assert (guess.low, guess.high) == (None, None)
        assert any("--ask 40" in remark for remark in guess.remarks)
        assert not propose_threshold(vectors).is_known


def test_a_sample_that_both_levels_fit_gives_a_guess_and_a_level_makes_it_a_proposal() -> None:
    swept, _, _, vectors = nested()
    guess, proposal = propose_unlabelled(swept, vectors, RULES), propose_unlabelled(swept, vectors, RULES, "question")
    assert not guess.is_known
    assert (guess.low, guess.high) == (None, None)
    assert any("--ask 40" in remark for remark in guess.remarks)
    assert proposal.is_known
    assert proposal.value == 0.725
    assert any("how fine a question" in remark for remark in proposal.remarks)


def test_questions_are_asked_up_to_as_many_answers_and_no_more_once_these_suffice() -> None:
    swept, gold, *_ = nested()
    inquiry = Inquiry(swept)
    for most in (3, 3, 5):
        for ask in inquiry.asks(most):
            inquiry.add_answer(ask.first, ask.second, bool(gold[ask.first] == gold[ask.second]))
        assert len(inquiry.answers) == most
    for ask in inquiry.asks(10_000):
        inquiry.add_answer(ask.first, ask.second, bool(gold[ask.first] == gold[ask.second]))
    assert inquiry.is_sure
    assert list(inquiry.asks(10_000)) == []


def one_heap(heaps: int, parted: int) -> tuple[Sweep, Labels]:
    """A stream whose lower thresholds make one heap of sixty that the higher ones part into pairs, and its pairs."""
    heap = np.concatenate([np.zeros(60, np.int64), np.arange(1, 101)])
    pairs = np.concatenate([np.arange(60) // 2, np.arange(100, 200)])
    rows = np.array([heap] * heaps + [pairs] * parted)
    return Sweep(tuple(round(0.4 + 0.025 * row, 3) for row in range(len(rows))), rows, rows), pairs


def asked_of_heaps(heaps: int, parted: int) -> Inquiry:
    """After 24 answers of a mind that wants pairs together and no heap."""
    inquiry = Inquiry(one_heap(heaps, parted)[0])
    while len(inquiry.answers) < 24:
        ask = inquiry.next()
        assert ask is not None
        inquiry.add_answer(ask.first, ask.second, len(inquiry.answers) % 4 != 3 or ask.row >= heaps)
    return inquiry


def test_now_and_then_a_pair_of_the_biggest_clusters_is_asked_about_and_heaps_are_told() -> None:
    proposal = asked_of_heaps(2, 1).proposal()
    assert proposal.value < 0.45
    assert any("are not the same" in remark for remark in proposal.remarks)
    assert not any("heaps" in remark for remark in answered(nested()[0], nested()[1], 40).proposal().remarks)


def test_no_heap_is_told_of_clusters_that_the_proposed_threshold_parts() -> None:
    inquiry = asked_of_heaps(2, 4)
    assert any("heaps" in remark for remark in inquiry.proposal().remarks)
    for first, second in combinations(range(0, 60, 2), 2):
        inquiry.add_answer(first, second, False)
    proposal = inquiry.proposal()
    assert proposal.value >= 0.45
    assert not any("heaps" in remark for remark in proposal.remarks)


def test_a_pair_of_the_biggest_clusters_stands_for_all_of_them() -> None:
    """Half of a cluster that a merge made came from either side: so did half of its pairs, about."""
    joined = np.arange(200) % 2
    swept = Sweep((0.5, 0.525), np.array([joined, joined]), np.zeros((2, 200), np.int64))
    inquiry, across = Inquiry(swept), []
    for _ in range(160):
        ask = inquiry.next()
        assert ask is not None
        if len(inquiry.answers) % 4 == 3:
            across.append(joined[ask.first] != joined[ask.second])
        inquiry.add_answer(ask.first, ask.second, True)
    assert 0.3 < np.mean(across) < 0.7


def test_a_threshold_is_tried_with_the_second_look_of_workers() -> None:
    texts = [f"{how} dark mode {state}?" for how in ("Turn", "Can I turn") for state in ("on", "off")]
    rows = [[1.0, 0.1 * at] + [0.0] * 6 for at in range(len(texts))]
    far = np.eye(8, dtype=np.float32)[2:]
    vectors = unit_rows(np.concatenate([np.array(rows, np.float32), far]))
    texts += ["unlike"] * len(far)
    swept = sweep(vectors, Rules(0.7, 0.7, "cosine"), [0.7], texts=texts)
    assert swept.after[0][:4].tolist() == [0, 1, 0, 1]
    assert sweep(vectors, Rules(0.7, 0.7, "cosine"), [0.7]).after[0][:4].tolist() == [0, 0, 0, 0]


def test_a_level_limits_what_is_searched_and_needs_the_rules_that_it_was_measured_with() -> None:
    assert max(grid_of(RULES, "question")) < max(grid_of(RULES, "duplicate")) == max(grid_of(RULES))
    assert [nearest_level(threshold) for threshold in (0.55, 0.6, 0.9)] == [None, "question", "duplicate"]
    assert min(grid_of(RULES, "question")) > grid_of(RULES)[0]
    plain = Rules(0.35, 0.35, "cosine", "average")
    assert grid_of(plain)[0] < grid_of(RULES)[0]
    with pytest.raises(QuestreamError, match="centred"):
        grid_of(plain, "question")


def test_other_rules_are_calibrated_as_they_are() -> None:
    swept, _, threes, vectors = nested()
    plain = Rules(0.35, 0.35, "cosine", "average")
    own = sweep(vectors, plain, grid_of(plain))
    assert f1_at(own, propose_from_groups([own], [threes]).value, threes) == pytest.approx(best_f1(own, threes))
    assert not np.array_equal(own.after[own.at(0.6)], swept.after[swept.at(0.6)])


def test_a_merge_threshold_keeps_its_distance() -> None:
    vectors = nested()[3][:200]
    never = sweep(vectors, Rules(0.5, 2.0), [0.5, 0.6])
    merging = sweep(vectors, Rules(0.5, 0.5), [0.5, 0.6])
    assert never.after.max() > merging.after.max()
    assert np.array_equal(never.after, never.published)


@pytest.mark.parametrize(
    ("gold", "told"),
    [([1] * 120, "one gold group"), (list(range(120)), "no two questions"), ([1, 1, 2], "100 at least")],
)
def test_groups_that_cannot_tell_are_refused(gold: list[int], told: str) -> None:
    rows = np.zeros((1, len(gold)), np.int64)
    with pytest.raises(QuestreamError, match=told):
        propose_from_groups([Sweep((0.5,), rows, rows)], [np.array(gold)])


@pytest.mark.parametrize(
    ("same", "told"), [([True] * 10, "too few"), ([False] * 40, "0 pairs are labelled the same"), ([], "too few")]
)
def test_pairs_that_cannot_tell_are_refused(same: list[bool], told: str) -> None:
    with pytest.raises(QuestreamError, match=told):
        pair_stream([LabelledPair(f"a{i}", f"b{i}", one) for i, one in enumerate(same)])


def test_pairs_are_streamed_as_distinct_texts_among_the_background() -> None:
    pairs = [LabelledPair("a", f"b{i}", i % 2 == 0) for i in range(30)]
    stream = pair_stream(pairs, ["a", "c", "d"])
    assert sorted(stream.texts) == sorted({"a", "c", "d", *(f"b{i}" for i in range(30))})
    assert [(stream.texts[i], stream.texts[j]) for i, j in zip(stream.first, stream.second, strict=True)] == [
        (pair.text_a, pair.text_b) for pair in pairs
    ]


def test_of_thresholds_that_make_the_same_clusters_the_middle_one_is_proposed() -> None:
    gold = np.arange(120) // 2
    right, wrong = gold, np.zeros(120, np.int64)
    rows = np.array([wrong, right, right, right, np.arange(120)])
    proposal = propose_from_groups([Sweep((0.4, 0.425, 0.45, 0.475, 0.5), rows, rows)], [gold])
    assert proposal.value == 0.45


def test_a_preview_shows_what_is_joined_below_and_parted_above() -> None:
    rows = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 2], [0, 0, 1, 2, 3]], np.int64)
    swept = Sweep((0.5, 0.525, 0.55), rows, rows)
    lower, middle, higher = preview(swept, [f"q{i}" for i in range(5)], 0.525, 3)
    assert [cluster.size for cluster in lower.biggest] == [4]
    assert middle.parts == [("q0", "q3")]
    assert higher.parts == [("q0", "q2")]
