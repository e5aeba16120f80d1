from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.domain import LABEL_OR_ROUTE_CHARACTERS, Operation, Ruling
from questream.errors import OperationRefused, QuestreamError
from questream.operations import By, Decisions, KnownQuestion, history, merge_clusters
from questream.operations.requests import Propose
from questream.store.reference.store import MemoryStore
from questream.tools.named_questions import Named


@pytest.fixture
def store() -> MemoryStore:
    """Three clusters of 2, 1 and 1 questions."""
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    assert clusterer.assign([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]).ids == [1, 2, 3, 1]
    return store


def by(store: MemoryStore, id: str = "") -> Decisions:
    return Decisions(store, "default", By("ann", "because", id))


def label(store: MemoryStore, cluster_id: int, label: str | None, route: str | None = None) -> Operation:
    decisions = by(store)
    return decisions.commit(decisions.label(cluster_id, label, route))


def undo(store: MemoryStore, number: int, id: str = "") -> Operation:
    decisions = by(store, id)
    return decisions.commit(decisions.undo(number))


def ruling_of(store: MemoryStore, cluster_id: int) -> Ruling:
    state = store.cluster("default", cluster_id)
    assert state is not None
    return state.ruling


def test_a_label_and_its_route_are_one_decision_and_are_undone_together(store: MemoryStore) -> None:
    first = label(store, 1, "cards", "team-cards")
    assert (first.actor, first.reason, first.after) == ("ann", "because", {1: Ruling("cards", "team-cards")})
    second = label(store, 1, "card arrival")
    assert ruling_of(store, 1) == Ruling("card arrival", "team-cards")
    undo(store, second.number)
    assert ruling_of(store, 1) == Ruling("cards", "team-cards")
    undo(store, first.number)
    assert ruling_of(store, 1) == Ruling()


def test_what_was_decided_anew_is_not_undone_and_other_decisions_stay(store: MemoryStore) -> None:
    first = label(store, 1, "cards")
    decisions = by(store)
    decisions.commit(decisions.mark("pin", 1))
    second = label(store, 1, "card arrival")
    with pytest.raises(OperationRefused, match="operation 1 decided was decided anew"):
        undo(store, first.number)
    undo(store, second.number)
    undo(store, first.number)
    assert ruling_of(store, 1) == Ruling(pinned=True)


def test_an_undo_is_undone(store: MemoryStore) -> None:
    undone = undo(store, label(store, 1, "cards").number)
    undo(store, undone.number)
    assert ruling_of(store, 1) == Ruling("cards")
    assert [one.kind for one in store.operations("default", 10)] == ["undo", "undo", "label"]


def test_an_operation_is_undone_once_and_its_id_may_be_said_again(store: MemoryStore) -> None:
    label(store, 1, "cards")
    undone = undo(store, 1, "mine")
    assert undo(store, 1, "mine") == undone
    with pytest.raises(OperationRefused, match="was undone by operation 2"):
        undo(store, 1)
    with pytest.raises(OperationRefused, match="no operation 9"):
        undo(store, 9)


def test_an_id_that_named_another_operation_is_refused(store: MemoryStore) -> None:
    decisions = by(store, "mine")
    pinned = decisions.commit(decisions.mark("pin", 1))
    assert decisions.commit(decisions.mark("pin", 1)) == pinned
    with pytest.raises(OperationRefused, match="the id of this operation is that of operation 1"):
        decisions.commit(decisions.mark("unpin", 1))


REQUESTS: dict[str, tuple[Callable[[Decisions], Propose], Callable[[Decisions], Propose]]] = {
    "label": (lambda by: by.label(1, "cards", None), lambda by: by.label(2, "cards", None)),
    "another label": (lambda by: by.label(1, "cards", None), lambda by: by.label(1, "lost cards", None)),
    "a route beside it": (lambda by: by.label(1, "cards", None), lambda by: by.label(1, "cards", "desk")),
    "many labels": (lambda by: by.label_all({1: ("a", None)}), lambda by: by.label_all({2: ("a", None)})),
    "pin": (lambda by: by.mark("pin", 1), lambda by: by.mark("pin", 2)),
    "mute": (lambda by: by.mark("mute", 1), lambda by: by.mark("mute", 2)),
    "represent": (lambda by: by.represent(1, "a card"), lambda by: by.represent(1, "a lost card")),
    "forget": (lambda by: by.forget(1), lambda by: by.forget(2)),
    "separate": (lambda by: by.separate(1, 2), lambda by: by.separate(1, 3)),
    "merge": (lambda by: by.merge(1, 2), lambda by: by.merge(1, 3)),
    "rules": (lambda by: by.rules({"threshold": 0.5}), lambda by: by.rules({"threshold": 0.6})),
    "reject": (lambda by: by.reject([asked_about(1, 5)]), lambda by: by.reject([asked_about(1, 6)])),
    "move": (lambda by: by.move([asked_about(1, 5)], 2), lambda by: by.move([asked_about(1, 5)], 3)),
    "split": (lambda by: by.split(1, [asked_about(1, 5)]), lambda by: by.split(1, [asked_about(1, 6)])),
}


