"""What the checker says of a stream at rest."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.campaign.bed import THRESHOLD, Bed
from tests.campaign.schedule import Round
from tests.checker import Evidence, Rules, Violation, Window, check, collect
from tests.vectors import hash_vector


@dataclass
class Verdict:
    """What was looked at, and what was wrong with it."""

    violations: list[Violation] = field(default_factory=list)
    asked: int = 0
    published: Counter[str] = field(default_factory=Counter)


def judge(bed: Bed, plan: Round, losses: Sequence[Window], evidence_file: str) -> Verdict:
    """Let the stream come to rest, and have it checked; the evidence of a broken promise is kept in the bed's folder.

    `losses` are the places that a store may have forgotten, one for each time that it lost its memory.
    """
    with bed.traffic.paused():
        bed.come_to_rest()
        evidence = _collect(bed)
        rules = Rules(
            threshold=THRESHOLD,
            embed=hash_vector,
            mean_questions=plan.options["clusters.mean_questions"],
            centroid_members=plan.options["clusters.centroid_members"],
            delivery=plan.options["delivery"],
            store_lost_memory=bool(losses),
            decided_anew=losses,
        )
        violations = check(evidence, rules)
        if violations:
            (bed.folder / evidence_file).write_bytes(pickle.dumps((evidence, rules)))
        lost = bed.traffic.places - {entry.place for entry in evidence.input}
        assert not lost, f"the broker lost {len(lost)} questions that it had acknowledged"
    return Verdict(violations, len(evidence.input), _published(evidence))


def _collect(bed: Bed) -> Evidence:
    topics = bed.stream.topics
    return collect(
        bed.stream.bootstrap_servers,
        bed.store.url,
        bed.stream.group_id,
        topics.input_topic,
        topics.output_topic,
        topics.cluster_topic,
        topics.dead_letter_topic,
    )


def _published(evidence: Evidence) -> Counter[str]:
    clusters = [cluster for stored in evidence.stored.values() for cluster in stored.clusters.values()]
    return Counter(
        decisions=len(evidence.output),
        dead_letters=len(evidence.dead_letters),
        clusters=len(clusters),
        merged=sum(cluster.merged_into is not None for cluster in clusters),
    )
