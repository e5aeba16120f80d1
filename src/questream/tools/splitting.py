"""The part of a cluster that may be another: proposed from the questions that it keeps, for people to look at.

Clusters that have one are looked for among the large ones whose questions are least alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.domain import ClusterState, Matrix, Question, format_cluster_id
from questream.errors import OperationRefused
from questream.operations import KnownQuestion
from questream.operations.live import live_cluster
from questream.operations.mixed_clusters import ALIKE, FEWEST_QUESTIONS, looks_like_two, smaller_group
from questream.settings import Settings
from questream.store.protocol import Store
from questream.tools.kept_questions import KeptQuestions, still_kept
from questream.tools.members import First, Member
from questream.tools.questions import Encodes

# Each takes a read of Kafka and a pass of the model for the questions that it keeps.
MOST_LOOKED_AT = 40
_LARGEST = 1000


@dataclass(frozen=True, slots=True)
class MixedCluster:
    """A cluster whose kept questions fall into two groups that nothing would merge; their texts, the larger first."""

    state: ClusterState
    parts: tuple[list[str], list[str]]


def find_mixed_clusters(
    settings: Settings,
    store: Store,
    namespace: str,
    states: Iterable[ClusterState],
    rules: Rules,
    encoder: Encodes,
    mirror: Callable[[], AbstractContextManager[Mirror]],
) -> list[MixedCluster]:
    """Clusters that look like two, the largest first, but for those of which people dismissed that.

    Of the 1,000 largest with eight questions the 40 are looked at whose questions are least alike. The mirror is held
    only while that is found out. Raises KafkaUnavailable, KafkaRefused and what the store raises.
    """
    large = [one for one in states if one.size >= FEWEST_QUESTIONS and "split" not in one.ruling.dismissed]
    large = sorted(large, key=lambda one: (-one.size, one.cluster_id))[:_LARGEST]
    with mirror() as held:
        wide = sorted((one for one in large if one.cluster_id in held.row_of), key=lambda one: _alikeness(held, one))
    found = []
    with closing(KeptQuestions(settings)) as kept:
        for state in store.states(namespace, [one.cluster_id for one in wide[:MOST_LOOKED_AT]]):
            texts = [question.text for _, question in _read(kept, store, namespace, state)]
            vectors = encoder.encode(texts) if texts else np.zeros((0, 1), np.float32)
            apart = smaller_group(vectors)
            with mirror() as held:
                if looks_like_two(held, rules, (vectors[~apart], vectors[apart])):
                    larger, smaller = (list(compress(texts, group)) for group in (~apart, apart))
                    found.append(MixedCluster(state, (larger, smaller)))
    return sorted(found, key=lambda one: (-one.state.size, one.state.cluster_id))


def _alikeness(mirror: Mirror, state: ClusterState) -> float:
    """The mean cosine of two of its questions, as far as its centroid learned from them."""
    return float(mirror.dot_self[mirror.row_of[state.cluster_id]]) / max(1, mirror.member_count(state.cluster_id)) ** 2


def _read(kept: KeptQuestions, store: Store, namespace: str, state: ClusterState) -> list[tuple[Member, Question]]:
    """The questions of a cluster that it still keeps and that can be read again, the most alike first."""
    members = kept.read(state.cluster_id, namespace, still_kept(store, namespace, state, First.TYPICAL))
    return [(one, one.question) for one in members if one.question is not None]


def proposed_part(
    settings: Settings, store: Store, namespace: str, cluster_id: int, encoder: Encodes
) -> list[KnownQuestion]:
    """Of the questions that a cluster keeps, the smaller of the two groups that differ most.

    Raises OperationRefused where fewer than two of them differ, or can be read again; KafkaUnavailable, KafkaRefused.
    """
    kept = _kept_in(settings, store, namespace, cluster_id, encoder)
    apart = smaller_group(_vectors(kept))
    if not apart.any():
        raise OperationRefused(
            f"the questions that {format_cluster_id(cluster_id)} keeps do not fall into two groups",
            "name the questions of the other part by their ids, or give examples with --text",
        )
    return list(compress(kept, apart))


def kept_nearer(
    settings: Settings,
    store: Store,
    namespace: str,
    cluster_id: int,
    encoder: Encodes,
    examples: Sequence[KnownQuestion],
) -> list[KnownQuestion]:
    """Of the questions that a cluster keeps, those nearer to the examples than to the rest. Raises as `proposed_part`.

    The examples themselves are none of them.
    """
    places = {one.place for one in examples}
    kept = [one for one in _kept_in(settings, store, namespace, cluster_id, encoder) if one.place not in places]
    return list(compress(kept, nearer_to(_vectors(examples), _vectors(kept))))


def _kept_in(
    settings: Settings, store: Store, namespace: str, cluster_id: int, encoder: Encodes
) -> list[KnownQuestion]:
    state = live_cluster(store, namespace, cluster_id)
    with closing(KeptQuestions(settings)) as kept:
        read = _read(kept, store, namespace, state)
    vectors = encoder.encode([question.text for _, question in read]) if read else ()
    keeps = settings.clusters.keep_texts
    return [
        KnownQuestion(
            state.cluster_id,
            vector,
            (member.topic, *member.published.place),
            question.text if keeps else None,
            question.id,
            question.record.key,
        )
        for vector, (member, question) in zip(vectors, read, strict=True)
    ]


def _vectors(questions: Sequence[KnownQuestion]) -> Matrix:
    return np.stack([one.vector for one in questions]) if questions else np.zeros((0, 1), np.float32)


def nearer_to(examples: Matrix, vectors: Matrix) -> NDArray[np.bool_]:
    """A mask (n,) of the unit vectors (n, d) nearer to an example (k, d) than, in the mean, to the others that stay.

    The vector with the largest difference is masked first. The last one stays: there is no other to compare it with.
    """
    goes = np.zeros(len(vectors), np.bool_)
    if not len(vectors) or not len(examples):
        return goes
    to_examples = (vectors @ examples.T).max(axis=1)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, 0.0)
    while (others := int((~goes).sum()) - 1) > 0:
        nearer_by = np.where(goes, -np.inf, to_examples - cosines[:, ~goes].sum(axis=1) / others)
        first = int(np.argmax(nearer_by))
        if nearer_by[first] <= ALIKE:
            break
        goes[first] = True
    return goes
