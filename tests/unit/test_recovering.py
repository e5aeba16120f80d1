"""What a recovery makes of a store and of what its topics tell: what comes back, and what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from questream.broker.port import Partition
from questream.clustering.levels import leaf
from questream.deciding.level_runs import is_due
from questream.domain import ClusterState, LevelsChange, Operation
from questream.errors import (
    AnotherStore,
    ClusterTopicDamaged,
    KafkaUnavailable,
    NamespaceDamaged,
    RecoveryNeeded,
    StoreDamaged,
)
from questream.operations import By, Decisions
from questream.records import PublishedLevels, encode_levels
from questream.recovery.cluster_topic import Place, Published
from questream.recovery.home import Home, Homes
from questream.recovery.lease import RecoveryLease
from questream.recovery.operation_topic import PublishedOperations
from questream.recovery.recover import Progress, StoreRecovery
from questream.store.protocol import Mended, StoredLevels
from questream.store.reference.store import MemoryStore
from tests.contract.test_levels import FOUND, INTENT, TOPIC
from tests.contract.test_store import IDENTITY, create_third, create_two, recover
from tests.contract.test_store_operations import compared, pin
from tests.kit.logged import logged_by

NAMESPACE, OTHER = "shop", "bank"
HERE = Home(3, "this-store", "here", "")


@dataclass
class Topics:
    """What was published, as `ClusterTopic` reads it, which is tested on Kafka itself.

    `reads` of all that it has and `looks` at its names are counted; `meanwhile` happens while it is read.
    """

    found: dict[str, Published] = field(default_factory=dict)
    states: dict[str, dict[int, ClusterState]] = field(default_factory=dict)
    reads: int = 0
    looks: int = 0
    meanwhile: Callable[[], object] = lambda: None

    def named(self) -> set[str]:
        self.looks += 1
        return set(self.found)

    namespaces = named

    def published(self) -> dict[str, Published]:
        self.reads += 1
        self.meanwhile()
        return self.found

    newest = published

    def homes(self) -> dict[str, Home | None]:
        return {name: found.home for name, found in self.found.items()}

    def newest_states(self, namespace: str, revisions: Mapping[int, int]) -> Iterator[ClusterState]:
        return (self.states[namespace][i] for i in revisions)

    def committed(self, streams: Collection[str]) -> dict[Partition, int]:  # noqa: ARG002 - nothing is in flight
        return {}

    def tombstones_kept_seconds(self) -> float:
        return 86_400.0

    def publish(self, store: MemoryStore, namespace: str = NAMESPACE) -> None:
        """All that the store has of a namespace."""
        revisions = store.revisions(namespace, [1, 2, 3])
        self.states[namespace] = {state.cluster_id: state for state in store.states(namespace, list(revisions))}
        operations = {one.number: one for one in store.operations(namespace, 10)}
        self.found[namespace] = Published(
            revisions=revisions,
            whole=store.namespace_state(namespace),
            home=HERE,
            operations=PublishedOperations(operations, max(operations, default=0)),
        )


def filled(*namespaces: str) -> MemoryStore:
    """A store that has clusters 1 and 2 in each."""
    store = MemoryStore()
    for name in namespaces:
        store.open(name, IDENTITY)
        recover(store, name)
        create_two(store, name)
    return store


def emptied(*namespaces: str) -> MemoryStore:
    store = MemoryStore()
    for name in namespaces:
        store.open(name, IDENTITY)
    return store


def recovery(store: MemoryStore, topics: Topics, *, give_up: bool = False, homes: Homes | None = None) -> StoreRecovery:
    return StoreRecovery(store, topics, homes, give_up=give_up)  # type: ignore[arg-type]  # as the topic answers


def published(*namespaces: str) -> Topics:
    """Of namespaces whose clusters are all published."""
    topics, store = Topics(), filled(*namespaces)
    for name in namespaces:
        topics.publish(store, name)
    return topics


@pytest.fixture
def topics() -> Topics:
    return published(NAMESPACE)


@pytest.fixture
def two() -> Topics:
    return published(NAMESPACE, OTHER)


class HomeStore:
    """Where a store keeps the homes of its namespaces."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def home(self, namespace: str) -> bytes | None:
        return self.kept.get(namespace)

    def homes(self, namespaces: Sequence[str]) -> dict[str, bytes | None]:
        return {namespace: self.home(namespace) for namespace in namespaces}

    def take_home(self, namespace: str, home: bytes) -> None:
        self.kept.setdefault(namespace, home)

    def replace_home(self, namespace: str, home: bytes) -> None:
        self.kept[namespace] = home


