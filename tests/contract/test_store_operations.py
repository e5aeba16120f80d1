"""What people decide, in every store: numbered, all or nothing, kept, and binding for merges that nobody asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from questream.clustering.constraints import pack_vector
from questream.clustering.merging import Merge
from questream.domain import EXEMPLARS_KEPT, ChosenQuestion, ClusterState, Exemplar, OperationKind, Ruling, Vector
from questream.errors import Contended, RecoveryNeeded
from questream.store.ledger import decide
from questream.store.protocol import (
    OPERATIONS_KEPT,
    ClusterUpdate,
    Committed,
    OperationClaim,
    Part,
    ProposedOperation,
    Replayed,
    Restored,
    Stale,
    Store,
    StoredLevels,
    Waiting,
)
from questream.store.retention import Retention
from tests.contract.test_store import (
    IDENTITY,
    commit,
    create_third,
    create_two,
    join,
    merge,
    merge_one_and_two,
    namespace,
    proposal,
    row,
    vector,
)
from tests.contract.test_store import batch as rows_of

__all__ = ["namespace"]

PINNED = Ruling(pinned=True)


def proposed(
    number: int, kind: OperationKind, before: Ruling, after: Ruling, *, cluster_id: int = 1, undoes: int | None = None
) -> ProposedOperation:
    rulings = ({cluster_id: before}, {cluster_id: after})
    return ProposedOperation(f"op-{number}", kind, "ann@example.com", "a reason", *rulings, undoes)


def pin(store: Store, namespace: str, cluster_id: int, number: int = 1) -> None:
    assert store.operate(namespace, proposed(number, "pin", Ruling(), PINNED, cluster_id=cluster_id)) is not None


def ruling_of(store: Store, namespace: str, cluster_id: int) -> Ruling:
    state = store.cluster(namespace, cluster_id)
    assert state is not None
    return state.ruling


def test_an_operation_is_numbered_and_kept_with_what_stood_before_and_after(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    named = Ruling("lost card", "team-cards")
    first = store.operate(namespace, proposed(1, "label", Ruling(), named))
    assert first is not None
    assert (first.number, first.kind, first.actor, first.reason) == (1, "label", "ann@example.com", "a reason")
    assert (first.before, first.after) == ({1: Ruling()}, {1: named})
    assert ruling_of(store, namespace, 1) == named
    second = store.operate(namespace, proposed(2, "pin", named, replace(named, pinned=True)))
    assert second is not None
    assert store.operations(namespace, 10) == [second, first]
    assert store.operations(namespace, 1) == [second]
    assert store.operation(namespace, 1) == first
    assert store.operation(namespace, 3) is None


def test_a_ruled_cluster_waits_to_be_published_at_a_later_revision(store: Store, namespace: str) -> None:
    revision = create_two(store, namespace).cluster_rows[1].revision
    pin(store, namespace, 1)
    state = store.cluster(namespace, 1)
    assert state is not None
    assert (state.revision, state.operation, state.event) == (revision + 1, 1, "updated")
    assert 1 in store.unpublished(namespace, 0, 10)


def test_a_repeated_id_answers_what_it_did_and_does_nothing(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    operation = store.operate(namespace, proposed(1, "pin", Ruling(), PINNED))
    assert store.operate(namespace, proposed(1, "unpin", PINNED, Ruling())) == operation
    assert ruling_of(store, namespace, 1) == PINNED


@pytest.mark.parametrize(
    "before",
    [
        PINNED,
        Ruling("lost card"),
        Ruling(route="team-cards"),
        Ruling(separations=("ab+",)),
        Ruling(exemplars=(Exemplar("a", "cannot", bytes(8)),)),
    ],
    ids=str,
)
def test_an_operation_on_a_cluster_that_is_ruled_otherwise_changes_nothing(
    store: Store, namespace: str, before: Ruling
) -> None:
    create_two(store, namespace)
    assert store.operate(namespace, proposed(1, "label", before, Ruling("x"))) is None
    assert store.operate(namespace, proposed(1, "label", Ruling(), Ruling("x"), cluster_id=7)) is None
    assert ruling_of(store, namespace, 1) == Ruling()
    assert store.operations(namespace, 10) == []


def test_an_operation_on_two_clusters_happens_to_both_or_to_none(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    ends = {1: Ruling(separations=("ab+",)), 2: Ruling(separations=("ab-",))}
    one = ProposedOperation("op-1", "separate", "ann", "", {1: Ruling(), 2: PINNED}, ends)
    assert store.operate(namespace, one) is None
    assert ruling_of(store, namespace, 1) == Ruling()
    assert store.operate(namespace, replace(one, before={1: Ruling(), 2: Ruling()})) is not None
    assert {i: ruling_of(store, namespace, i) for i in (1, 2)} == ends


def test_questions_that_join_do_not_stand_in_the_way_and_leave_the_ruling(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    pin(store, namespace, 1)
    joined = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    reply = commit(store, namespace, joined)
    assert reply.cluster_rows[1].ruling == PINNED  # type: ignore[union-attr]  # it is committed
    assert ruling_of(store, namespace, 1) == PINNED
    assert store.operate(namespace, proposed(2, "unpin", PINNED, Ruling())) is not None


def test_an_operation_is_undone_once(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    undone = store.operate(namespace, proposed(2, "undo", PINNED, Ruling(), undoes=1))
    assert undone is not None
    assert undone.undoes == 1
    assert ruling_of(store, namespace, 1) == Ruling()
    first = store.operation(namespace, 1)
    assert first is not None
    assert first.undone_by == 2
    assert store.operate(namespace, proposed(3, "undo", Ruling(), PINNED, undoes=1)) is None


@pytest.mark.parametrize("pinned", [1, 2])
def test_a_pinned_cluster_merges_only_by_an_operator(store: Store, namespace: str, pinned: int) -> None:
    seq = create_two(store, namespace).seq
    pin(store, namespace, pinned)
    proposed_merge = merge_one_and_two(store, namespace)
    reply = merge(store, namespace, seq, [proposed_merge])
    assert (reply.applied, len(reply.apart)) == ([], 1)
    (applied,) = merge(store, namespace, seq, [replace(proposed_merge, by_operator=True)]).applied
    assert applied.survivor.ruling == PINNED
    assert ruling_of(store, namespace, 1) == PINNED


@pytest.mark.parametrize("by_operator", [False, True])
def test_separated_clusters_never_merge_nor_what_they_become(store: Store, namespace: str, by_operator: bool) -> None:
    seq = create_third(store, namespace, create_two(store, namespace).seq, joins=3)
    ends = {1: Ruling(separations=("ab+",)), 2: Ruling(separations=("ab-",))}
    separate = ProposedOperation("op-1", "separate", "ann", "", {1: Ruling(), 2: Ruling()}, ends)
    assert store.operate(namespace, separate) is not None
    apart = replace(merge_one_and_two(store, namespace), by_operator=by_operator)
    assert len(merge(store, namespace, seq, [apart]).apart) == 1
    # The third is the larger one, and inherits what binds the first.
    (applied,) = merge(store, namespace, seq, [Merge(1, 3, 2, 3, vector(5, 0, 0, 0))]).applied
    assert (applied.survivor.cluster_id, applied.survivor.operation) == (3, 1)
    assert ruling_of(store, namespace, 3) == ends[1]
    heirs = Merge(2, 3, 1, 5, vector(5, 1, 0, 0), by_operator=by_operator)
    assert len(merge(store, namespace, applied_seq(store, namespace), [heirs]).apart) == 1


def applied_seq(store: Store, namespace: str) -> int:
    whole = store.namespace_state(namespace)
    assert whole is not None
    return whole.seq


def test_what_people_decided_anything_of_does_not_retire(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    assert store.operate(namespace, proposed(2, "pin", Ruling(), PINNED, cluster_id=2)) is not None
    assert store.operate(namespace, proposed(3, "unpin", PINNED, Ruling(), cluster_id=2)) is not None
    assert store.retire(namespace, Retention(max_clusters=0), 10).ids == {"full": [2]}


def test_only_the_last_operations_are_kept(store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("redis.operations", "reference.operations"):
        monkeypatch.setattr(f"questream.store.{module}.OPERATIONS_KEPT", 2)
    create_two(store, namespace)
    rulings = [Ruling(), Ruling("a"), Ruling("b"), Ruling("c")]
    for number, (before, after) in enumerate(pairwise(rulings), start=1):
        assert store.operate(namespace, proposed(number, "label", before, after)) is not None
    assert [one.number for one in store.operations(namespace, 10)] == [3, 2]
    # Its id is forgotten with it.
    again = store.operate(namespace, proposed(1, "label", Ruling("c"), Ruling("d")))
    assert again is not None
    assert again.number == 4


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_survivor_is_muted_resolved_and_free_of_suggestions_as_it_was(
    store: Store, namespace: str, by_operator: bool
) -> None:
    create_two(store, namespace)
    kept = Ruling(muted=True, resolved_size=12, dismissed=("name", "split"))
    lost = Ruling(resolved_size=1, dismissed=("split",))
    for number, (cluster_id, ruling) in enumerate(((1, kept), (2, lost)), 1):
        one = proposed(number, "resolve", Ruling(), ruling, cluster_id=cluster_id)
        assert store.operate(namespace, one) is not None
        assert ruling_of(store, namespace, cluster_id) == ruling
    wanted = replace(merge_one_and_two(store, namespace), by_operator=by_operator)
    seq = store.load(namespace).seq
    (applied,) = merge(store, namespace, seq, [wanted]).applied
    assert applied.survivor.ruling == ruling_of(store, namespace, applied.merge.survivor) == kept
    (published,) = store.states(namespace, [1])
    assert (published.status, published.ruling) == ("resolved", kept)


CHOSEN = ChosenQuestion("0a-00", "When does my card come?", ("questions", 0, 7))


def represent(store: Store, namespace: str, cluster_id: int, chosen: ChosenQuestion, number: int = 1) -> None:
    before = ruling_of(store, namespace, cluster_id)
    after = replace(before, represented_by=chosen)
    assert store.operate(namespace, proposed(number, "represent", before, after, cluster_id=cluster_id)) is not None


def test_what_people_chose_stands_for_a_cluster_until_that_is_undone(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    own = store.states(namespace, [1])[0].representative
    represent(store, namespace, 1, CHOSEN)
    joined = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    committed = commit(store, namespace, joined)
    assert isinstance(committed, Committed)
    told = committed.cluster_rows[1]
    assert (told.representative, told.ruling.represented_by, told.own_representative) == (CHOSEN.text, CHOSEN, own)
    (state,) = store.states(namespace, [1])
    assert (state.representative, state.ruling, state.own_representative) == (
        CHOSEN.text,
        Ruling(represented_by=CHOSEN),
        own,
    )
    kept = store.operation(namespace, 1)
    assert kept is not None
    assert kept.after == {1: Ruling(represented_by=CHOSEN)}
    assert store.operate(namespace, proposed(2, "pin", Ruling(), PINNED)) is None
    assert store.operate(namespace, proposed(2, "undo", state.ruling, Ruling(), undoes=1)) is not None
    (state,) = store.states(namespace, [1])
    assert (state.representative, state.ruling.represented_by, state.own_representative) == (own, None, None)


def test_an_operation_that_leaves_what_stands_for_a_cluster_keeps_no_text_of_it(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    represent(store, namespace, 1, CHOSEN)
    chosen = Ruling(represented_by=CHOSEN)
    assert store.operate(namespace, proposed(2, "pin", chosen, replace(chosen, pinned=True))) is not None
    kept = store.operation(namespace, 2)
    assert kept is not None
    assert [one[1].represented_by for one in (kept.before, kept.after)] == [replace(CHOSEN, text=None)] * 2


@pytest.mark.parametrize("of_survivor", [True, False])
def test_a_survivor_keeps_what_stands_for_it_and_inherits_it_where_nothing_does(
    store: Store, namespace: str, of_survivor: bool
) -> None:
    create_two(store, namespace)
    represent(store, namespace, 2, CHOSEN)
    if of_survivor:
        represent(store, namespace, 1, replace(CHOSEN, name="0b-00", text="Where is it?"), number=2)
    seq = store.load(namespace).seq
    (applied,) = merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    survivor, gone = store.states(namespace, [1, 2])
    wanted = "Where is it?" if of_survivor else CHOSEN.text
    assert (survivor.merged_into, survivor.representative, applied.survivor.representative) == (None, wanted, wanted)
    assert (gone.merged_into, gone.ruling.represented_by) == (1, CHOSEN)


def test_a_cluster_that_people_chose_a_question_for_does_not_retire(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    represent(store, namespace, 1, CHOSEN)
    retired = store.retire(namespace, Retention(max_clusters=1), 10).ids
    assert [i for ids in retired.values() for i in ids] == [2]


def test_what_stands_for_a_cluster_is_put_back(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    own = store.states(namespace, [1])[0].representative
    represent(store, namespace, 1, CHOSEN)
    states = list(store.clusters(namespace))
    other = f"{namespace}-other"
    store.open(other, IDENTITY)
    token = store.begin_recovery(other)
    store.restore(other, token, [Restored(replace(state, namespace=other)) for state in states])
    store.recover(other, token, None, {})
    (state,) = store.states(other, [1])
    assert (state.representative, state.ruling.represented_by, state.own_representative) == (CHOSEN.text, CHOSEN, own)
    assert store.operate(other, proposed(2, "represent", state.ruling, Ruling())) is not None
    assert store.states(other, [1])[0].representative == own


def test_a_ruling_is_put_back_and_no_number_is_given_twice(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    pin(store, namespace, 2, number=2)
    states = list(store.clusters(namespace))
    other = f"{namespace}-other"
    store.open(other, IDENTITY)
    token = store.begin_recovery(other)
    store.restore(other, token, [Restored(replace(state, namespace=other)) for state in states])
    store.recover(other, token, None, {})
    assert {i: ruling_of(store, other, i) for i in (1, 2)} == {1: PINNED, 2: PINNED}
    unpinned = store.operate(other, proposed(3, "unpin", PINNED, Ruling()))
    assert unpinned is not None
    assert unpinned.number == 3


def test_nothing_is_decided_before_a_namespace_is_recovered(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    store.require_recovery(namespace)
    with pytest.raises(RecoveryNeeded):
        store.operate(namespace, proposed(1, "pin", Ruling(), PINNED))


TURNED_AWAY = Exemplar("0a", "cannot", pack_vector(vector(0, 1, 0, 0)), ("questions", 0, 7), "Where is it?")
PUT_IN = Exemplar("0b", "must", pack_vector(vector(0, 0, 1, 0)))


def reject(store: Store, namespace: str, cluster_id: int, *exemplars: Exemplar, number: int = 1) -> None:
    before = ruling_of(store, namespace, cluster_id)
    after = replace(before, exemplars=exemplars)
    assert store.operate(namespace, proposed(number, "reject", before, after, cluster_id=cluster_id)) is not None


def test_exemplars_stand_with_the_cluster_and_reach_every_mirror(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    mirror = store.load(namespace)
    reject(store, namespace, 1, TURNED_AWAY, PUT_IN)
    assert ruling_of(store, namespace, 1).exemplars == (TURNED_AWAY, PUT_IN)
    tail = store.tail(namespace, mirror.store_epoch, seq)
    assert tail.changes is not None
    mirror.apply(tail.changes)
    for one in (mirror, store.load(namespace)):
        assert one.exemplars(1) == (TURNED_AWAY, PUT_IN)
        assert (one.member_count(1), len(one.constraints), one.constraints.must) == (2, 2, 1)
    reject(store, namespace, 1, number=2)
    assert store.load(namespace).exemplars(1) == ()


def set_threshold(store: Store, namespace: str, threshold: float | None, number: int = 1) -> None:
    before = ruling_of(store, namespace, 1)
    after = replace(before, threshold=threshold)
    assert store.operate(namespace, proposed(number, "intents", before, after, cluster_id=1)) is not None


def test_a_threshold_of_its_own_stands_with_the_cluster_and_reaches_every_mirror(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    mirror = store.load(namespace)
    set_threshold(store, namespace, 0.85)
    tail = store.tail(namespace, mirror.store_epoch, seq)
    assert tail.changes is not None
    mirror.apply(tail.changes)
    for one in (mirror, store.load(namespace)):
        assert dict(one.thresholds) == {1: 0.85}
    late = proposal(ClusterUpdate(2, 1, 1, 1, None, 2000), rows=rows_of(row(3, 2)), seq=seq)
    assert isinstance(commit(store, namespace, late), Stale)
    operation = store.operation(namespace, 1)
    assert operation is not None
    assert (operation.before[1].threshold, operation.after[1].threshold) == (None, 0.85)
    set_threshold(store, namespace, None, number=2)
    tail = store.tail(namespace, mirror.store_epoch, mirror.seq + 1)
    mirror.apply(tail.changes or ())
    for one in (mirror, store.load(namespace)):
        assert dict(one.thresholds) == {}


def test_a_decision_tells_the_threshold_of_its_cluster_now_and_on_a_replay(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    set_threshold(store, namespace, 0.25)
    seq = store.load(namespace).seq
    rows = [replace(row(3, 1), threshold=0.25), row(4, 2)]
    updates = [join(1, 2, vector(3, 0, 0, 0)), ClusterUpdate(2, 1, 1, 1, None, 2000)]
    wanted = proposal(*updates, rows=rows_of(*rows), seq=seq)
    reply = commit(store, namespace, wanted)
    assert isinstance(reply, Committed)
    assert reply.cluster_rows[1].ruling.threshold == 0.25
    decided = {one.offset: decide(one, reply.cluster_rows[one.cluster_id or 0], 1, wanted) for one in rows}
    replayed = commit(store, namespace, wanted)
    assert isinstance(replayed, Replayed)
    recorded = replayed.ledgers["questions", 0].decisions
    assert {at: one.threshold for at, one in decided.items()} == {3: 0.25, 4: wanted.threshold}
    assert {at: recorded[at] for at in (3, 4)} == decided


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_survivor_keeps_its_own_threshold_and_what_parts_from_it_has_its_own(
    store: Store, namespace: str, by_operator: bool
) -> None:
    create_two(store, namespace)
    before = ruling_of(store, namespace, 2)
    strict = replace(before, threshold=0.9)
    assert store.operate(namespace, proposed(1, "intents", before, strict, cluster_id=2)) is not None
    if by_operator:
        assert store.operate(namespace, merging(store, namespace, Ruling(), 2)) is not None
    else:
        seq = store.load(namespace).seq
        assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    assert dict(store.load(namespace).thresholds) == {}
    seq = store.load(namespace).seq
    joined = proposal(join(1, 3, vector(3, 1, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    assert isinstance(commit(store, namespace, joined), Committed)
    mirror = store.load(namespace)
    wanted = parted(store, namespace)
    after = {**wanted.after, 2: replace(wanted.after[2], threshold=0.9)}
    assert store.operate(namespace, replace(wanted, after=after)) is not None
    tail = store.tail(namespace, mirror.store_epoch, mirror.seq)
    mirror.apply(tail.changes or ())
    for one in (mirror, store.load(namespace)):
        assert dict(one.thresholds) == {2: 0.9}


def test_who_has_not_seen_an_exemplar_decides_again(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    reject(store, namespace, 1, TURNED_AWAY)
    late = proposal(ClusterUpdate(2, 1, 1, 1, None, 2000), rows=rows_of(row(3, 2)), seq=seq)
    reply = commit(store, namespace, late)
    assert isinstance(reply, Stale)
    assert reply.missed.changes is not None
    assert [getattr(change, "exemplars", None) for change in reply.missed.changes] == [(TURNED_AWAY,)]
    assert isinstance(commit(store, namespace, replace(late, seq=reply.missed.seq)), Committed)


def test_a_joined_cluster_says_its_exemplars(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    reject(store, namespace, 1, TURNED_AWAY)
    seq = store.load(namespace).seq
    joined = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    reply = commit(store, namespace, joined)
    assert reply.cluster_rows[1].ruling.exemplars == (TURNED_AWAY,)  # type: ignore[union-attr]  # it is committed
    assert store.load(namespace).exemplars(1) == (TURNED_AWAY,)


def test_what_a_merge_makes_has_the_exemplars_of_both_and_the_last_of_too_many(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    many = tuple(replace(TURNED_AWAY, name=f"{number:03x}") for number in range(EXEMPLARS_KEPT))
    reject(store, namespace, 1, *many)
    reject(store, namespace, 2, replace(PUT_IN, name="ff0"), number=2)
    seq = store.load(namespace).seq
    merged = merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    expected = (*many[1:], replace(PUT_IN, name="ff0"))
    assert [applied.survivor.ruling.exemplars for applied in merged.applied] == [expected]
    assert [applied.loser.ruling.exemplars for applied in merged.applied] == [()]
    assert ruling_of(store, namespace, 1).exemplars == expected
    tail = store.tail(namespace, store.load(namespace).store_epoch, seq)
    assert tail.changes is not None
    assert [getattr(change, "exemplars", None) for change in tail.changes] == [None, expected]


def test_a_merge_is_not_made_by_who_has_not_seen_an_exemplar(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    reject(store, namespace, 1, TURNED_AWAY)
    merged = merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    assert (merged.applied, merged.apart) == ([], [])


def test_a_cluster_that_turned_questions_away_does_not_retire(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    reject(store, namespace, 1, TURNED_AWAY)
    assert store.retire(namespace, Retention(max_clusters=0), 10).ids == {"full": [2]}


def test_an_operation_keeps_what_it_changed_of_the_exemplars_without_texts(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    reject(store, namespace, 1, TURNED_AWAY)
    reject(store, namespace, 1, TURNED_AWAY, PUT_IN, number=2)
    operation = store.operation(namespace, 2)
    assert operation is not None
    added = set(operation.after[1].exemplars) - set(operation.before[1].exemplars)
    assert added == {PUT_IN}
    first = store.operation(namespace, 1)
    assert first is not None
    assert first.after[1].exemplars[-1].name == TURNED_AWAY.name


def test_exemplars_are_put_back(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    reject(store, namespace, 1, TURNED_AWAY, PUT_IN)
    state = store.cluster(namespace, 1)
    assert state is not None
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    later = replace(
        state, revision=state.revision + 1, ruling=replace(state.ruling, exemplars=(PUT_IN,), threshold=0.85)
    )
    assert store.restore(namespace, token, [Restored(later)]) == 1
    store.recover(namespace, token, None, {})
    mirror = store.load(namespace)
    assert (mirror.exemplars(1), dict(mirror.thresholds)) == ((PUT_IN,), {1: 0.85})
    assert ruling_of(store, namespace, 1).exemplars == (PUT_IN,)


def merging(store: Store, namespace: str, after: Ruling, number: int = 1) -> ProposedOperation:
    """The merge of clusters 1 and 2 as an operation, after which both are ruled so."""
    before = {i: ruling_of(store, namespace, i) for i in (1, 2)}
    proposed_merge = replace(merge_one_and_two(store, namespace), by_operator=True)
    rulings = (before, {1: after, 2: replace(before[2], exemplars=())})
    return ProposedOperation(f"op-{number}", "merge", "ann", "same", *rulings, merge=proposed_merge)


def test_an_operation_merges_two_clusters_and_says_which_survives(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    reject(store, namespace, 2, TURNED_AWAY)
    named = Ruling("cards", "team", pinned=True, exemplars=(TURNED_AWAY,))
    before = {i: store.cluster(namespace, i) for i in (1, 2)}
    mirror = store.load(namespace)
    operation = store.operate(namespace, merging(store, namespace, named, number=2))
    assert operation is not None
    assert (operation.number, operation.survivor, list(operation.after)) == (2, 1, [1, 2])
    assert store.operation(namespace, 2) == replace(operation, before=store.operation(namespace, 2).before)  # type: ignore[union-attr]  # it is kept
    survivor, gone = store.states(namespace, [1, 2])
    assert before[1] is not None
    assert before[2] is not None
    assert (survivor.ruling, survivor.operation, survivor.event) == (named, 2, "labelled")
    assert survivor.size == before[1].size + before[2].size
    assert survivor.revision == before[1].revision + 1
    assert (gone.merged_into, gone.event, gone.members, gone.ruling.exemplars) == (1, "merged", 0, ())
    assert survivor.in_flight.absorbed == (2,)
    assert {1, 2} <= set(store.unpublished(namespace, 0, 10))
    tail = store.tail(namespace, mirror.store_epoch, mirror.seq)
    assert tail.changes is not None
    mirror.apply(tail.changes)
    assert tail.seq > seq
    for one in (mirror, store.load(namespace)):
        assert (sorted(one.row_of), one.member_count(1), one.exemplars(1)) == ([1], survivor.members, (TURNED_AWAY,))
        assert one.vector_sum(1).tolist() == merge_sum(before).tolist()


def merge_sum(states: Mapping[int, ClusterState | None]) -> Vector:
    total: Vector = np.sum([state.vector_sum for state in states.values() if state and state.vector_sum is not None], 0)
    return total


def test_an_operation_merges_nothing_where_a_centroid_has_moved(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    late = merging(store, namespace, Ruling())
    joined = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    assert isinstance(commit(store, namespace, joined), Committed)
    assert store.operate(namespace, late) is None
    assert [state.event for state in store.states(namespace, [1, 2])] == ["updated", "updated"]
    seen = merging(store, namespace, Ruling())
    assert seen.merge is not None
    seen = replace(seen, merge=replace(seen.merge, survivor_members=3))
    assert store.operate(namespace, seen) is not None
    # The other is no live cluster any more.
    assert store.operate(namespace, replace(seen, id="op-2")) is None


def parted(store: Store, namespace: str, number: int = 9) -> ProposedOperation:
    """The cluster 2 parts from 1, which absorbed it."""
    remains = store.remains(namespace, 2)
    survivor = store.cluster(namespace, 1)
    assert remains is not None
    assert survivor is not None
    assert survivor.vector_sum is not None
    left = survivor.vector_sum - remains.vector_sum
    part = Part(remains, 1, survivor.members, left, "")
    before = {i: ruling_of(store, namespace, i) for i in (1, 2)}
    after = {1: Ruling(separations=("ab+",)), 2: Ruling("pins", separations=("ab-",), exemplars=(TURNED_AWAY,))}
    return ProposedOperation(f"op-{number}", "unmerge", "ann", "", before, after, part=part)


@pytest.mark.parametrize("by_operation", [False, True])
def test_what_a_merge_absorbed_stands_by_itself_again(store: Store, namespace: str, by_operation: bool) -> None:
    create_two(store, namespace)
    reject(store, namespace, 2, TURNED_AWAY)
    whole = {i: store.cluster(namespace, i) for i in (1, 2)}
    if by_operation:
        assert store.operate(namespace, merging(store, namespace, Ruling(exemplars=(TURNED_AWAY,)), 2)) is not None
    else:
        seq = store.load(namespace).seq
        assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    seq = store.load(namespace).seq
    joined = proposal(join(1, 3, vector(3, 1, 0, 0)), rows=rows_of(row(3, 1)), seq=seq)
    assert isinstance(commit(store, namespace, joined), Committed)
    mirror = store.load(namespace)
    wanted = parted(store, namespace)
    operation = store.operate(namespace, wanted)
    assert operation is not None
    assert (operation.parted, operation.survivor) == (2, None)
    survivor, back = store.states(namespace, [1, 2])
    assert whole[1] is not None
    assert whole[2] is not None
    assert (survivor.size, back.size) == (whole[1].size + 1, whole[2].size)
    assert (back.event, back.merged_into, back.members) == ("labelled", None, whole[2].members)
    assert (back.representative, back.in_flight) == (whole[2].representative, whole[2].in_flight)
    assert survivor.in_flight.absorbed == ()
    assert (survivor.ruling, back.ruling) == (wanted.after[1], wanted.after[2])
    assert {1, 2} <= set(store.unpublished(namespace, 0, 10))
    tail = store.tail(namespace, mirror.store_epoch, mirror.seq)
    assert tail.changes is not None
    seen = mirror.seq
    mirror.apply(tail.changes)
    for one in (mirror, store.load(namespace)):
        assert {i: one.member_count(i) for i in sorted(one.row_of)} == {1: 3, 2: 1}
        assert one.exemplars(2) == (TURNED_AWAY,)
        assert one.vector_sum(1).tolist() == vector(3, 0, 0, 0).tolist()
        assert one.vector_sum(2).tolist() == vector(0, 1, 0, 0).tolist()
    # Who has not seen it decides again, and it happens once.
    late = proposal(ClusterUpdate(1, 1, 3, 3, None, 2000), rows=rows_of(row(5, 1)), seq=seen)
    assert isinstance(commit(store, namespace, late), Stale)
    assert store.remains(namespace, 2) is None
    assert store.sizes(namespace).aliases == 0


def test_a_cluster_that_parts_takes_what_it_had_absorbed_and_is_a_singleton_if_it_was(
    store: Store, namespace: str
) -> None:
    seq = create_third(store, namespace, create_two(store, namespace).seq)
    first, second = Merge(2, 3, 1, 1, vector(1, 1, 0, 0)), Merge(1, 2, 2, 2, vector(3, 1, 0, 0))
    assert merge(store, namespace, seq, [first]).applied
    assert store.sizes(namespace).singletons == 0
    assert merge(store, namespace, seq + 1, [second]).applied
    assert store.operate(namespace, parted(store, namespace)) is not None
    assert [state.in_flight.absorbed for state in store.states(namespace, [1, 2])] == [(), (3,)]
    remains = store.remains(namespace, 3)
    assert remains is not None
    rulings = {i: ruling_of(store, namespace, i) for i in (2, 3)}
    part = Part(remains, 2, 2, vector(0, 1, 0, 0), "")
    wanted = ProposedOperation("again", "unmerge", "ann", "", rulings, {**rulings, 3: Ruling("pins")}, part=part)
    assert store.operate(namespace, wanted) is not None
    assert store.sizes(namespace).singletons == 2


def test_a_cluster_parts_only_from_what_was_seen(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    assert store.remains(namespace, 2) is None
    assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    wanted = parted(store, namespace)
    assert wanted.part is not None
    for part in (
        replace(wanted.part, survivor_members=2),
        replace(wanted.part, remains=replace(wanted.part.remains, key="1-1")),
    ):
        assert store.operate(namespace, replace(wanted, part=part)) is None
    assert store.operate(namespace, wanted) is not None
    assert store.operate(namespace, replace(wanted, id="again")) is None


def test_what_only_the_last_merges_absorbed_is_kept(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("redis.commits", "reference.merging"):
        monkeypatch.setattr(f"questream.store.{module}.REMAINS_KEPT", 1)
    seq = create_third(store, namespace, create_two(store, namespace).seq)
    merges = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 1, vector(2, 1, 1, 0))]
    assert len(merge(store, namespace, seq, merges).applied) == 2
    assert [store.remains(namespace, i) is None for i in (2, 3)] == [True, False]


def wait(store: Store, namespace: str) -> bool:
    waiting = store.waiting([namespace], 0.0, 1)[namespace]
    return not isinstance(waiting, Exception) and waiting.operations


def compared(store: Store, namespace: str, token: str = "one") -> OperationClaim:
    """The claim of a worker that has found nothing in the topic."""
    claim = store.claim_operations(namespace, token, 30.0)
    assert claim is not None
    assert not claim.compared
    assert store.restore_operations(namespace, token, [], 0) == 0
    claim = store.claim_operations(namespace, token, 30.0)
    assert claim is not None
    assert claim.compared
    return claim


def test_nothing_waits_in_a_namespace_that_is_not_settled(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    assert store.write_levels(namespace, store.store_epoch(namespace) or "", StoredLevels())
    store.require_recovery(namespace)
    waiting = store.waiting([namespace], 0.0, 1)[namespace]
    assert isinstance(waiting, Waiting)
    assert (waiting.store_epoch, waiting.operations, waiting.levels) == (None, False, False)


def test_an_operation_waits_until_it_is_confirmed(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    assert not wait(store, namespace)
    assert store.claim_operations(namespace, "one", 30.0) is None
    pin(store, namespace, 1)
    pin(store, namespace, 2, 2)
    assert wait(store, namespace)
    assert store.published_operations(namespace) is None
    claim = compared(store, namespace)
    assert store.published_operations(namespace) == 0
    assert (claim.published, claim.newest, claim.store_epoch) == (0, 2, store.store_epoch(namespace))
    assert [one.number for one in store.operations_from(namespace, 1, 10)] == [1, 2]
    assert [one.number for one in store.operations_from(namespace, 1, 1)] == [1]
    store.confirm_operations(namespace, "one", 1)
    assert store.published_operations(namespace) == 1
    assert wait(store, namespace)
    second = store.claim_operations(namespace, "two", 30.0)
    assert second is not None
    assert (second.published, second.newest, second.compared) == (1, 2, True)
    store.confirm_operations(namespace, "two", 2)
    assert not wait(store, namespace)
    assert store.claim_operations(namespace, "two", 30.0) is None


def test_one_worker_at_a_time_publishes_operations(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    compared(store, namespace)
    assert store.claim_operations(namespace, "two", 30.0) is None
    assert not wait(store, namespace)
    store.confirm_operations(namespace, "two", 1)
    assert store.claim_operations(namespace, "one", 30.0) is not None


def test_who_takes_a_claim_over_compares_first_and_the_one_before_has_lost_it(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    compared(store, namespace)
    assert store.claim_operations(namespace, "one", 0.0) is not None
    assert wait(store, namespace)
    taken = store.claim_operations(namespace, "two", 30.0)
    assert taken is not None
    assert not taken.compared
    # The one before finds that out before it commits, whatever the other has done by then.
    late = store.claim_operations(namespace, "one", 30.0)
    assert late is None or not late.compared


def test_published_operations_that_the_store_lacks_come_back(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    undone = store.operate(namespace, proposed(2, "undo", PINNED, Ruling(), undoes=1))
    assert undone is not None
    published = [*store.operations_from(namespace, 1, 10), replace(undone, number=7, id="op-7", undoes=2)]
    assert store.claim_operations(namespace, "one", 30.0) is not None
    assert store.restore_operations(namespace, "two", published, 7) is None
    assert store.restore_operations(namespace, "one", published, 7) == 1
    assert store.restore_operations(namespace, "one", published, 7) == 0
    assert [(one.number, one.undone_by) for one in store.operations(namespace, 10)] == [(7, None), (2, 7), (1, 2)]
    # Numbers go on above it, and its id answers what it did.
    again = store.operate(namespace, proposed(7, "undo", Ruling(), Ruling(), undoes=2))
    assert again == store.operation(namespace, 7)
    later = store.operate(namespace, proposed(8, "pin", Ruling(), PINNED))
    assert later is not None
    assert later.number == 8
    claim = store.claim_operations(namespace, "one", 30.0)
    assert claim is not None
    assert (claim.published, claim.newest, claim.compared) == (7, 8, True)


def test_a_number_that_was_given_again_is_that_of_the_published_operation(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    pin(store, namespace, 2, 2)
    first, own = store.operations_from(namespace, 1, 10)
    published = [first, *(replace(own, number=number, id=f"published-{number}") for number in (2, 3))]
    assert store.claim_operations(namespace, "one", 30.0) is not None
    assert store.restore_operations(namespace, "one", published, 3) == 2
    assert store.restore_operations(namespace, "one", published, 3) == 0
    ids = [(one.number, one.id) for one in store.operations_from(namespace, 1, 10)]
    assert ids == [(1, first.id), (2, "published-2"), (3, "published-3"), (4, own.id)]
    # It is published then, and its id answers under its number.
    claim = store.claim_operations(namespace, "one", 30.0)
    assert claim is not None
    assert (claim.published, claim.newest) == (3, 4)
    assert store.operate(namespace, proposed(2, "pin", Ruling(), PINNED, cluster_id=2)) == store.operation(namespace, 4)


def test_an_operation_whose_number_was_given_again_stays_undone(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    assert store.operate(namespace, proposed(2, "undo", PINNED, Ruling(), undoes=1)) is not None
    own, undo = store.operations_from(namespace, 1, 10)
    assert store.claim_operations(namespace, "one", 30.0) is not None
    assert store.restore_operations(namespace, "one", [replace(own, id="published-1", undone_by=None)], 1) == 1
    found = [(one.number, one.id, one.undone_by) for one in store.operations_from(namespace, 1, 10)]
    assert found == [(1, "published-1", None), (2, undo.id, None), (3, own.id, 2)]


def test_an_operation_that_was_done_again_is_the_one_that_was_published(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    pin(store, namespace, 2, 2)
    other, again = store.operations_from(namespace, 1, 10)
    published = [replace(again, number=1), replace(other, number=3, id="third")]
    assert store.claim_operations(namespace, "one", 30.0) is not None
    assert store.restore_operations(namespace, "one", published, 3) == 2
    ids = [(one.number, one.id) for one in store.operations_from(namespace, 1, 10)]
    assert ids == [(1, again.id), (3, "third"), (4, other.id)]
    assert store.operate(namespace, proposed(2, "pin", Ruling(), PINNED, cluster_id=2)) == store.operation(namespace, 1)


def test_a_recovery_puts_operations_back_before_the_next_decision(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    published = store.operations_from(namespace, 1, 10)
    more = [*published, replace(published[0], number=2, id="op-2")]
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    with pytest.raises(RecoveryNeeded):
        store.claim_operations(namespace, "one", 30.0)
    assert store.restore_operations(namespace, "another", more, 2) is None
    assert store.restore_operations(namespace, token, more, 2) == 1
    store.recover(namespace, token, None, {}, [])
    assert [one.id for one in store.operations(namespace, 10)] == ["op-2", "op-1"]
    assert not wait(store, namespace)
    assert store.claim_operations(namespace, "one", 30.0) is None


def test_a_store_epoch_that_nothing_was_compared_in_is_compared_first(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    compared(store, namespace)
    store.confirm_operations(namespace, "one", 1)
    store.require_recovery(namespace)
    store.recover(namespace, store.begin_recovery(namespace), None, {}, [])
    assert wait(store, namespace)
    claim = store.claim_operations(namespace, "two", 30.0)
    assert claim is not None
    assert not claim.compared


def test_no_operation_drives_out_one_that_waits_to_be_published(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    compared(store, namespace)
    ruling = PINNED
    for number in range(2, OPERATIONS_KEPT + 1):
        after = replace(ruling, pinned=not ruling.pinned)
        assert store.operate(namespace, proposed(number, "pin", ruling, after)) is not None
        ruling = after
    one_more = proposed(OPERATIONS_KEPT + 1, "pin", ruling, replace(ruling, label="x"))
    with pytest.raises(Contended, match="wait to be published"):
        store.operate(namespace, one_more)
    store.confirm_operations(namespace, "one", 1)
    assert store.operate(namespace, one_more) is not None


def test_an_operation_on_the_name_says_so_in_the_next_state(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    events = []
    for number, (before, after) in enumerate(
        pairwise((Ruling(), Ruling("a"), Ruling("a", "b"), Ruling("a", "b", True)))
    ):
        assert store.operate(namespace, proposed(number, "label", before, after)) is not None
        state = store.cluster(namespace, 1)
        assert state is not None
        events.append(state.event)
    assert events == ["labelled", "labelled", "updated"]


def test_a_recovery_that_compared_operations_ends_the_claim_of_before(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    compared(store, namespace)
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    store.restore_operations(namespace, token, [], 0)
    store.recover(namespace, token, None, {}, [])
    # Nobody has to wait for a worker of the store epoch before, and that one says nothing more.
    store.confirm_operations(namespace, "one", 1)
    assert wait(store, namespace)
    claim = store.claim_operations(namespace, "two", 30.0)
    assert claim is not None
    assert (claim.published, claim.compared) == (0, True)
