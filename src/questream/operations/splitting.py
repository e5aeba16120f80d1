"""Questions that people name become a cluster of their own at once: the part of a cluster, or what fits in no other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import Kept, keep, pack
from questream.domain import REPRESENTATIVE_CHARACTERS, Operation, Ruling
from questream.errors import OperationRefused
from questream.operations.binding import Change, KnownQuestion, adding, exemplars_of
from questream.store.protocol import OpenedCluster


@dataclass(frozen=True, slots=True)
class Part:
    """The cluster that a part becomes, and how it is ruled; `leave` is what the cluster is ruled by that it leaves."""

    opened: OpenedCluster
    ruling: Ruling
    leave: Change


def part_of(questions: Sequence[KnownQuestion], names: Sequence[str], separation: str) -> Part:
    """A cluster of these questions that has learned from them and counts none yet.

    What is near them goes there, and the cluster that they leave turns it away. The two are separated. Raises
    OperationRefused for no questions, and for more than a cluster keeps exemplars.
    """
    if not questions:
        raise OperationRefused("no question is named", "name those that are another part")
    turn_away = adding(exemplars_of("cannot", [f"{name}x" for name in names], questions))

    def leave(ruling: Ruling) -> Ruling:
        changed = turn_away(ruling)
        return replace(changed, separations=(*changed.separations, f"{separation}+"))

    ruling, opened = cluster_of(questions, names)
    return Part(opened, replace(ruling, separations=(f"{separation}-",)), leave)


def cluster_of(questions: Sequence[KnownQuestion], names: Sequence[str]) -> tuple[Ruling, OpenedCluster]:
    """The cluster that questions open, which has learned from them and counts none yet: what is near them goes there.

    Raises OperationRefused for more than a cluster keeps exemplars.
    """
    put = adding(exemplars_of("must", names, questions))
    texts = [one.text for one in questions if one.text is not None]
    kept: Kept = ()
    for text in texts:
        kept = keep(kept, features(text))
    opened = OpenedCluster(
        len(questions),
        np.sum([one.vector for one in questions], axis=0, dtype=np.float32),
        time.time_ns() // 1_000_000,
        pack(kept),
        texts[0][:REPRESENTATIVE_CHARACTERS] if texts else None,
    )
    return put(Ruling()), opened


def opened_by(operation: Operation) -> list[int]:
    """The clusters that an operation opened."""
    if operation.kind not in ("intents", "reject", "split"):
        return []
    return [
        cluster_id
        for cluster_id, after in operation.after.items()
        if operation.before[cluster_id] == Ruling() and any(one.kind == "must" for one in after.exemplars)
    ]
