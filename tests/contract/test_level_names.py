"""Labels and routes of intents and topics, in every store: an operation that decisions inherit, kept over a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.domain import LevelsChange, NamespaceRules
from questream.errors import OperationRefused
from questream.operations import By, Decisions
from questream.operations.decisions import history_of_levels
from questream.store.ledger import decide
from questream.store.protocol import Committed, Store, StoredLevels
from tests.contract.test_levels import FOUND, INTENT, TOPIC, epoch, namespace, restored, waits
from tests.contract.test_store import IDENTITY, batch, commit, create_two, join, proposal, recover, row, vector
from tests.contract.test_store_rules import FINE, set_rules

__all__ = ["namespace"]

CARDS = ("cards", "card-team")


@pytest.fixture
def decisions(store: Store, namespace: str) -> Decisions:
    """Of a namespace with two clusters: c1 in i5, and both in t2."""
    create_two(store, namespace)
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    return Decisions(store, namespace, By("ann", "a reason"))


def test_a_name_of_an_intent_is_an_operation_that_is_published_and_undone(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    before = store.levels(namespace)
    store.confirm_levels(namespace, before.version)
    assert not waits(store, namespace)
    first = decisions.commit(decisions.label_level("i5", *CARDS))
    assert (first.number, first.levels) == (1, LevelsChange({"i5": (None, None)}, {"i5": CARDS}))
    assert waits(store, namespace)
    found = store.levels(namespace)
    assert found == replace(before, version=found.version, named={INTENT: CARDS}, operation=1)
    assert found.version > before.version
    second = decisions.commit(decisions.label_level("t2", "money", None))
    third = decisions.commit(decisions.label_level("i5", None, ""))
    assert store.levels(namespace).named == {INTENT: ("cards", None), TOPIC: ("money", None)}
    assert store.operations(namespace, 9) == [third, second, first]
    assert history_of_levels(store.operations(namespace, 9), ["i5"]) == [third, first]
    with pytest.raises(OperationRefused, match="was decided anew since"):
        decisions.commit(decisions.undo(first.number))
    decisions.commit(decisions.undo(third.number))
    decisions.commit(decisions.undo(first.number))
    assert store.levels(namespace).named == {TOPIC: ("money", None)}
    assert store.levels(namespace).operation == 5


def test_an_operation_on_a_cluster_has_the_number_after(store: Store, namespace: str, decisions: Decisions) -> None:
    decisions.commit(decisions.label_level("i5", *CARDS))
    assert decisions.commit(decisions.mark("pin", 1)).number == 2
    assert decisions.commit(decisions.label_level("i5", None, "other")).number == 3


def test_a_name_that_levels_were_found_anew_meanwhile_is_proposed_again(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    proposed = decisions.preview(decisions.label_level("i5", *CARDS))
    assert store.write_levels(namespace, epoch(store, namespace), store.levels(namespace))
    assert store.operate(namespace, proposed) is None
    named = decisions.commit(decisions.label_level("i5", *CARDS))
    assert not store.write_levels(
        namespace, epoch(store, namespace), proposed.levels.stored if proposed.levels else FOUND
    )
    assert store.levels(namespace).operation == named.number


@pytest.mark.parametrize(("name", "became"), [("i3", INTENT), ("i5", INTENT)])
def test_an_intent_that_ended_is_named_as_what_it_became(
    store: Store, namespace: str, decisions: Decisions, name: str, became: Node
) -> None:
    decisions.commit(decisions.label_level(name, *CARDS))
    assert store.levels(namespace).named == {became: CARDS}


@pytest.mark.parametrize("name", ["i4", "i77", "t5"])
def test_what_is_not_there_any_more_is_not_named(decisions: Decisions, name: str) -> None:
    with pytest.raises(OperationRefused, match="questream clusters list --level"):
        decisions.commit(decisions.label_level(name, *CARDS))


@pytest.mark.parametrize("name", ["c1", "i0", "x"])
def test_another_id_is_no_level(decisions: Decisions, name: str) -> None:
    with pytest.raises(ValueError, match=r"positive number|an intent is i"):
        decisions.commit(decisions.label_level(name, *CARDS))


def test_published_names_come_back_and_those_of_a_release_before_keep_them(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    decisions.commit(decisions.label_level("i5", *CARDS))
    published = store.levels(namespace)
    # As a release before names publishes levels: the names that stand here are later.
    assert restored(store, namespace, replace(published, named={}, operation=0))
    assert store.levels(namespace) == published
    later = replace(published, version=published.version + 7, named={TOPIC: CARDS}, operation=3)
    assert restored(store, namespace, later)
    assert store.levels(namespace) == later
    assert not waits(store, namespace)
    assert Decisions(store, namespace, By("ann")).commit(decisions.mark("pin", 1)).number == 4


def test_levels_that_were_renamed_after_they_were_published_wait(store: Store, namespace: str) -> None:
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    assert store.restore_levels(namespace, token, replace(FOUND, version=10, named={INTENT: CARDS}, operation=1), 9)
    assert not store.restore_levels(namespace, token, StoredLevels(), 0)
    store.recover(namespace, token, None, {})
    assert waits(store, namespace)
    assert store.levels(namespace).version == 10


def test_a_decision_inherits_what_its_cluster_lacks_and_is_recorded_so(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    decisions.commit(decisions.label(1, "mine", None))
    seq = store.load(namespace).seq
    rows = [replace(row(3, 1), inherited=CARDS), replace(row(4, 2), inherited=CARDS)]
    proposed = proposal(join(1, 2, vector(3, 0, 0, 0)), join(2, 1, vector(0, 2, 0, 0)), rows=batch(*rows), seq=seq)
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    recorded = store.ledger(namespace, "questions", 0).decisions
    for one in rows:
        assert recorded[one.offset] == decide(one, reply.cluster_rows[one.cluster_id or 0], 1, proposed)
    assert [(recorded[at].label, recorded[at].route) for at in (3, 4)] == [("mine", "card-team"), CARDS]


def test_the_nearest_name_wins_field_by_field() -> None:
    levels = Levels({leaf(1): INTENT, INTENT: TOPIC, leaf(2): TOPIC}, (6, 3))
    stored = StoredLevels(levels, 2, named={INTENT: ("cards", None), TOPIC: ("money", "bank")}, operation=2)
    assert [stored.naming(levels.path(number)) for number in (1, 2, 3)] == [
        ("cards", "bank"),
        ("money", "bank"),
        (None, None),
    ]


def test_the_number_of_an_operation_that_named_a_level_is_not_given_again(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    assert restored(store, namespace, replace(FOUND, version=10, named={INTENT: CARDS}, operation=3))
    token = store.hold(namespace, epoch(store, namespace), 60)
    assert token is not None
    assert store.delete(namespace, token)
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    set_rules(store, namespace, NamespaceRules(), FINE, 1)
    assert store.operations(namespace, 1)[0].number == 4
