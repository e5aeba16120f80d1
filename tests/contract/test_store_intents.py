"""Operations that open clusters before any question comes, in every store, and that take them back."""

from __future__ import annotations

from dataclasses import replace

from questream.clustering.merging import Merge
from questream.clustering.second_look.kept import pack
from questream.domain import Exemplar, Ruling
from questream.store.protocol import Committed, OpenedCluster, ProposedOperation, Restored, Stale, Store
from tests.contract.test_store import batch, commit, create_two, join, merge, namespace, proposal, row, vector

__all__ = ["namespace"]

CARD = Ruling("card", "cards-team", exemplars=(Exemplar("a", "must", bytes(8)),), threshold=0.6)
OPENED = OpenedCluster(2, vector(1, 1, 0, 0), 40, pack(((7,),)), "where is it")


def opening(*numbers: int, number: int = 1) -> ProposedOperation:
    before, after = dict.fromkeys(numbers, Ruling()), dict.fromkeys(numbers, CARD)
    return ProposedOperation(f"op-{number}", "intents", "ann", "", before, after, opens=dict.fromkeys(numbers, OPENED))


def retiring(cluster_id: int, undoes: int = 1) -> ProposedOperation:
    rulings = {cluster_id: CARD}, {cluster_id: Ruling()}
    return ProposedOperation("back", "undo", "ann", "", *rulings, undoes, retires=frozenset([cluster_id]))


def test_an_operation_opens_clusters_that_mirrors_find_in_the_log_and_in_a_load(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    mirror = store.load(namespace)
    operation = store.operate(namespace, opening(3, 4))
    assert operation is not None
    assert (operation.number, operation.kind, operation.before) == (1, "intents", {3: Ruling(), 4: Ruling()})
    tail = store.tail(namespace, mirror.store_epoch, mirror.seq)
    assert tail.changes is not None
    mirror.apply(tail.changes)
    for one in (mirror, store.load(namespace)):
        assert (one.member_count(4), one.vector_sum(4).tolist(), one.next_id) == (2, [1, 1, 0, 0], 5)
        assert (one.exemplars(4), one.kept(4)) == (CARD.exemplars, OPENED.features)
        assert dict(one.thresholds) == {3: 0.6, 4: 0.6}
    state = store.cluster(namespace, 3)
    assert state is not None
    assert (state.size, state.ruling, state.representative, state.event) == (0, CARD, "where is it", "labelled")
    assert (state.created_at, state.last_seen_at, state.operation, state.revision) == (40, 40, 1, 1)
    assert set(store.unpublished(namespace, 0, 10)) >= {0, 3, 4}


def test_clusters_are_opened_before_the_first_question(store: Store, namespace: str) -> None:
    assert store.operate(namespace, opening(1)) is not None
    whole = store.namespace_state(namespace)
    assert whole is not None
    assert (whole.next_cluster, store.sizes(namespace).clusters, store.sizes(namespace).singletons) == (2, 1, 0)


def test_numbers_that_are_not_next_open_nothing(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    for numbers in ((2,), (4,), (4, 3)):
        assert store.operate(namespace, opening(*numbers)) is None
    assert store.operations(namespace, 10) == []
    assert store.sizes(namespace).clusters == 2


def test_a_repeated_id_opens_nothing_again(store: Store, namespace: str) -> None:
    operation = store.operate(namespace, opening(1))
    assert store.operate(namespace, opening(2)) == operation
    assert store.sizes(namespace).clusters == 1


def test_a_proposal_that_has_not_seen_the_opened_clusters_is_stale(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    assert store.operate(namespace, opening(3)) is not None
    unaware = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq)
    reply = commit(store, namespace, unaware)
    assert isinstance(reply, Stale)
    joined = proposal(join(3, 2, vector(2, 1, 0, 0)), rows=batch(row(3, 3)), seq=reply.missed.seq)
    done = commit(store, namespace, joined)
    assert isinstance(done, Committed)
    assert (done.cluster_rows[3].size, done.cluster_rows[3].label) == (1, "card")


def test_a_cluster_of_no_question_is_retired_with_what_ruled_it(store: Store, namespace: str) -> None:
    assert store.operate(namespace, opening(1, 2)) is not None
    assert store.operate(namespace, retiring(1)) is not None
    state = store.cluster(namespace, 1)
    assert state is not None
    assert (state.event, state.ruling, state.revision) == ("retired", Ruling(), 2)
    mirror = store.load(namespace)
    assert (list(mirror.row_of), dict(mirror.thresholds)) == ([2], {2: 0.6})
    assert store.sizes(namespace).clusters == 1


def test_a_cluster_with_a_question_is_not_retired(store: Store, namespace: str) -> None:
    assert store.operate(namespace, opening(1)) is not None
    seq = store.load(namespace).seq
    joined = proposal(join(1, 2, vector(2, 1, 0, 0)), rows=batch(row(1, 1)), seq=seq)
    assert isinstance(commit(store, namespace, joined), Committed)
    assert store.operate(namespace, retiring(1)) is None
    assert store.operate(namespace, replace(retiring(1), retires=frozenset())) is not None
    assert store.sizes(namespace).clusters == 1


def test_an_opened_cluster_is_put_back_from_its_state(store: Store, namespace: str) -> None:
    assert store.operate(namespace, opening(1)) is not None
    state = store.cluster(namespace, 1)
    assert state is not None
    whole = store.namespace_state(namespace)
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    assert store.restore(namespace, token, [Restored(replace(state, revision=5), publish=True)]) == 1
    store.recover(namespace, token, whole, {})
    put_back = store.cluster(namespace, 1)
    assert put_back is not None
    assert (put_back.size, put_back.ruling, put_back.features) == (0, CARD, OPENED.features)


def test_a_cluster_that_nobody_asked_stands_whole_after_it_took_one_question_in(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    store.operate(namespace, opening(3))
    seq = store.load(namespace).seq
    merged = merge(store, namespace, seq, [Merge(3, 2, 2, 1, vector(1, 2, 0, 0))])
    (applied,) = merged.applied
    survivor, loser = applied.merge.survivor, applied.merge.loser
    state = store.cluster(namespace, survivor)
    assert state is not None
    assert state.size == 1
    assert store.revisions(namespace, [survivor, loser]).keys() == {survivor, loser}
    assert store.sizes(namespace).singletons == 1
