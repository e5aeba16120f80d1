"""The clusters of one namespace, held in memory in columns, so that a list of 100,000 is sorted in milliseconds."""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from questream.clustering.second_look.kept import unpack
from questream.domain import ClusterState, InFlight
from questream.naming.names import Vocabulary, name_of
from questream.server.activity import ACTIVITIES, STATUSES, Activity, activities
from questream.server.volumes import Weeks
from questream.tools.communities import LARGEST_SIZE, Clusters, Lazy
from questream.tools.listing import RANKS
from questream.tools.searching import searchable_names, searchable_question, searched_words
from questream.tools.sorting import Sort

_FIRST_CAPACITY = 1024
_MOST_MERGED_SHOWN = 100
# The number of clusters that are no more which a catalogue remembers.
_MOST_GONE = 200_000
_MOST_MERGED = 1_000_000
_MOST_NAMES_KEPT = 10_000
# A record's timestamp is any 64-bit number that its producer sent.
_LARGEST = 2**61
_FOREVER = sys.maxsize
# By meaning all clusters are near to some degree: those that people look at are so many.
MOST_NEAR = 200
_NEARNESS_STEPS = 1_000_000
_LARGEST_SIZE = 2**40 - 1


class ServedSort(StrEnum):
    """An order that only a server can find: those nearest in meaning come first.

    By activity those come first that people look at first, in the order of `ACTIVITIES`, and of each the largest.
    """

    MEANING = "meaning"
    ACTIVITY = "activity"


Order = Sort | ServedSort


