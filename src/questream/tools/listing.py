"""The clusters of a namespace as a list that people look through: sorted, searched, page by page."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from questream.clustering.kept_members import KeptMembers
from questream.domain import ClusterState
from questream.errors import QuestreamError
from questream.records.times import parse_time
from questream.tools.searching import searchable_names, searchable_question, searched_words
from questream.tools.sorting import Sort

# A page is sorted among all before it, which are held in memory.
MOST_LISTED = 100_000
_DAY_MS = 24 * 3600 * 1000
_AGO = re.compile(r"(\d{1,5})([smhdw])")
# Growth is sorted by in thousandths of a question a day, similarities as they are kept.
_GROWTH_STEPS = 1000
_SIMILARITY_STEPS = 10_000
_LARGEST_SIZE = 2**40 - 1
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A request for clusters: those with each word of `search` in their id, label, route, name or question.

    `seen_since` in ms since the epoch: only those that a question joined at that time or later. `page` counts from 1.
    """

    sort: Sort = Sort.SIZE
    search: str = ""
    seen_since: int | None = None
    limit: int = 20
    page: int = 1


def list_clusters(
    states: Iterable[ClusterState], listed: Listed, made_names: Mapping[int, str] | None = None
) -> list[ClusterState]:
    """A page of the clusters, some of which have a name that a model made; of equal ones the older comes first.

    Raises QuestreamError for a page too far.
    """
    most = listed.limit * listed.page
    if most > MOST_LISTED:
        raise QuestreamError(
            f"a list ends after {MOST_LISTED:,} clusters",
            "narrow it with --search or --since, or use `clusters export`",
        )
    rank = RANKS[listed.sort]
    words, made = searched_words(listed.search), made_names or {}
    found = (state for state in states if _matches(state, words, listed.seen_since, made.get(state.cluster_id)))
    first = heapq.nlargest(most, found, key=lambda state: (rank(state), -state.cluster_id))
    return first[most - listed.limit :]


def questions_per_day(state: ClusterState) -> float:
    """The questions per day of a cluster, from its first question to its last; of less than a day, its size."""
    return state.size / max(1.0, (state.last_seen_at - state.created_at) / _DAY_MS)


def parse_since(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch, of a time, or of a time span before `now_ms`: 90m, 24h, 7d.

    Raises ValueError for what is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now_ms - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1)
    return parse_time(text.strip())


def _lowest_similarity(state: ClusterState) -> float:
    """The lowest at which one of the questions joined that a cluster keeps references to; 1 where none did."""
    kept = KeptMembers.parse(state.kept_members)
    return min((one.similarity for one in kept.doubtful if one.similarity is not None), default=1.0)


def _matches(state: ClusterState, words: list[str], seen_since: int | None, made_name: str | None) -> bool:
    if seen_since is not None and state.last_seen_at < seen_since:
        return False
    if not words:
        return True
    text = f"{searchable_names(state)}\n{searchable_question(state, made_name)}"
    return all(word in text for word in words)


# The keys that a list is sorted by, the greatest first and the older of equal ones: whole numbers, to be a column.
RANKS: Mapping[Sort, Callable[[ClusterState], int]] = {
    Sort.SIZE: lambda state: state.size,
    Sort.NEW: lambda state: state.created_at,
    Sort.SEEN: lambda state: state.last_seen_at,
    Sort.GROWTH: lambda state: round(questions_per_day(state) * _GROWTH_STEPS),
    Sort.UNLABELLED: lambda state: _with_size(state.label is None, state),
    Sort.DOUBTFUL: lambda state: _with_size(round((1 - _lowest_similarity(state)) * _SIMILARITY_STEPS), state),
}


def _with_size(rank: int, state: ClusterState) -> int:
    """The rank, and of equal ones the size."""
    return rank * (_LARGEST_SIZE + 1) + min(state.size, _LARGEST_SIZE)