def test_what_was_published_of_all_namespaces_is_back_after_one_look_at_the_topic(two: Topics) -> None:
    store = emptied(NAMESPACE, OTHER)
    recovery(store, two).recover(NAMESPACE)
    for name in (NAMESPACE, OTHER):
        assert store.revisions(name, [1, 2]) == two.found[name].revisions
        assert store.store_epoch(name) is not None
    assert two.reads == 1


def test_a_namespace_that_nothing_was_published_of_keeps_what_it_has(topics: Topics) -> None:
    store = filled("new")
    store.require_recovery("new")
    recovery(store, topics).recover("new")
    assert store.revisions("new", [1, 2]).keys() == {1, 2}
    assert store.load("new").next_id == 3
    assert topics.reads == 0


def test_operations_that_were_published_are_back_before_the_next_decision() -> None:
    before, topics, store = filled(NAMESPACE), Topics(), emptied(NAMESPACE)
    pin(before, NAMESPACE, 1)
    topics.publish(before)
    recovery(store, topics).recover(NAMESPACE)
    assert store.operations(NAMESPACE, 10) == before.operations(NAMESPACE, 10)
    assert store.published_operations(NAMESPACE) == 1
    state = store.cluster(NAMESPACE, 1)
    assert state is not None
    assert (state.ruling.pinned, state.operation) == (True, 1)


def test_where_no_operation_was_published_a_worker_compares_them() -> None:
    before, topics, store = filled(NAMESPACE), Topics(), emptied(NAMESPACE)
    topics.publish(before)
    recovery(store, topics).recover(NAMESPACE)
    assert store.published_operations(NAMESPACE) is None


def naming(number: int, label: str) -> Operation:
    change = LevelsChange({"i5": (None, None)}, {"i5": (label, None)})
    return Operation(f"op-{number}", number, "label", "ann", "", 5, {}, {}, levels=change)


def published_levels(levels: StoredLevels) -> PublishedLevels:
    found = PublishedLevels()
    for record in encode_levels(NAMESPACE, levels):
        found.add(*record)
    return found


def test_levels_come_back_with_what_was_named_since_they_were_published(topics: Topics) -> None:
    named = replace(FOUND, version=10, named={TOPIC: ("money", None)}, operation=2)
    found = topics.found[NAMESPACE]
    found.levels = published_levels(named)
    # The first was done before they were published, and taken back since.
    found.operations = PublishedOperations({1: naming(1, "gone"), 3: naming(3, "cards")}, 3)
    store = emptied(NAMESPACE)
    recovery(store, topics).recover(NAMESPACE)
    levels = store.levels(NAMESPACE)
    assert levels.named == {TOPIC: ("money", None), INTENT: ("cards", None)}
    assert (levels.version, levels.operation) == (11, 3)
    assert store.levels_marks([NAMESPACE])[NAMESPACE].published == 10


def test_what_people_keep_in_an_intent_comes_back_though_levels_were_published_before() -> None:
    before = filled(NAMESPACE)
    assert before.write_levels(NAMESPACE, before.store_epoch(NAMESPACE) or "", FOUND)
    of_before = before.levels(NAMESPACE)
    decisions = Decisions(before, NAMESPACE, By("ann"))
    decisions.commit(decisions.move_nodes(["c2"], "i5"))
    decisions.commit(decisions.separate(1, 2))
    topics, store = Topics(), emptied(NAMESPACE)
    topics.publish(before)
    topics.found[NAMESPACE].levels = published_levels(of_before)
    recovery(store, topics).recover(NAMESPACE)
    state = store.cluster(NAMESPACE, 2)
    assert state is not None
    assert state.ruling == before.states(NAMESPACE, [2])[0].ruling
    assert state.ruling.kept_in == ("i5",)
    levels = store.levels(NAMESPACE)
    assert levels.levels == before.levels(NAMESPACE).levels
    assert levels.levels.path(2)[1] == INTENT
    assert is_due(store.levels_marks([NAMESPACE])[NAMESPACE])