@dataclass(frozen=True, slots=True)
class Nearness:
    """The similarities of clusters to a text by their ids, both (count,), the ids in ascending order."""

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Query:
    """A request for clusters; `label` is an exact one, and empty for clusters without a label.

    Each word of `text` is searched for in ids, labels and routes, and in names and representative questions if
    `in_questions`. With `near` those that are nearest come instead, `MOST_NEAR` on all pages. The activity of a
    cluster is found from `lately`, at the time `now_ms`.
    """

    sort: Order = Sort.SIZE
    text: str = ""
    in_questions: bool = True
    near: Nearness | None = None
    label: str | None = None
    activity: Activity | None = None
    lately: Weeks | None = None
    now_ms: int = 0
    limit: int = 50
    after: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of clusters, how many there are on all pages, and where the next page begins, if there is one.

    `similarities` to what was searched for by its meaning are by id.
    """

    clusters: Clusters
    total: int
    next: tuple[int, int] | None
    similarities: dict[int, float] = field(default_factory=dict)

    @property
    def states(self) -> Sequence[ClusterState]:
        """The clusters, in their order."""
        return self.clusters.states


class Catalogue:
    """The live clusters of a namespace, without vectors; of two states of a cluster the later revision counts.

    For any thread.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.vocabulary = Vocabulary()
        self._guard = threading.Lock()
        self._row_of: dict[int, int] = {}
        self._states: list[ClusterState] = []
        self._names: list[str] = []
        self._questions: list[str] = []
        self._made: dict[int, str] = {}
        self._shown: dict[int, tuple[tuple[int, int], str | None]] = {}
        self._columns: dict[str, NDArray[np.int64]] = {
            name: np.zeros(_FIRST_CAPACITY, np.int64) for name in ("id", "label", "status", *Sort)
        }
        # A number for each label, by which it is found quickly; 0 for none.
        self._label_numbers: dict[str, int] = {"": 0}
        # By id, the revision at which a cluster went: a state that was read before must not bring it back.
        self._gone: dict[int, int] = {}
        self._merged: dict[int, set[int]] = {}
        # The same the other way round.
        self._into: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    @property
    def questions(self) -> int:
        """The number of questions of all clusters."""
        with self._guard:
            return int(self._columns[Sort.SIZE][: len(self._states)].sum())

    def put(self, states: Iterable[ClusterState]) -> None:
        """These are the clusters' states, or were lately."""
        for state in states:
            with self._guard:
                if state.event == "retired" or state.merged_into is not None:
                    self._remove(state)
                elif state.revision > self._gone.get(state.cluster_id, -1):
                    if state.cluster_id in self._gone:
                        self._return(state.cluster_id)
                    self._put(state)

    def find(self, query: Query) -> Listing:
        """The clusters that a query asks for, the first `limit` of them after the place `after`."""
        wanted = [] if query.near else searched_words(query.text)
        with self._guard:
            count = len(self._states)
            rows: NDArray[np.int64] = np.arange(count)
            if wanted:
                rows = np.array(self._rows_with(wanted, query.in_questions), np.int64)
            if query.label is not None:
                rows = rows[self._columns["label"][rows] == self._label_numbers.get(query.label, -1)]
            doing = self._doing(query) if query.activity or query.sort is ServedSort.ACTIVITY else rows
            if query.activity is not None:
                rows = rows[doing[rows] == ACTIVITIES.index(query.activity)]
            if query.near is not None:
                rows, keys = self._nearest(rows, query.near)
            elif query.sort is ServedSort.ACTIVITY:
                sizes = np.minimum(self._columns[Sort.SIZE][rows], _LARGEST_SIZE)
                keys = (len(ACTIVITIES) - doing[rows]) * (_LARGEST_SIZE + 1) + sizes
            else:
                keys = self._columns[query.sort][rows]
            total, ids = len(rows), self._columns["id"][rows]
            if query.after is not None:
                key, cluster_id = query.after
                left = (keys < key) | ((keys == key) & (ids > cluster_id))
                rows, keys, ids = rows[left], keys[left], ids[left]
            order = np.lexsort((ids, -keys))[: query.limit]
            # A search of the tree asks for all that match, and looks at a few hundred.
            clusters = self._clusters(Lazy(rows[order], list(self._states).__getitem__), rows[order])
            is_last = len(rows) <= query.limit or not len(order)
            last = None if is_last else (int(keys[order[-1]]), int(ids[order[-1]]))
        near = dict(zip(ids.tolist(), (keys / _NEARNESS_STEPS).tolist(), strict=True)) if query.near else {}
        return Listing(clusters, total, last, near)

    def states(self) -> list[ClusterState]:
        """All live clusters, in no order."""
        with self._guard:
            return list(self._states)

    def clusters(self) -> Clusters:
        """The same in columns."""
        with self._guard:
            return self._clusters(list(self._states), np.arange(len(self._states)))

    def put_names(self, made: Mapping[int, str]) -> None:
        """These are all names that a language model made."""
        with self._guard:
            changed = {one for one in {*made, *self._made} if made.get(one) != self._made.get(one)}
            self._made = dict(made)
            self._shown.clear()
            for row in (self._row_of[one] for one in changed if one in self._row_of):
                self._questions[row] = self._searchable(self._states[row])

    def made_name(self, cluster_id: int) -> str | None:
        """The name that a language model made for a cluster, if one did."""
        return self._made.get(cluster_id)

    def name_of(self, state: ClusterState) -> str | None:
        """The name of a cluster, as `names.name_of`: what was found for a state is kept, since a page has hundreds."""
        known = self._shown.get(state.cluster_id)
        version = state.revision, self.vocabulary.stage
        if known is not None and known[0] == version:
            return known[1]
        name = name_of(state, self.vocabulary, self.made_name(state.cluster_id))
        with self._guard:
            row = self._row_of.get(state.cluster_id)
            # A state from before its texts were erased must not bring words of them back.
            if row is not None and self._states[row].revision == state.revision:
                if len(self._shown) >= _MOST_NAMES_KEPT:
                    self._shown.clear()
                self._shown[state.cluster_id] = version, name
        return name

    def get(self, cluster_id: int) -> ClusterState | None:
        """A live cluster, or None."""
        with self._guard:
            row = self._row_of.get(cluster_id)
            return None if row is None else self._states[row]

    def separations(self, cluster_ids: Iterable[int]) -> dict[int, tuple[tuple[str, ...], int]]:
        """The live ones of these clusters, and the number of the last operation on each."""
        with self._guard:
            rows = {number: row for number in cluster_ids if (row := self._row_of.get(number)) is not None}
            states = {number: self._states[row] for number, row in rows.items()}
        return {number: (state.ruling.separations, state.operation) for number, state in states.items()}

    def missing(self, up_to: int, most: int) -> list[int]:
        """The ids below `up_to` that no live cluster has, at most the newest so many."""
        with self._guard:
            return [i for i in range(max(1, up_to - most), up_to) if i not in self._row_of]

    def with_merged(self, cluster_ids: Iterable[int]) -> list[int]:
        """These ids, and their aliases by now, a hundred of each at most."""
        found = list(cluster_ids)
        with self._guard:
            merged = [one for one in found if one in self._merged]
        return found + [number for one in merged for number in self.merged_into(one)]

    def merged_into(self, cluster_id: int) -> list[int]:
        """The aliases of this cluster, oldest first; a hundred at most."""
        with self._guard:
            found: set[int] = set()
            left = [cluster_id]
            while left and len(found) < _MOST_MERGED_SHOWN:
                for one in self._merged.get(left.pop(), set()) - found:
                    found.add(one)
                    left.append(one)
            return sorted(found)[:_MOST_MERGED_SHOWN]

    def _clusters(self, states: Sequence[ClusterState], rows: NDArray[np.int64]) -> Clusters:
        """The states of these rows, with their columns."""
        ids, sizes, labels = (self._columns[name][rows] for name in ("id", Sort.SIZE, "label"))
        return Clusters(states, ids, np.minimum(sizes, LARGEST_SIZE), labels)

    def _doing(self, query: Query) -> NDArray[np.int64]:
        """The activity of each cluster, by row, as indexes of `ACTIVITIES`."""
        count = len(self._states)
        columns = {name: column[:count] for name, column in self._columns.items()}
        week, before = np.zeros(count, np.int64), None
        if query.lately is not None:
            at, counted = self._rows_of(query.lately.ids)
            np.add.at(week, at, query.lately.week[counted])
            if query.lately.before is not None:
                before = np.zeros(count, np.int64)
                np.add.at(before, at, query.lately.before[counted])
        return activities(columns["status"], columns[Sort.NEW], columns[Sort.SEEN], week, before, query.now_ms)

    def _rows_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of what became of these ids, and the places of those among `ids` that live on."""
        rows = [self._row_of.get(self._last(number), -1) for number in ids.tolist()]
        found = np.array(rows, np.int64)
        living = np.flatnonzero(found >= 0)
        return found[living], living

    def _last(self, cluster_id: int) -> int:
        """The survivor of a cluster; of an alias that leads in a circle, any of its clusters."""
        for _ in range(_MOST_MERGED_SHOWN):
            if cluster_id in self._row_of or cluster_id not in self._into:
                break
            cluster_id = self._into[cluster_id]
        return cluster_id

    def _nearest(self, rows: NDArray[np.int64], near: Nearness) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of these rows the nearest ones, and how near they are, in whole steps."""
        ids = self._columns["id"][rows]
        places = np.minimum(np.searchsorted(near.ids, ids), max(0, len(near.ids) - 1))
        known = near.ids[places] == ids if len(near.ids) else np.zeros(len(ids), bool)
        rows, places = rows[known], places[known]
        keys = np.round(near.similarities[places] * _NEARNESS_STEPS).astype(np.int64)
        first = np.lexsort((ids[known], -keys))[:MOST_NEAR]
        return rows[first], keys[first]

    def _rows_with(self, words: list[str], in_questions: bool) -> list[int]:
        rows = list(range(len(self._names)))
        # Word by word: what the first leaves is little, most often.
        for word in words:
            names, questions = self._names, self._questions
            rows = [at for at in rows if word in names[at] or (in_questions and word in questions[at])]
        return rows

    def _put(self, state: ClusterState) -> None:
        row = self._row_of.get(state.cluster_id)
        if row is None:
            row = len(self._states)
            if row == len(self._columns["id"]):
                self._columns = {name: np.resize(column, 2 * row) for name, column in self._columns.items()}
            self._row_of[state.cluster_id] = row
            self._states.append(state)
            self._names.append("")
            self._questions.append("")
            self.vocabulary.add(unpack(state.features))
        elif self._states[row].revision > state.revision:
            return
        elif self._states[row].features != state.features:
            self.vocabulary.remove(unpack(self._states[row].features))
            self.vocabulary.add(unpack(state.features))
        self._shown.pop(state.cluster_id, None)
        self._states[row] = replace(state, vector_sum=None, in_flight=InFlight())
        self._names[row] = searchable_names(state)
        self._questions[row] = self._searchable(state)
        values: dict[str, int] = {
            "status": STATUSES.index(state.status),
            "id": state.cluster_id,
            "label": self._label_numbers.setdefault(state.label or "", len(self._label_numbers)),
        }
        values |= {sort.value: rank(state) for sort, rank in RANKS.items()}
        for name, value in values.items():
            self._columns[name][row] = max(-_LARGEST, min(value, _LARGEST))

    def _return(self, cluster_id: int) -> None:
        """A cluster that was merged away is there again."""
        if (parent := self._into.pop(cluster_id, None)) is not None:
            self._merged[parent].discard(cluster_id)
        del self._gone[cluster_id]

    def _searchable(self, state: ClusterState) -> str:
        return searchable_question(state, self._made.get(state.cluster_id))

    def _remove(self, state: ClusterState) -> None:
        self._gone[state.cluster_id] = _FOREVER if state.event == "retired" else state.revision
        if len(self._gone) > _MOST_GONE:
            self._gone.pop(next(iter(self._gone)))
        if state.merged_into is not None and len(self._into) < _MOST_MERGED:
            if (parent := self._into.get(state.cluster_id)) is not None:
                self._merged[parent].discard(state.cluster_id)
            self._into[state.cluster_id] = state.merged_into
            self._merged.setdefault(state.merged_into, set()).add(state.cluster_id)
        self._shown.pop(state.cluster_id, None)
        row = self._row_of.pop(state.cluster_id, None)
        if row is None:
            return
        self.vocabulary.remove(unpack(self._states[row].features))
        last = len(self._states) - 1
        if row != last:
            for column in (self._names, self._questions):
                column[row] = column[last]
            self._states[row] = self._states[last]
            self._row_of[self._states[row].cluster_id] = row
            for numbers in self._columns.values():
                numbers[row] = numbers[last]
        self._states.pop()
        self._names.pop()
        self._questions.pop()


def encode_cursor(sort: Order, place: tuple[int, int]) -> str:
    """A place in a list, for a link to what follows."""
    return base64.urlsafe_b64encode(f"{sort}:{place[0]}:{place[1]}".encode()).decode().rstrip("=")


def decode_cursor(sort: Order, cursor: str) -> tuple[int, int]:
    """The inverse of `encode_cursor`. Raises ValueError for what is no cursor of a list that is sorted so."""
    try:
        name, key, cluster_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(":")
        place = int(key), int(cluster_id)
    except (ValueError, UnicodeError):
        raise ValueError("the cursor is not one that a list gave") from None
    if name != sort or not all(abs(number) <= _LARGEST for number in place):
        raise ValueError("the cursor is of a list that is sorted otherwise")
    return place
