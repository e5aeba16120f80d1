"""References to a few questions of a cluster."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from questream.clustering.kept_members import KEPT_OF_A_KIND, KeptMember, KeptMembers
from questream.domain import InFlight
from questream.recovery.restoring import _without_lost_joins
from questream.tools.kept_questions import kept_in_order
from questream.tools.members import First
from tests.unit.test_records_states import CLUSTER

members = st.builds(
    KeptMember,
    st.tuples(st.sampled_from(["questions", "q.1-2_3@00ff"]), st.integers(0, 9), st.integers(0, 2**62)),
    st.none() | st.integers(-10_000, 10_000).map(lambda number: number / 10_000),
    st.text("0123456789abcdef", max_size=8),
)


def member(offset: int, similarity: float | None) -> KeptMember:
    return KeptMember(("questions", 0, offset), similarity, "00c0ffee")


def offsets(kept: tuple[KeptMember, ...]) -> list[int]:
    return [one.place[2] for one in kept]


@given(st.lists(members, max_size=8))
def test_what_is_written_is_read(some: list[KeptMember]) -> None:
    kept = KeptMembers.of(some)
    assert KeptMembers.parse(str(kept)) == kept


@given(st.lists(members, max_size=8, unique_by=lambda one: one.place), st.integers(0, 8))
def test_one_batch_and_two_keep_the_same(some: list[KeptMember], at: int) -> None:
    whole, parts = KeptMembers.of(some), KeptMembers.of(some[:at]).joined_by(KeptMembers.of(some[at:]))
    assert parts == whole
    assert max(map(len, (whole.newest, whole.typical, whole.doubtful))) <= KEPT_OF_A_KIND


def test_the_newest_the_most_and_the_least_alike_are_kept_and_who_opened_is_neither() -> None:
    similarities = [None, 0.7, 0.9, 0.8, 0.6, 0.95]
    kept = KeptMembers.of([member(at, one) for at, one in enumerate(similarities)])
    assert (offsets(kept.newest), offsets(kept.typical), offsets(kept.doubtful)) == ([5, 4, 3], [5, 2, 3], [4, 1, 3])


@given(st.text())
def test_what_is_no_such_text_is_nothing(text: str) -> None:
    assert KeptMembers.parse(text) in (KeptMembers(), KeptMembers.parse(str(KeptMembers.parse(text))))
    assert KeptMembers.parse(f"{text} ;;x") == KeptMembers()


def test_a_question_that_is_decided_again_after_a_loss_is_kept_no_longer() -> None:
    kept = KeptMembers.of([member(7, 0.7), member(11, 0.9)])
    state = replace(CLUSTER, in_flight=InFlight({("questions", 0): (7, 11)}), kept_members=str(kept))
    restored = _without_lost_joins(state, {("questions", 0): 7}, {("questions", 0): 7})
    assert restored.state.size == state.size - 1
    assert offsets(KeptMembers.parse(restored.state.kept_members).newest) == [7]
    assert offsets(KeptMembers.parse(restored.state.kept_members).typical) == [7]


def test_what_is_kept_is_listed_in_the_order_asked_for_also_where_others_were_moved_out() -> None:
    """Of the least alike one is left, and after it the most alike came first."""
    opened, near, nearer, nearest = member(0, None), member(1, 0.8), member(2, 0.9), member(3, 1.0)
    kept = KeptMembers(newest=(nearer, opened), typical=(nearest, nearer), doubtful=(near,))
    state = replace(CLUSTER, kept_members=str(kept))
    listed = {order: offsets(tuple(kept_in_order(state, order))) for order in First}
    assert listed == {First.NEWEST: [2, 0, 3, 1], First.TYPICAL: [3, 2, 1, 0], First.DOUBTFUL: [1, 2, 3, 0]}
