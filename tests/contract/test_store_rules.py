"""The rules of a namespace, in every store: set by an operation, at one point of the log, restored with its state."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from questream.deciding.level_runs import is_due
from questream.domain import NamespaceRules, RulesChange
from questream.store.protocol import Committed, ProposedOperation, Stale, Store, Waiting
from questream.store.rules_text import level_rules_text
from tests.contract.test_store import batch, commit, create_two, join, namespace, proposal, row, vector

__all__ = ["namespace"]

FINE = NamespaceRules(threshold=0.9, max_clusters=1)


def setting(number: int, before: NamespaceRules, after: NamespaceRules, undoes: int | None = None) -> ProposedOperation:
    return ProposedOperation(f"op-{number}", "rules", "ann", "", {}, {}, undoes, rules=RulesChange(before, after))


def set_rules(store: Store, namespace: str, before: NamespaceRules, after: NamespaceRules, number: int = 1) -> None:
    assert store.operate(namespace, setting(number, before, after)) is not None


def test_rules_are_an_operation_that_a_mirror_finds_in_the_log_and_in_a_load(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    mirror = store.load(namespace)
    assert mirror.rules == NamespaceRules()
    operation = store.operate(namespace, setting(1, NamespaceRules(), FINE))
    assert operation is not None
    assert (operation.number, operation.rules) == (1, RulesChange(NamespaceRules(), FINE))
    assert store.operations(namespace, 1) == [operation]
    assert (store.rules(namespace), store.rules(namespace).operation) == (FINE, 1)
    tail = store.tail(namespace, mirror.store_epoch, mirror.seq)
    assert tail.changes is not None
    mean = mirror.mean_questions, mirror.mean_sum.tolist()
    mirror.apply(tail.changes)
    loaded = store.load(namespace)
    for one in (mirror, loaded):
        assert (one.rules, one.rules.operation) == (FINE, 1)
        assert (one.mean_questions, one.mean_sum.tolist()) == mean
    assert loaded.seq == tail.seq


def test_rules_can_be_set_before_the_first_question(store: Store, namespace: str) -> None:
    set_rules(store, namespace, NamespaceRules(), FINE)
    mirror = store.load(namespace)
    assert (mirror.rules, mirror.mean_questions, mirror.mean_sum.tolist()) == (FINE, 0, [0.0] * 4)


def test_rules_that_were_set_otherwise_meanwhile_are_not_changed(store: Store, namespace: str) -> None:
    set_rules(store, namespace, NamespaceRules(), FINE)
    assert store.operate(namespace, setting(2, NamespaceRules(), replace(FINE, threshold=0.8))) is None
    assert store.rules(namespace) == FINE
    set_rules(store, namespace, FINE, NamespaceRules(), 3)
    assert (store.rules(namespace), store.rules(namespace).operation) == (NamespaceRules(), 2)


def test_a_proposal_that_has_not_seen_the_rules_is_stale(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    set_rules(store, namespace, NamespaceRules(), FINE)
    unaware = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq)
    reply = commit(store, namespace, unaware)
    assert isinstance(reply, Stale)
    assert reply.missed.changes is not None
    assert isinstance(commit(store, namespace, replace(unaware, seq=reply.missed.seq)), Committed)


def test_the_state_of_the_namespace_has_the_rules_at_a_later_revision(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    before = store.namespace_state(namespace)
    set_rules(store, namespace, NamespaceRules(), FINE)
    after = store.namespace_state(namespace)
    assert before is not None
    assert after is not None
    assert (after.rules, after.rules.operation, after.threshold) == (FINE, 1, 0.9)
    assert after.revision > before.revision
    assert 0 in store.unpublished(namespace, 0, 10)


def test_rules_are_put_back_with_the_state_and_later_ones_stay(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    set_rules(store, namespace, NamespaceRules(), FINE)
    whole = store.namespace_state(namespace)
    assert whole is not None
    later = replace(whole, rules=NamespaceRules(linkage="average", operation=7))
    for restored, rules in ((later, later.rules), (whole, later.rules)):
        store.require_recovery(namespace)
        store.recover(namespace, store.begin_recovery(namespace), restored, {})
        assert (store.rules(namespace), store.rules(namespace).operation) == (rules, 7)
        assert store.load(namespace).rules == rules
    set_rules(store, namespace, later.rules, FINE, 2)
    assert store.rules(namespace).operation == 8


def test_what_waits_in_a_namespace_is_told_with_its_rules(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    for number, (before, rules) in enumerate(pairwise([NamespaceRules(), FINE, NamespaceRules()]), 1):
        set_rules(store, namespace, before, rules, number)
        found = store.waiting([namespace], 0, 10)[namespace]
        assert isinstance(found, Waiting)
        assert found.rules == rules


def test_levels_are_found_anew_where_people_set_other_resolutions(store: Store, namespace: str) -> None:
    def write(ruled: str) -> None:
        levels = replace(store.levels(namespace), opened=store.load(namespace).next_id - 1)
        assert store.write_levels(namespace, store.store_epoch(namespace) or "", levels, ruled)

    def is_due_now() -> bool:
        return is_due(store.levels_marks([namespace])[namespace])

    coarse = NamespaceRules(intent_resolution=4.0)
    set_rules(store, namespace, NamespaceRules(), coarse)
    assert not is_due_now()  # there are no levels yet, and hardly a cluster
    write("")
    assert is_due_now()
    assert level_rules_text(store.load(namespace).rules) == "[4.0,null]"
    write("[4.0,null]")
    assert not is_due_now()
    set_rules(store, namespace, coarse, replace(coarse, threshold=0.8), 2)
    assert not is_due_now()
    set_rules(store, namespace, replace(coarse, threshold=0.8), NamespaceRules(), 3)
    assert is_due_now()
