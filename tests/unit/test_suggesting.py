"""Merges that people's decisions forbid are suggested to them, until they answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.clustering.merging import propose_merges
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.operations import By, Decisions, merge_clusters
from questream.operations.mixed_clusters import looks_like_two
from questream.operations.suggesting import Suggestion, find_suggestions
from questream.store.reference.store import MemoryStore

NAMESPACE = "default"
ANN = By("ann")


class Stream:
    """Clusters that open at a cosine below 0.9, and merge at 0.8 and above: two that are 0.85 alike do at once."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clusterer = QuestionClusterer(
            dimension=8, threshold=0.9, merge_threshold=0.8, similarity="cosine", linkage="average", store=self.store
        )
        self.decisions = Decisions(self.store, NAMESPACE, ANN)

    def ask(self, axis: int, cosine: float = 1.0) -> int:
        """A question so alike to the one of an axis; the number of its cluster."""
        vector = np.zeros((1, 8), np.float32)
        vector[0, axis], vector[0, axis + 1] = cosine, (1 - cosine**2) ** 0.5
        return int(self.clusterer.assign(vector).ids[0])

    def suggested(self, most: int = 100) -> list[Suggestion]:
        """What people are asked now."""
        states = {state.cluster_id: state for state in self.store.summaries(NAMESPACE)}
        return find_suggestions(self.store.load(NAMESPACE), states, self.clusterer.rules, most)

    def pairs(self) -> list[tuple[int, int]]:
        """The ids of what people are asked now."""
        return [(one.clusters[0].cluster_id, one.clusters[1].cluster_id) for one in self.suggested()]


def test_questions_look_like_two_clusters_where_nothing_would_merge_these() -> None:
    stream = Stream()
    mirror, rules = stream.store.load(NAMESPACE), stream.clusterer.rules
    same, near, far = (
        np.eye(8, dtype=np.float32)[[0, 0, 0]],
        np.zeros((2, 8), np.float32),
        np.eye(8, dtype=np.float32)[[3, 3]],
    )
    near[:, :2] = 0.85, (1 - 0.85**2) ** 0.5
    assert looks_like_two(mirror, rules, (same, far))
    assert not looks_like_two(mirror, rules, (same, near))
    # One question that is far from all others is no cluster.
    assert not looks_like_two(mirror, rules, (same, far[:1]))
    assert not looks_like_two(mirror, rules, (same, far[:0]))


def test_a_loose_cluster_in_one_piece_does_not_look_like_two() -> None:
    """However it is parted, its parts are as alike as its questions, which together are looser than a merge allows."""
    rows = np.concatenate([np.full((12, 1), 0.7**0.5), 0.3**0.5 * np.eye(12)], axis=1).astype(np.float32)
    rules = Rules(0.74, 0.74, similarity="cosine")
    assert not looks_like_two(Mirror(13), rules, (rows[:6], rows[6:]))
    assert looks_like_two(Mirror(13), replace(rules, merge_threshold=0.9), (rows[:6], rows[6:]))


def two_named(stream: Stream, first: tuple[str, str], second: tuple[str, str], axis: int = 0) -> tuple[int, int]:
    """Two near clusters: the first one is pinned until both are named."""
    one = stream.ask(axis)
    pin = stream.decisions.commit(stream.decisions.mark("pin", one))
    other = stream.ask(axis, 0.85)
    stream.decisions.commit(stream.decisions.label(one, *first))
    stream.decisions.commit(stream.decisions.label(other, *second))
    stream.decisions.commit(stream.decisions.undo(pin.number))
    return one, other


def test_a_pinned_cluster_that_would_merge_is_suggested() -> None:
    stream = Stream()
    one = stream.ask(0)
    stream.decisions.commit(stream.decisions.mark("pin", one))
    other = stream.ask(0, 0.85)
    far = stream.ask(3)
    (found,) = stream.suggested()
    assert [state.cluster_id for state in found.clusters] == [one, other]
    assert (found.forbidden_by, found.size) == (("pin",), 2)
    assert far not in {state.cluster_id for state in found.clusters}


@pytest.mark.parametrize(
    ("first", "second", "forbidden_by"),
    [
        (("refunds", "money"), ("fraud", "money"), ("label",)),
        (("refunds", "money"), ("refunds", "cards"), ("route",)),
        (("refunds", "money"), ("fraud", "cards"), ("label", "route")),
    ],
)
def test_what_the_two_differ_in_is_told(
    first: tuple[str, str], second: tuple[str, str], forbidden_by: tuple[str, ...]
) -> None:
    stream = Stream()
    two_named(stream, first, second)
    (found,) = stream.suggested()
    assert found.forbidden_by == forbidden_by


def test_a_suggestion_is_what_the_store_refuses_a_worker() -> None:
    stream = Stream()
    one, other = two_named(stream, ("refunds", ""), ("fraud", ""))
    mirror = stream.store.load(NAMESPACE)
    merges = propose_merges(mirror, [one, other], stream.clusterer.rules)
    reply = stream.store.merge(NAMESPACE, mirror.store_epoch, mirror.seq, merges)
    assert (reply.applied, len(reply.apart)) == ([], 1)
    assert stream.pairs() == [(one, other)]


def test_a_merge_that_nothing_forbids_is_left_to_the_workers() -> None:
    stream = Stream()
    one = stream.ask(0)
    pin = stream.decisions.commit(stream.decisions.mark("pin", one))
    stream.ask(0, 0.85)
    stream.decisions.commit(stream.decisions.label(one, "refunds", None))
    assert len(stream.pairs()) == 1
    stream.decisions.commit(stream.decisions.undo(pin.number))
    assert stream.pairs() == []


def test_what_people_separated_is_an_answer_and_can_be_taken_back() -> None:
    stream = Stream()
    one, other = two_named(stream, ("refunds", ""), ("fraud", ""))
    separated = stream.decisions.commit(stream.decisions.separate(one, other))
    assert stream.pairs() == []
    stream.decisions.commit(stream.decisions.undo(separated.number))
    assert stream.pairs() == [(one, other)]


def test_an_accepted_suggestion_is_gone() -> None:
    stream = Stream()
    one, other = two_named(stream, ("refunds", ""), ("fraud", ""))
    merge_clusters(stream.store, NAMESPACE, one, other, lambda *_: True)
    assert stream.pairs() == []


def test_all_pairs_of_one_cluster_are_found_the_largest_first() -> None:
    stream = Stream()
    near = two_named(stream, ("refunds", ""), ("fraud", ""))
    larger = two_named(stream, ("cards", ""), ("loans", ""), axis=4)
    for _ in range(3):
        stream.ask(4)
    assert stream.pairs() == [larger, near]
    assert [one.clusters[0].cluster_id for one in stream.suggested(1)] == [larger[0]]


def test_nothing_is_changed_by_looking() -> None:
    stream = Stream()
    two_named(stream, ("refunds", ""), ("fraud", ""))
    before = list(stream.store.clusters(NAMESPACE))
    stream.suggested()
    after = list(stream.store.clusters(NAMESPACE))
    assert [state.revision for state in before] == [state.revision for state in after]