def asked_about(cluster_id: int, offset: int) -> KnownQuestion:
    vector = np.eye(3, dtype=np.float32)[cluster_id - 1]
    return KnownQuestion(cluster_id, vector, ("questions", 0, offset), question_id=f"q{offset}")


@pytest.mark.parametrize(("first", "other"), REQUESTS.values(), ids=REQUESTS)
def test_an_id_that_is_said_again_does_nothing_twice_and_nothing_else(
    store: MemoryStore, first: Callable[[Decisions], Propose], other: Callable[[Decisions], Propose]
) -> None:
    decisions = by(store, "mine")
    done = decisions.commit(first(decisions))
    assert decisions.commit(first(by(store, "mine"))) == done
    assert decisions.preview(first(decisions)).after == {}
    for ask in (decisions.commit, decisions.preview):
        with pytest.raises(OperationRefused, match="the id of this operation is that of operation 1"):
            ask(other(decisions))
    assert store.operations("default", 10) == [done]


NAMED = {
    "reject": (Named("reject", ("q5",)), Named("reject", ("q6",))),
    "reject texts": (Named("reject", texts=("where is my card",)), Named("reject", texts=("where is my pin",))),
    "move": (Named("move", ("q5",), target_id=2), Named("move", ("q5",), target_id=3)),
    "split": (Named("split", ("q5",), cluster_id=1), Named("split", ("q5",), cluster_id=1, nearer=True)),
    "the part that was proposed": (Named("split", cluster_id=1), Named("split", cluster_id=2)),
    "questions of one kind of decision": (Named("reject", ("q5",)), Named("split", ("q5",))),
}


@pytest.mark.parametrize(("named", "other"), NAMED.values(), ids=NAMED)
def test_an_id_that_is_said_again_answers_before_its_questions_are_looked_up(
    store: MemoryStore, named: Named, other: Named
) -> None:
    looked_up: list[str] = []

    def find() -> list[KnownQuestion]:
        looked_up.append("once")
        return [asked_about(1, 5)]

    def gone() -> list[KnownQuestion]:
        raise QuestreamError("a text would join no cluster now")

    decisions = by(store, "mine")
    assert decisions.preview(named.proposed(decisions, find)).after
    looked_up.clear()
    done = decisions.commit(named.proposed(decisions, find))
    assert looked_up == ["once"]
    assert decisions.commit(named.proposed(by(store, "mine"), gone)) == done
    assert decisions.preview(named.proposed(decisions, gone)).after == {}
    with pytest.raises(OperationRefused, match="give it another one"):
        decisions.commit(other.proposed(decisions, gone))


def test_what_names_questions_shows_no_text_of_one() -> None:
    assert "card" not in repr(Named("reject", texts=("where is my card",)))


def test_an_id_that_an_earlier_release_committed_answers_what_it_did(store: MemoryStore) -> None:
    decisions = by(store, "mine")
    done = decisions.commit(Propose(None, decisions.mark("pin", 1).look))
    assert done.asked is None
    assert decisions.commit(decisions.mark("pin", 1)) == done
    with pytest.raises(OperationRefused, match="the id of this operation is that of operation 1"):
        decisions.commit(decisions.mark("unpin", 1))


def test_separated_clusters_are_not_merged_by_anybody_until_that_is_undone(store: MemoryStore) -> None:
    decisions = by(store)
    separated = decisions.commit(decisions.separate(1, 2))
    # What inherits the separation is as separate.
    assert merge_clusters(store, "default", 2, 3).survivor == 2
    with pytest.raises(OperationRefused, match="were separated"):
        merge_clusters(store, "default", 1, 3)
    undo(store, separated.number)
    assert ruling_of(store, 1) == ruling_of(store, 2) == Ruling()
    assert merge_clusters(store, "default", 1, 3).survivor == 1


def test_a_decision_follows_what_a_cluster_has_become(store: MemoryStore) -> None:
    named = label(store, 2, "cards")
    merge_clusters(store, "default", 2, 3)
    decisions = by(store)
    decisions.commit(decisions.mark("pin", 3))
    assert ruling_of(store, 2) == Ruling("cards", pinned=True)
    merge_clusters(store, "default", 1, 2)
    undo(store, named.number)
    assert ruling_of(store, 2) == Ruling(pinned=True)
    with pytest.raises(OperationRefused, match="one cluster"):
        decisions.commit(decisions.separate(1, 2))


