"""The texts of a cluster are erased in every store: its own, those of what it absorbed, and those in the history."""

from __future__ import annotations

from dataclasses import replace

from questream.clustering.merging import Merge
from questream.domain import ChosenQuestion, Exemplar, Operation, Ruling
from questream.store.protocol import Committed, ProposedOperation, Store
from questream.store.protocol.names import MadeName
from questream.store.retention import Retention
from tests.contract.test_store import batch as rows_of
from tests.contract.test_store import (
    commit,
    create_third,
    create_two,
    join,
    merge,
    merge_one_and_two,
    namespace,
    row,
    vector,
)
from tests.contract.test_store import proposal as proposal_of

__all__ = ["namespace"]

CHOSEN = ChosenQuestion("0a-00", "When does my card come?", ("questions", 0, 7))
TOLD = Exemplar("0b-00", "cannot", bytes(8), ("questions", 0, 8), "Where is my lost card?")


def ruling_of(store: Store, namespace: str, cluster_id: int) -> Ruling:
    (state,) = store.states(namespace, [cluster_id])
    return state.ruling


def ruled(store: Store, namespace: str, number: int, cluster_id: int, after: Ruling) -> None:
    before = ruling_of(store, namespace, cluster_id)
    proposed = ProposedOperation(f"op-{number}", "represent", "ann", "", {cluster_id: before}, {cluster_id: after})
    assert store.operate(namespace, proposed) is not None


def forgetting(store: Store, namespace: str) -> ProposedOperation:
    before = ruling_of(store, namespace, 1)
    after = replace(before.without_texts(), represented_by=None)
    forgets = store.forgetting(namespace, 1)
    return ProposedOperation("forget-1", "forget", "ann", "", {1: before}, {1: after}, forgets=forgets)


def filled(store: Store, namespace: str) -> None:
    """Cluster 1 with texts of all kinds, which has absorbed 2."""
    create_two(store, namespace)
    ruled(store, namespace, 1, 2, Ruling(represented_by=replace(CHOSEN, name="0c-00", text="Is it lost?")))
    ruled(store, namespace, 2, 1, Ruling(represented_by=replace(CHOSEN, name="0d-00")))
    ruled(store, namespace, 3, 1, Ruling("cards", pinned=True, exemplars=(TOLD,), represented_by=CHOSEN))
    proposed = replace(merge_one_and_two(store, namespace), by_operator=True)
    assert merge(store, namespace, store.load(namespace).seq, [proposed]).applied
    epoch = store.store_epoch(namespace)
    assert epoch is not None
    store.write_names(namespace, epoch, {1: MadeName("lost cards", "m", 1, 3, "")})


def texts_of(operation: Operation) -> set[str | None]:
    rulings = [*operation.before.values(), *operation.after.values()]
    told = {one.represented_by.text for one in rulings if one.represented_by is not None}
    return told | {one.text for ruling in rulings for one in ruling.exemplars}


def test_no_text_is_left_of_a_cluster_and_it_decides_on(store: Store, namespace: str) -> None:
    filled(store, namespace)
    mirror = store.load(namespace)
    stood = {state.cluster_id: state for state in store.states(namespace, [1, 2])}
    proposed = forgetting(store, namespace)
    assert proposed.forgets is not None
    assert proposed.forgets.aliases == (2,)
    operation = store.operate(namespace, proposed)
    assert operation is not None
    cluster, alias = store.states(namespace, [1, 2])
    for state in (cluster, alias):
        assert (state.representative, state.ruling.represented_by, state.own_representative) == (None, None, None)
        assert state.revision == stood[state.cluster_id].revision + 1
    assert (cluster.label, cluster.ruling.pinned, cluster.kept_members) == ("cards", True, "")
    assert (cluster.size, alias.merged_into) == (stood[1].size, 1)
    assert cluster.ruling.exemplars == (replace(TOLD, text=None),)
    assert {1, 2} <= set(store.unpublished(namespace, 0, 10))
    assert store.made_names(namespace) == {}
    for one in store.operations(namespace, 10):
        assert texts_of(one) <= {None}, one.number
    # Entries of the log had texts, too: whoever has not seen it begins anew.
    assert store.tail(namespace, mirror.store_epoch, mirror.seq - 1).changes is None
    assert store.load(namespace).exemplars(1) == (replace(TOLD, text=None),)
    seq = store.load(namespace).seq
    joined = proposal_of(join(1, 3, vector(3, 1, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    committed = commit(store, namespace, joined)
    assert isinstance(committed, Committed)
    assert committed.cluster_rows[1].representative is None


def test_what_was_absorbed_meanwhile_is_not_left_out(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    proposed = forgetting(store, namespace)
    assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    assert store.operate(namespace, proposed) is None
    assert store.operate(namespace, forgetting(store, namespace)) is not None


def test_an_alias_that_has_gone_meanwhile_is_not_written_to(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, create_two(store, namespace).seq)
    seq = merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).seq
    proposed = forgetting(store, namespace)
    store.retire(namespace, Retention(alias_seconds=0), 10)
    # As many aliases as before.
    assert merge(store, namespace, seq, [Merge(1, 3, 3, 1, vector(2, 1, 1, 0))]).applied
    assert store.operate(namespace, proposed) is None
    assert store.operate(namespace, forgetting(store, namespace)) is not None


def test_what_was_absorbed_while_an_alias_of_another_went_is_not_left_out(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, create_two(store, namespace).seq)
    seq = merge(store, namespace, seq, [Merge(2, 3, 1, 1, vector(1, 1, 1, 0))]).seq
    proposed = forgetting(store, namespace)
    assert store.retire(namespace, Retention(alias_seconds=0), 10).count == 1
    # As many aliases as before.
    assert merge(store, namespace, seq, [Merge(1, 2, 2, 2, vector(2, 1, 1, 0))]).applied
    assert store.operate(namespace, proposed) is None
    assert store.operate(namespace, forgetting(store, namespace)) is not None
    (alias,) = store.states(namespace, [2])
    assert alias.representative is None


def test_texts_of_other_clusters_stay(store: Store, namespace: str) -> None:
    create_third(store, namespace, create_two(store, namespace).seq)
    ruled(store, namespace, 1, 2, Ruling(represented_by=CHOSEN))
    assert store.operate(namespace, forgetting(store, namespace)) is not None
    (state,) = store.states(namespace, [2])
    assert state.representative == CHOSEN.text
    kept = store.operation(namespace, 1)
    assert kept is not None
    assert CHOSEN.text in texts_of(kept)
