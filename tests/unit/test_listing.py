from __future__ import annotations

from dataclasses import replace

import pytest

from questream.domain import ClusterState, Ruling
from questream.errors import QuestreamError
from questream.tools.listing import Listed, list_clusters, parse_since
from questream.tools.sorting import Sort

DAY = 24 * 3600 * 1000


def cluster(
    cluster_id: int, size: int, created_at: int, last_seen_at: int, label: str | None = None, text: str = ""
) -> ClusterState:
    return ClusterState(
        cluster_id,
        "bank",
        "updated",
        size,
        size,
        None,
        None,
        text,
        created_at,
        last_seen_at,
        "m",
        1,
        ruling=Ruling(label),
    )


CLUSTERS = [
    cluster(1, 90, 0, 90 * DAY, "card arrival", "Where is my card?"),
    cluster(2, 40, 80 * DAY, 84 * DAY, None, "I lost my PIN"),
    cluster(3, 5, 89 * DAY, 89 * DAY + 1000, None, "Is the exchange rate fair?"),
    cluster(4, 40, 10 * DAY, 50 * DAY, None, "Close my account"),
]


def listed(**wanted: object) -> list[int]:
    return [state.cluster_id for state in list_clusters(iter(CLUSTERS), Listed(**wanted))]  # type: ignore[arg-type]  # any of its fields


def test_what_took_a_question_at_the_lowest_similarity_is_the_most_doubtful() -> None:
    kept = {1: ";;t/0/1:0.9000:00 t/0/2:0.9500:00", 2: ";;t/0/3:0.7200:00", 4: ";;t/0/4:0.8000:00"}
    states = [replace(one, kept_members=kept.get(one.cluster_id, "")) for one in CLUSTERS]
    found = list_clusters(iter(states), Listed(sort=Sort.DOUBTFUL))
    assert [state.cluster_id for state in found] == [2, 4, 1, 3]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (Sort.SIZE, [1, 2, 4, 3]),
        (Sort.NEW, [3, 2, 4, 1]),
        (Sort.SEEN, [1, 3, 2, 4]),
        (Sort.GROWTH, [2, 3, 1, 4]),
        (Sort.UNLABELLED, [2, 4, 3, 1]),
    ],
)
def test_a_list_is_sorted_and_of_equal_clusters_the_older_comes_first(sort: Sort, order: list[int]) -> None:
    assert listed(sort=sort) == order


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ARRIVAL", [1]),
        ("pin", [2]),
        ("c4", [4]),
        (" my ", [1, 2, 4]),
        ("account close", [4]),
        ("card pin", []),
    ],
)
def test_a_search_finds_ids_names_and_questions_without_regard_to_case(search: str, found: list[int]) -> None:
    assert listed(search=search) == found


def test_pages_follow_each_other_and_end() -> None:
    assert [listed(limit=3, page=page) for page in (1, 2, 3)] == [[1, 2, 4], [3], []]
    with pytest.raises(QuestreamError, match="ends after"):
        listed(limit=1000, page=101)


def test_only_clusters_with_a_question_since_then_are_listed() -> None:
    assert listed(seen_since=84 * DAY) == [1, 2, 3]


def test_a_time_or_a_span_before_now_is_read() -> None:
    assert parse_since("7d", 10 * DAY) == 3 * DAY
    assert parse_since("90m", DAY) == DAY - 90 * 60 * 1000
    assert parse_since("1970-01-02T01:00:00+01:00", 0) == DAY
    for nonsense in ("yesterday", "7", "-7d", "1.5h", "2026-11-24", "999999d", ""):
        with pytest.raises(ValueError, match=r".*"):
            parse_since(nonsense, 0)