def test_a_preview_changes_nothing(store: MemoryStore) -> None:
    decisions = by(store)
    proposed = decisions.preview(decisions.label(1, "cards", None))
    assert (proposed.before, proposed.after) == ({1: Ruling()}, {1: Ruling("cards")})
    assert store.operations("default", 10) == []


def test_a_cluster_that_is_not_there_and_texts_that_are_too_long_are_refused(store: MemoryStore) -> None:
    with pytest.raises(KeyError):
        label(store, 9, "cards")
    with pytest.raises(OperationRefused, match="the reason of an operation has 2,000 characters at most"):
        By("ann", "x" * 2001)


def test_history_of_some_clusters_is_what_changed_them(store: MemoryStore) -> None:
    for cluster_id in (1, 2, 1):
        label(store, cluster_id, f"label {cluster_id}")
    found = history(store.operations("default", 10), [1])
    assert [one.number for one in found] == [3, 1]


def test_one_person_decides_many_things_each_with_an_id(store: MemoryStore) -> None:
    decisions = by(store)
    made = [
        decisions.commit(propose) for propose in (decisions.mark("pin", 1), decisions.separate(1, 2), decisions.undo(1))
    ]
    assert len({operation.id for operation in made}) == 3
    assert not ruling_of(store, 1).pinned


def test_a_resolved_cluster_returns_with_the_next_question_and_may_be_reopened(store: MemoryStore) -> None:
    decisions = by(store)
    resolved = decisions.commit(decisions.mark("resolve", 1))
    decisions.commit(decisions.mark("mute", 1))

    def stands() -> tuple[str, bool]:
        (state,) = store.states("default", [1])
        return state.status, state.ruling.muted

    assert stands() == ("resolved", True)
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    clusterer.assign([[1, 0, 0]])
    assert stands() == ("returned", True)
    undo(store, resolved.number)
    assert stands() == ("open", True)
    decisions.commit(decisions.mark("resolve", 1))
    assert stands() == ("resolved", True)
    decisions.commit(decisions.mark("reopen", 1))
    decisions.commit(decisions.mark("unmute", 1))
    assert stands() == ("open", False)
    assert [one.kind for one in store.operations("default", 3)] == ["unmute", "reopen", "resolve"]


def test_a_merge_is_undone_and_done_again(store: MemoryStore) -> None:
    label(store, 1, "card arrival")
    decisions = by(store)
    decisions.commit(decisions.label(2, "card delivery", "cards-team"))
    before = {i: store.cluster("default", i) for i in (1, 2)}
    merged = decisions.commit(decisions.merge(1, 2, keep=2))
    undone = decisions.commit(decisions.undo(merged.number))
    assert (undone.kind, undone.undoes, undone.parted) == ("undo", merged.number, 2)
    for i, state in before.items():
        now = store.cluster("default", i)
        assert now is not None
        assert state is not None
        assert (now.label, now.route, now.size, now.members) == (state.label, state.route, state.size, state.members)
        np.testing.assert_array_equal(now.vector_sum, state.vector_sum)
    # Nobody merges them but who takes that back.
    with pytest.raises(OperationRefused, match="were separated"):
        decisions.commit(decisions.merge(1, 2, keep=2))
    with pytest.raises(OperationRefused, match=f"undone by operation {undone.number}"):
        undo(store, merged.number)
    label(store, 2, "card arrival")
    decisions.commit(decisions.label(2, None, ""))
    again = decisions.commit(decisions.undo(undone.number))
    assert (again.survivor, again.undoes) == (1, undone.number)
    assert ruling_of(store, 2) == Ruling("card arrival")


def test_a_cluster_that_was_merged_into_a_merged_one_parts_from_what_that_became(store: MemoryStore) -> None:
    decisions = by(store, "mine")
    first = merge_clusters(store, "default", 2, 3)
    merge_clusters(store, "default", 1, 2)
    parted = decisions.commit(decisions.unmerge(3))
    assert decisions.commit(decisions.unmerge(3)) == parted
    assert parted.undoes == first.number
    states = {state.cluster_id: (state.size, state.members) for state in store.clusters("default")}
    assert states == {1: (3, 3), 3: (1, 1)}
    with pytest.raises(OperationRefused, match="is not merged"):
        by(store).preview(by(store).unmerge(1))


def test_what_was_decided_since_a_merge_stays_when_it_is_undone(store: MemoryStore) -> None:
    label(store, 2, "cards")
    decisions = by(store)
    merged = decisions.commit(decisions.merge(1, 2))
    decisions.commit(decisions.label(1, "all cards", None))
    decisions.commit(decisions.mark("pin", 1))
    undo(store, merged.number)
    kept = {i: replace(ruling_of(store, i), separations=()) for i in (1, 2)}
    survivor, other = (merged.survivor or 0), 3 - (merged.survivor or 0)
    assert kept == {survivor: Ruling("all cards", pinned=True), other: replace(merged.before[other], separations=())}


