"""The part of a cluster that may be another: proposed from the questions that it keeps, for people to look at."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from questream.domain import ClusterState, Matrix, format_cluster_id
from questream.errors import OperationRefused
from questream.operations import KnownQuestion
from questream.settings import Settings
from questream.store.ledger import topic_of
from questream.tools.kept_questions import KeptQuestions, kept_in_order
from questream.tools.members import First
from questream.tools.questions import Encodes

_ROUNDS = 20


def proposed_part(settings: Settings, namespace: str, state: ClusterState, encoder: Encodes) -> list[KnownQuestion]:
    """Of the questions that a cluster keeps, the smaller of the two groups that differ most.

    Raises OperationRefused where fewer than two of them differ, or can be read again; KafkaUnavailable, KafkaRefused.
    """
    with closing(KeptQuestions(settings)) as kept:
        members = kept.read(state.cluster_id, namespace, kept_in_order(state, First.TYPICAL))
    read = [(one, one.question) for one in members if one.question is not None]
    vectors = encoder.encode([question.text for _, question in read]) if read else np.zeros((0, 1), np.float32)
    apart = smaller_group(vectors)
    if not apart.any():
        raise OperationRefused(
            f"the questions that {format_cluster_id(state.cluster_id)} keeps do not fall into two groups",
            "name those that are another part by their ids, or give examples with --text",
        )
    keeps = settings.clusters.keep_texts
    return [
        KnownQuestion(
            state.cluster_id,
            vector,
            (topic_of(member.topic), *member.published.place),
            question.text if keeps else None,
            question.id,
            question.record.key,
        )
        for is_apart, vector, (member, question) in zip(apart, vectors, read, strict=True)
        if is_apart
    ]


def smaller_group(vectors: Matrix) -> NDArray[np.bool_]:
    """Which unit vectors (n, d) are of the smaller of two groups, by k-means from the two that differ most.

    None where all are alike. Of groups of one size the one without the first vector.
    """
    nobody = np.zeros(len(vectors), np.bool_)
    if len(vectors) < 2:
        return nobody
    cosines = vectors @ vectors.T
    one, other = np.unravel_index(int(np.argmin(cosines)), cosines.shape)
    if cosines[one, other] > 1 - 1e-6:
        return nobody
    of_other = cosines[:, other] > cosines[:, one]
    for _ in range(_ROUNDS):
        centres = [vectors[group].sum(axis=0) for group in (~of_other, of_other)]
        nearness = [vectors @ (centre / max(float(np.linalg.norm(centre)), 1e-12)) for centre in centres]
        moved = nearness[1] > nearness[0]
        if moved.all() or not moved.any() or (moved == of_other).all():
            break
        of_other = moved
    counts = int((~of_other).sum()), int(of_other.sum())
    is_other_smaller = counts[1] < counts[0] or (counts[0] == counts[1] and not of_other[0])
    return of_other if is_other_smaller else ~of_other
