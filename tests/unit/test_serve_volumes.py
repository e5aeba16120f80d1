"""Questions of clusters by day, counted from decisions, and what a cluster is doing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as changed

import orjson
import pytest

from questream.broker.port import Partition
from questream.domain import ClusterState
from questream.records.times import format_time
from questream.server.activity import activity_of
from questream.server.volumes import DAYS, Volume, Volumes
from tests.kit.serving import client_of, store_with

DAY_MS = 86_400_000
# Six hours of UTC begin here.
NOW_MS = 1_800_000_000_000 // DAY_MS * DAY_MS
TEXTS = ["Where is my parcel?", "How do I pay?"]


@dataclass(frozen=True)
class Record:
    """A record of the output topic as a consumer hands it out."""

    value: bytes
    offset: int
    timestamp: int = 0
    topic: str = "decisions"
    partition: int = 0
    key: bytes | None = None
    headers: tuple[()] = ()


def decision(offset: int, time_ms: int, cluster: str = "c1", **more: object) -> Record:
    document = {
        "namespace": "shop",
        "cluster_id": cluster,
        "outcome": "joined",
        "decided_at": format_time(time_ms),
        "source": {"timestamp": time_ms},
        "schema_version": 1,
        **more,
    }
    return Record(orjson.dumps(document), offset)


def counted(records: Iterable[Record], now_ms: int = NOW_MS) -> Volumes:
    """Volumes of a topic that was read whole, from its beginning."""
    volumes = Volumes(1000, lambda: now_ms)
    volumes._known_from = {Partition("decisions", 0): 0}
    volumes._is_read = True
    for record in records:
        volumes.take(record)
    return volumes


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
    volumes = Volumes(1000, lambda: clock[0])
    volumes._is_read = True
    for at, time in enumerate((NOW_MS - 15 * DAY_MS, NOW_MS, NOW_MS - 14 * DAY_MS)):
        volumes.take(decision(at, time))
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
    assert Volumes(1000).of("shop", [1]) is None


OPEN = ClusterState(
    1, "shop", "updated", 9, 9, None, None, "text", None, None, NOW_MS - 30 * DAY_MS, NOW_MS - DAY_MS, "m", 1
)


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