def shown(store: MemoryStore, cluster_id: int) -> str | None:
    state = store.cluster("default", cluster_id)
    assert state is not None
    return state.representative


def represent(store: MemoryStore, cluster_id: int, text: str, of: int | None = None) -> Operation:
    decisions = by(store)
    return decisions.commit(decisions.represent(cluster_id, text, of=of))


def test_the_question_that_stood_for_a_cluster_before_stands_for_it_again_once_that_is_undone(
    store: MemoryStore,
) -> None:
    first = represent(store, 1, "Where is my card?")
    second = represent(store, 1, "When does it come?")
    with pytest.raises(OperationRefused, match="operation 1 decided was decided anew"):
        undo(store, first.number)
    undo(store, second.number)
    assert shown(store, 1) == "Where is my card?"
    undo(store, first.number)
    assert (shown(store, 1), ruling_of(store, 1)) == (None, Ruling())


def test_a_question_of_another_cluster_stands_for_none(store: MemoryStore) -> None:
    with pytest.raises(OperationRefused, match="the question is in c2"):
        represent(store, 1, "Where is my card?", of=2)
    merge_clusters(store, "default", 1, 2)
    represent(store, 1, "Where is my card?", of=2)
    assert shown(store, 1) == "Where is my card?"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_stands_for_no_cluster(store: MemoryStore, text: str) -> None:
    with pytest.raises(OperationRefused, match="empty"):
        represent(store, 1, text)
    assert store.operations("default", 1) == []


def test_what_stood_for_a_merged_cluster_goes_back_with_it(store: MemoryStore) -> None:
    represent(store, 2, "Where is my card?")
    merged = merge_clusters(store, "default", 1, 2)
    assert (merged.survivor, shown(store, 1)) == (1, "Where is my card?")
    undone = undo(store, merged.number)
    assert (shown(store, 1), shown(store, 2)) == (None, "Where is my card?")
    undo(store, undone.number)
    assert shown(store, 1) == "Where is my card?"
    represent(store, 1, "When does it come?")
    parted = by(store)
    parted.commit(parted.unmerge(2))
    assert (shown(store, 1), shown(store, 2)) == ("When does it come?", "Where is my card?")


def test_a_merge_whose_remains_are_gone_is_not_undone() -> None:
    store = MemoryStore(undo_seconds=0)
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    clusterer.assign([[1, 0, 0], [0, 1, 0]])
    merged = merge_clusters(store, "default", 1, 2)
    with pytest.raises(OperationRefused, match="not kept any longer"):
        undo(store, merged.number)


def test_who_keeps_a_decision_in_a_merge_keeps_it_whole(store: MemoryStore) -> None:
    label(store, 1, "card arrival")
    decisions = by(store)
    decisions.commit(decisions.label(2, "card delivery", "cards-team"))
    with pytest.raises(OperationRefused, match="of neither of the two"):
        decisions.commit(decisions.merge(1, 2, keep=3))
    merged = decisions.commit(decisions.merge(1, 2, keep=2))
    assert merged.survivor == 1
    assert ruling_of(store, 2) == Ruling("card delivery", "cards-team")


def test_a_merge_that_is_said_again_answers_what_it_did(store: MemoryStore) -> None:
    decisions = by(store, "mine")
    merged = decisions.commit(decisions.merge(1, 2))
    assert decisions.commit(decisions.merge(1, 2)) == merged
    with pytest.raises(ValueError, match="one cluster already"):
        by(store).preview(by(store).merge(1, 2))


LONGEST = "x" * LABEL_OR_ROUTE_CHARACTERS


@pytest.mark.parametrize(
    "ask",
    [
        lambda by, name: by.label(1, name, None),
        lambda by, name: by.label(1, None, name),
        lambda by, name: by.label_all({1: (name, None), 2: (None, name)}),
    ],
    ids=["a label", "a route", "many"],
)
def test_a_label_or_a_route_that_every_decision_would_carry_is_short(
    store: MemoryStore, ask: Callable[[Decisions, str], Propose]
) -> None:
    decisions = by(store)
    with pytest.raises(OperationRefused, match="a label or a route has 256 characters at most"):
        decisions.commit(ask(decisions, LONGEST + "x"))
    assert decisions.commit(ask(decisions, LONGEST)).number == 1


def test_a_cluster_is_not_separated_without_end(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("questream.operations.decisions._MOST_SEPARATIONS", 2)
    decisions = by(store)
    for _ in range(2):
        decisions.commit(decisions.separate(1, 2))
    with pytest.raises(OperationRefused, match="a cluster is separated 2 times at most"):
        decisions.commit(decisions.separate(1, 3))