def test_levels_come_back_as_they_were_published(topics: Topics, caplog: pytest.LogCaptureFixture) -> None:
    topics.found[NAMESPACE].levels = published_levels(replace(FOUND, version=10))
    store = emptied(NAMESPACE)
    with caplog.at_level(logging.INFO):
        recovery(store, topics).recover(NAMESPACE)
    assert store.levels(NAMESPACE) == replace(FOUND, version=10)
    assert store.levels_marks([NAMESPACE])[NAMESPACE].published == 10
    assert [one.namespace for one in caplog.records if "levels" in one.message] == [NAMESPACE]  # type: ignore[attr-defined]  # `extra`


def test_a_restore_leaves_alone_what_lacks_nothing(topics: Topics) -> None:
    store = filled(NAMESPACE)
    epoch = store.store_epoch(NAMESPACE)
    assert recovery(store, topics).restore() == {NAMESPACE: 0}
    assert store.store_epoch(NAMESPACE) == epoch


def test_a_restore_puts_back_clusters_that_are_missing(two: Topics) -> None:
    store = emptied(NAMESPACE, OTHER)
    recover(store, NAMESPACE)
    assert recovery(store, two).restore() == {NAMESPACE: 2, OTHER: 2}


def test_a_restore_puts_back_operations_alone() -> None:
    store, topics = filled(NAMESPACE), Topics()
    pin(store, NAMESPACE, 1)
    compared(store, NAMESPACE)
    topics.publish(store)
    operations = topics.found[NAMESPACE].operations
    operations.by_number[2], operations.newest = replace(operations.by_number[1], number=2, id="op-2"), 2
    assert recovery(store, topics).restore() == {NAMESPACE: 0}
    assert [one.id for one in store.operations(NAMESPACE, 10)] == ["op-2", "op-1"]


def test_a_namespace_without_its_own_state_is_not_restored(topics: Topics) -> None:
    topics.found[NAMESPACE].whole = None
    store = emptied(NAMESPACE)
    assert recovery(store, topics).restore() == {NAMESPACE: 0}
    assert store.store_epoch(NAMESPACE) is None


@pytest.mark.parametrize("is_behind", ["cluster", "levels", "nothing"])
def test_a_store_of_an_earlier_moment_is_found_at_the_start(topics: Topics, is_behind: str) -> None:
    store = filled(NAMESPACE)
    epoch = store.store_epoch(NAMESPACE)
    if is_behind == "cluster":
        later = filled(NAMESPACE)
        create_third(later, NAMESPACE, later.load(NAMESPACE).seq)
        topics.publish(later)
    elif is_behind == "levels":
        topics.found[NAMESPACE].levels = published_levels(replace(FOUND, version=10))
    recovery(store, topics).recover_lost(NAMESPACE)
    assert (store.store_epoch(NAMESPACE) == epoch) is (is_behind == "nothing")
    assert store.store_epoch(NAMESPACE) is not None
    assert (3 in store.revisions(NAMESPACE, [3])) is (is_behind == "cluster")
    assert (leaf(1) in store.levels(NAMESPACE).levels.parents) is (is_behind == "levels")


def test_a_store_that_has_all_is_not_read_for_again(two: Topics) -> None:
    store = filled(NAMESPACE, OTHER)
    recovery(store, two).recover_lost(NAMESPACE)
    # Its newest states, and no more.
    assert (two.reads, two.looks) == (1, 0)


def test_a_store_that_is_not_recovered_yet_is_no_earlier_one(topics: Topics, caplog: pytest.LogCaptureFixture) -> None:
    store = emptied(NAMESPACE)
    with caplog.at_level(logging.INFO):
        recovery(store, topics).recover_lost(NAMESPACE)
    assert "older than what was published" not in caplog.text
    assert "they are restored" in caplog.text


