"""Questions of clusters by day, counted from decisions, and what a cluster is doing."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace as changed

import orjson
import pytest

from questream.domain import ClusterState, Ruling
from questream.events.detector import DetectedEvent
from questream.events.kinds import EventKind
from questream.operations import By, Decisions
from questream.records.events import event_document
from questream.server.activity import ACTIVITIES, Activity, activity_of
from questream.server.board import EventBoard
from questream.server.catalogue import Catalogue, Listing, Order, Query, ServedSort
from questream.server.volumes import DAYS, Volume, Volumes
from questream.store.reference.store import MemoryStore
from questream.tools.sorting import Sort
from tests.kit.counted import DAY_MS, NOW_MS, Record, counted, decision
from tests.kit.serving import add_clusters, client_of, store_with

TEXTS = ["Where is my parcel?", "How do I pay?"]


def of(volumes: Volumes, *cluster_ids: int) -> Volume:
    found = volumes.of("shop", cluster_ids)
    assert found is not None
    return found


def test_questions_are_counted_by_day_and_the_running_one_is_last() -> None:
    times = [NOW_MS, NOW_MS - 1, NOW_MS - DAY_MS + 6 * 3_600_000, NOW_MS - 2 * DAY_MS]
    found = of(counted(decision(at, time) for at, time in enumerate(times)), 1)
    assert found.days == (0,) * (DAYS - 3) + (1, 0, 3)
    assert found.week == 4


def test_what_is_older_than_two_weeks_is_not_counted_and_leaves_in_time() -> None:
    clock = [NOW_MS]
    volumes = Volumes(1000, 0.1, lambda: clock[0])
    volumes._is_read = True
    for at, time_ms in enumerate((NOW_MS - 15 * DAY_MS, NOW_MS, NOW_MS - 14 * DAY_MS)):
        volumes.take(decision(at, time_ms))
    assert sum(of(volumes, 1).days) == 1
    clock[0] += 13 * DAY_MS
    assert of(volumes, 1).days == (1,) + (0,) * (DAYS - 1)
    clock[0] += DAY_MS
    assert sum(of(volumes, 1).days) == 0


def test_a_cluster_has_the_questions_of_what_became_part_of_it() -> None:
    volumes = counted([decision(0, NOW_MS, "c1"), decision(1, NOW_MS, "c2"), decision(2, NOW_MS, "c3")])
    assert of(volumes, 1, 2, 99).week == 2


def test_a_record_is_counted_once_and_what_is_no_decision_not_at_all() -> None:
    record = decision(5, NOW_MS)
    others = [
        Record(b"no json", 6),
        decision(7, NOW_MS, outcome="replayed"),
        decision(8, NOW_MS + 2 * DAY_MS),
        decision(9, NOW_MS, cluster="nine"),
    ]
    assert of(counted([record, record, *others]), 1).days[-1] == 1


def test_more_clusters_than_may_be_are_forgotten_the_one_asked_for_longest_ago_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("questream.server.volumes._MOST_CLUSTERS", 3)
    volumes = counted(decision(at, NOW_MS, f"c{number}") for at, number in enumerate((1, 2, 3, 1, 4, 4)))
    assert [of(volumes, number).week for number in (1, 2, 3, 4)] == [2, 0, 1, 2]
    assert len(volumes._row_of) == 3


def test_clusters_beyond_the_first_thousand_are_counted() -> None:
    volumes = counted(decision(number, NOW_MS, f"c{number + 1}") for number in range(1100))
    assert [of(volumes, number).week for number in (1, 1024, 1025, 1100, 1101)] == [1, 1, 1, 1, 0]


def test_nothing_is_told_until_the_topic_is_read() -> None:
    assert Volumes(1000, 0.1).of("shop", [1]) is None


OPEN = ClusterState(1, "shop", "updated", 9, 9, None, None, "text", NOW_MS - 30 * DAY_MS, NOW_MS - DAY_MS, "m", 1)


def weeks(before: int, last: int) -> Volume:
    return Volume((before, *(0,) * 6, last, *(0,) * 6), DAYS)


@pytest.mark.parametrize(
    ("change", "volume", "told"),
    [
        ({}, weeks(20, 60), "growing"),
        ({}, weeks(20, 24), "steady"),
        ({}, weeks(2, 5), "steady"),
        ({}, weeks(60, 20), "steady"),
        ({}, None, None),
        ({}, changed(weeks(20, 60), known_days=9), None),
        ({"created_at": NOW_MS - DAY_MS}, None, "new"),
        ({"last_seen_at": NOW_MS - 8 * DAY_MS}, None, "quiet"),
    ],
)
def test_a_cluster_is_new_growing_steady_or_quiet(
    change: Mapping[str, int], volume: Volume | None, told: str | None
) -> None:
    assert activity_of(changed(OPEN, **change), volume, NOW_MS) == told  # type: ignore[arg-type]


def in_each_state(now_ms: int = NOW_MS) -> tuple[list[ClusterState], Volumes]:
    """A cluster in each state, c1 growing to c6 resolved, and what was counted of them; c7 has become a part of c1."""
    old = changed(OPEN, created_at=now_ms - 30 * DAY_MS, last_seen_at=now_ms - DAY_MS, size=9)
    states = [
        old,
        changed(old, cluster_id=2, ruling=Ruling(resolved_size=8)),
        changed(old, cluster_id=3, created_at=now_ms - DAY_MS),
        changed(old, cluster_id=4),
        changed(old, cluster_id=5, last_seen_at=now_ms - 9 * DAY_MS),
        changed(old, cluster_id=6, ruling=Ruling(resolved_size=9)),
        changed(old, cluster_id=7, event="merged", merged_into=1, revision=2),
    ]
    asked = [("c1", 1)] * 5 + [("c7", 1)] * 20 + [("c7", 9)] * 4 + [("c4", 1)] * 5 + [("c4", 9)] * 5
    volumes = counted((decision(at, now_ms - days * DAY_MS, one) for at, (one, days) in enumerate(asked)), now_ms)
    return states, volumes


def test_clusters_are_sorted_and_filtered_by_what_they_do() -> None:
    states, volumes = in_each_state()
    catalogue = Catalogue("shop")
    catalogue.put(states)
    lately = volumes.weeks("shop")

    def found(sort: Order, activity: Activity | None, after: tuple[int, int] | None = None) -> Listing:
        query = Query(sort, activity=activity, lately=lately, now_ms=NOW_MS, limit=4, after=after)
        return catalogue.find(query)

    page = found(ServedSort.ACTIVITY, None)
    rest = found(ServedSort.ACTIVITY, None, page.next)
    assert [state.cluster_id for state in (*page.states, *rest.states)] == [1, 2, 3, 4, 5, 6]
    told = [one for one in ACTIVITIES if one]
    for at, activity in enumerate(told, 1):
        assert [state.cluster_id for state in found(Sort.SIZE, activity).states] == [at]


def test_a_list_and_its_filter_agree_of_each_cluster_and_no_topic_is_needed() -> None:
    states, volumes = in_each_state()
    catalogue = Catalogue("shop")
    catalogue.put(states)
    for lately in (volumes.weeks("shop"), None):
        for state in states[:6]:
            merged = catalogue.merged_into(state.cluster_id)
            volume = None if lately is None else of(volumes, state.cluster_id, *merged)
            told = activity_of(state, volume, NOW_MS)
            for activity in (one for one in ACTIVITIES if one):
                listed = catalogue.find(Query(activity=activity, lately=lately, now_ms=NOW_MS)).states
                assert (state.cluster_id in [one.cluster_id for one in listed]) == (told == activity)


def test_a_cluster_that_parted_again_counts_for_itself() -> None:
    states, volumes = in_each_state()
    catalogue = Catalogue("shop")
    catalogue.put([*states, changed(states[6], event="updated", merged_into=None, revision=3)])
    growing = Query(activity="growing", lately=volumes.weeks("shop"), now_ms=NOW_MS)
    assert [state.cluster_id for state in catalogue.find(growing).states] == [7]


def test_close_calls_are_counted_and_told_in_list_and_page() -> None:
    clock = 1_800_000_000_000 + 8 * DAY_MS
    similarities = [0.71, 0.79, 0.81, 0.95]
    joined = [decision(at, clock, similarity=one, threshold=0.7) for at, one in enumerate(similarities)]
    opened = decision(9, clock, "c2", outcome="created", similarity=0.71, threshold=0.7)
    client = client_of(store_with({"shop": TEXTS}), volumes=counted([*joined, opened], clock))
    shares = [one["doubtful_share"] for one in client.get("/api/v1/namespaces/shop/clusters").json()["clusters"]]
    assert shares == [0.5, 0.0]
    page = client.get("/n/shop/clusters").text
    assert "50 % doubtful" in page
    assert page.count("% doubtful") == 1


def test_the_page_filters_by_state_and_keeps_what_else_was_chosen() -> None:
    client = client_of(store_with({"shop": TEXTS}), volumes=counted([]))
    page = client.get("/n/shop/clusters", params={"activity": "new", "q": "parcel", "label": ""}).text
    assert "Where is my parcel?" in page
    assert "How do I pay?" not in page
    assert 'href="/n/shop/clusters?sort=seen&amp;q=parcel&amp;label=&amp;activity=new"' in page
    assert "None is growing now." in client.get("/n/shop/clusters", params={"activity": "growing"}).text
    api = client.get("/api/v1/namespaces/shop/clusters", params={"activity": "new", "sort": "activity"}).json()
    assert {one["activity"] for one in api["clusters"]} == {"new"}
    assert client.get("/api/v1/namespaces/shop/clusters", params={"activity": "asleep"}).status_code == 422


def test_a_list_tells_days_and_the_page_draws_them() -> None:
    store = store_with({"shop": TEXTS})
    clock = 1_800_000_000_000 + 8 * DAY_MS
    volumes = counted([decision(at, clock - at % 3 * DAY_MS) for at in range(9)], clock)
    client = client_of(store, volumes=volumes)
    one, other = client.get("/api/v1/namespaces/shop/clusters").json()["clusters"]
    assert one["days"][-3:] == [3, 3, 3]
    assert sum(other["days"]) == 0
    assert 'aria-label="9 questions in the last 7 days, 0 in the 7 days before"' in client.get("/n/shop/clusters").text
    assert "9 in the last 7 days, 0 in the 7 days before" in client.get("/n/shop/clusters/c1").text


def test_events_and_operations_are_marked_on_their_day() -> None:
    now_ms = time.time_ns() // 1_000_000
    store = MemoryStore(clock=time.time)
    add_clusters(store, "shop", TEXTS)
    made = Decisions(store, "shop", By("anna"))
    made.commit(made.label(1, "Parcel", None))
    board = EventBoard()
    kinds: tuple[EventKind, ...] = ("spiking", "quiet", "returned")
    for at, kind in enumerate(kinds):
        event = DetectedEvent(kind, "c1", now_ms - 5 * at * DAY_MS, now_ms - 20 * DAY_MS, 9, 0.5)
        board.take(Record(orjson.dumps(event_document("shop", event, "decisions")), at, topic="events"))
    page = client_of(store, board=board, volumes=counted([], now_ms)).get("/n/shop/clusters/c1").text
    days = re.search(r"Questions of each day.*?</ol>", page, re.DOTALL)
    assert days is not None
    told = [re.findall(r'title="([^"]*)"', day) for day in days[0].split("<li>")[1:]]
    assert [at for at, one in enumerate(told) if one] == [DAYS - 11, DAYS - 6, DAYS - 1]
    assert told[DAYS - 11] == ["returned"]
    assert told[DAYS - 6] == ["quiet"]
    assert sorted(told[DAYS - 1][0].split(", ")) == ["label", "spiking"]
    other = client_of(store, board=board, volumes=counted([], now_ms)).get("/n/shop/clusters/c2").text
    assert 'class="mark"' not in other


def test_a_day_of_a_volume_is_told_for_each_time_in_it() -> None:
    volume = of(counted([decision(0, NOW_MS)]), 1)
    first_ms = volume.ends_at - DAYS * DAY_MS
    times = (first_ms - 1, first_ms, first_ms + DAY_MS - 1, volume.ends_at - 1, volume.ends_at)
    assert [volume.day_of(one) for one in times] == [None, 0, 0, DAYS - 1, None]