def test_progress_is_not_told_of_each_cluster_and_namespace(two: Topics, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        recovery(emptied(NAMESPACE, OTHER), two).recover(NAMESPACE)
    assert [one.message for one in logged_by(StoreRecovery, caplog)].count("recovering") == 1


class Watched(MemoryStore):
    """A store that notes which namespaces are compared with the topic."""

    def __init__(self) -> None:
        super().__init__()
        self.mended: list[str] = []

    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        self.mended.append(namespace)
        return super().mend(namespace, token, cluster_ids, dimension)


def test_what_another_has_recovered_while_the_topic_was_read_is_left_alone(two: Topics) -> None:
    store = Watched()
    for name in (NAMESPACE, OTHER):
        store.open(name, IDENTITY)
    two.meanwhile = lambda: recover(store, OTHER)
    recovery(store, two).recover(NAMESPACE)
    assert store.mended == [NAMESPACE]


def damaged(topics: Topics, namespace: str) -> None:
    """A cluster's newest record cannot be read."""
    topics.found[namespace].unreadable[2] = Place("clusters", 0, 7)
    del topics.found[namespace].revisions[2]


def test_a_namespace_whose_topic_is_damaged_is_set_aside_and_the_others_go_on(two: Topics) -> None:
    damaged(two, OTHER)
    store = emptied(NAMESPACE, OTHER)
    one = recovery(store, two)
    one.recover(NAMESPACE)
    assert store.store_epoch(NAMESPACE) is not None
    assert store.store_epoch(OTHER) is None
    assert isinstance(one.damage(OTHER), NamespaceDamaged)
    assert one.damage(NAMESPACE) is None
    # Once it is mended, nothing is left of that.
    two.publish(filled(OTHER), OTHER)
    one.recover(OTHER)
    assert one.damage(OTHER) is None


def test_the_workers_own_namespace_is_not_set_aside(two: Topics) -> None:
    damaged(two, NAMESPACE)
    damaged(two, OTHER)
    store = emptied(NAMESPACE, OTHER)
    one = recovery(store, two)
    with pytest.raises(ClusterTopicDamaged, match="questream restore"):
        one.recover_lost(NAMESPACE)
    assert one.damage(NAMESPACE) is None
    two.publish(filled(NAMESPACE))
    one.recover_lost(NAMESPACE)
    assert isinstance(one.damage(OTHER), NamespaceDamaged)


def test_a_topic_that_cannot_be_read_stops_the_recovery_of_the_others_too(two: Topics) -> None:
    store = emptied(NAMESPACE, OTHER)

    class Failing(Topics):
        def newest_states(self, namespace: str, revisions: Mapping[int, int]) -> Iterator[ClusterState]:
            if namespace == OTHER:
                raise KafkaUnavailable("Kafka does not answer")
            return super().newest_states(namespace, revisions)

    with pytest.raises(KafkaUnavailable):
        recovery(store, Failing(two.found, two.states)).recover(NAMESPACE)


def test_what_nobody_can_read_is_given_up_only_where_that_is_asked_for(topics: Topics) -> None:
    store = filled(NAMESPACE)
    damaged(topics, NAMESPACE)
    topics.found[NAMESPACE].unreadable_levels[b"shop/levels/0"] = Place("clusters", 0, 8)
    store.require_recovery(NAMESPACE)
    with pytest.raises(ClusterTopicDamaged, match="levels of 'shop'"):
        recovery(store, topics).recover(NAMESPACE)
    topics.found[NAMESPACE].unreadable_levels.clear()
    with pytest.raises(ClusterTopicDamaged, match="c2"):
        recovery(store, topics).recover(NAMESPACE)
    recovery(store, topics, give_up=True).recover(NAMESPACE)
    assert store.store_epoch(NAMESPACE) is not None


class Damaged(MemoryStore):
    """A store in which a part of cluster 2 is lost."""

    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        mended = super().mend(namespace, token, cluster_ids, dimension)
        return replace(mended, damaged={2: 1}, revisions={i: at for i, at in mended.revisions.items() if i != 2})


def test_a_cluster_that_neither_has_is_given_up_only_where_that_is_asked_for(topics: Topics) -> None:
    store = Damaged()
    store.open(NAMESPACE, IDENTITY)
    recover(store, NAMESPACE)
    create_two(store, NAMESPACE)
    del topics.found[NAMESPACE].revisions[2]
    store.require_recovery(NAMESPACE)
    with pytest.raises(StoreDamaged, match="--give-up"):
        recovery(store, topics).recover(NAMESPACE)
    recovery(store, topics, give_up=True).recover(NAMESPACE)
    state = store.cluster(NAMESPACE, 2)
    assert state is None or state.event == "retired"


def test_who_waits_for_another_worker_ends_with_its_own(topics: Topics) -> None:
    store = emptied(NAMESPACE)
    token = store.begin_recovery(NAMESPACE)
    assert store.lease_recovery(NAMESPACE, token, "another", 60.0)
    said: list[str] = []
    one: StoreRecovery

    def wait(_: float) -> bool:
        said.append(str(one.progress))
        # The other is through; this worker is to end in any case.
        recover(store, NAMESPACE)
        return True

    one = StoreRecovery(store, topics, lease=RecoveryLease(store, wait))  # type: ignore[arg-type]  # as the topic answers
    with pytest.raises(RecoveryNeeded, match="not recovered yet"):
        one.recover(NAMESPACE)
    assert said == ["waiting for another worker that recovers namespace 'shop'"]
    assert one.progress is None


def test_who_has_lost_the_lease_goes_on_with_nothing(topics: Topics) -> None:
    store = emptied(NAMESPACE)
    lease = RecoveryLease(store, lambda _: True)
    lease.require = lambda: (_ for _ in ()).throw(RecoveryNeeded("another worker goes on"))  # type: ignore[method-assign]
    one = StoreRecovery(store, topics, lease=lease)  # type: ignore[arg-type]  # as the topic answers
    with pytest.raises(RecoveryNeeded, match="another worker goes on"):
        one.recover(NAMESPACE)
    assert store.revisions(NAMESPACE, [1, 2]) == {}


def test_a_store_that_is_not_the_home_of_a_namespace_is_refused_and_changes_nothing(topics: Topics) -> None:
    store, homes = emptied(NAMESPACE), Homes(HomeStore(), "elsewhere")
    one = recovery(store, topics, homes=homes)
    with pytest.raises(AnotherStore):
        one.recover(NAMESPACE)
    with pytest.raises(AnotherStore):
        one.restore()
    assert store.revisions(NAMESPACE, [1, 2]) == {}
    store = filled(NAMESPACE)
    with pytest.raises(AnotherStore):
        recovery(store, topics, homes=homes).recover_lost(NAMESPACE)


def test_a_store_that_a_release_without_homes_has_recovered_gets_the_next_home(topics: Topics) -> None:
    store, kept = filled(NAMESPACE), HomeStore()
    assert store.store_epoch(NAMESPACE) is not None
    one = recovery(store, topics, homes=Homes(kept, "here"))
    one.recover_lost(NAMESPACE)
    home = Home.parse(kept.home(NAMESPACE))
    assert home is not None
    assert (home.epoch, home.former) == (4, "this-store")
    assert one.published_home(NAMESPACE) == HERE
    assert one.published_home(OTHER) is None


def test_a_home_that_cannot_be_read_keeps_no_other_namespace_from_its_own(two: Topics) -> None:
    class Partly(HomeStore):
        def homes(self, namespaces: Sequence[str]) -> dict[str, bytes | None]:
            return super().homes([namespace for namespace in namespaces if namespace != OTHER])

    kept = Partly()
    # Of late it has published nothing.
    two.newest = lambda: {NAMESPACE: two.found[NAMESPACE]}  # type: ignore[method-assign]
    recovery(filled(NAMESPACE, OTHER), two, homes=Homes(kept, "here")).recover_lost(NAMESPACE)
    assert set(kept.kept) == {NAMESPACE}


def test_an_emptied_store_at_its_place_gets_a_home_again(topics: Topics) -> None:
    store, kept = emptied(NAMESPACE, "new"), HomeStore()
    recovery(store, topics, homes=Homes(kept, "here")).recover_all([NAMESPACE, "new"])
    homes = {name: Home.parse(kept.home(name)) for name in (NAMESPACE, "new")}
    assert {name: home and (home.epoch, home.former) for name, home in homes.items()} == {
        NAMESPACE: (4, "this-store"),
        "new": (1, ""),
    }


def test_a_store_takes_over_what_another_had_unless_it_has_a_namespace_of_that_name(two: Topics) -> None:
    kept = HomeStore()
    with pytest.raises(AnotherStore, match="clusters of its own"):
        recovery(filled(NAMESPACE), two, homes=Homes(kept, "elsewhere")).adopt()
    assert kept.kept == {}
    store = emptied(NAMESPACE, OTHER)
    assert recovery(store, two, homes=Homes(kept, "elsewhere")).adopt() == {NAMESPACE: 2, OTHER: 2}
    home = Home.parse(kept.home(NAMESPACE))
    assert home is not None
    assert (home.epoch, home.former) == (4, "this-store")


def test_progress_is_told_with_its_end_once_that_is_known() -> None:
    assert str(Progress("shop")).endswith("comparing it with the cluster topic")
    assert str(Progress("shop", 1000, 20_000)).endswith("1,000 of 20,000 clusters")
