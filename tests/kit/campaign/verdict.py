"""What the checker says of a stream at rest."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.kit.campaign.bed import THRESHOLD, Bed
from tests.kit.campaign.eras import whole, window_of
from tests.kit.campaign.schedule import Round
from tests.kit.checker import Evidence, Rules, Violation, Window, check
from tests.kit.vectors import hash_vector


@dataclass
class Verdict:
    """What was looked at, and what was wrong with it."""

    violations: list[Violation] = field(default_factory=list)
    asked: int = 0
    published: Counter[str] = field(default_factory=Counter)


def judge(bed: Bed, plan: Round, losses: Sequence[tuple[int, Window]], evidence_file: str) -> Verdict:
    """Let the stream come to rest, and have it checked; the evidence of a broken promise is kept in the bed's folder.

    `losses` are the places that a store may have forgotten, one for each time that it lost its memory, with the life
    of the input topic that they are of.
    """
    with bed.traffic.paused(), bed.operator.paused():
        last = bed.evidence_at_rest()
        evidence = whole(last, bed.eras)
        rules = Rules(
            threshold=THRESHOLD,
            embed=hash_vector,
            mean_questions=plan.options["clusters.mean_questions"],
            centroid_members=plan.options["clusters.centroid_members"],
            delivery=plan.options["delivery"],
            store_lost_memory=bool(losses),
            decided_anew=[window_of(era, window, len(bed.eras)) for era, window in losses],
            operated=bed.operator.operated(sorted(last.input_begins)),
        )
        violations = check(evidence, rules)
        if violations:
            (bed.folder / evidence_file).write_bytes(pickle.dumps((evidence, rules)))
        lost = bed.traffic.places - {entry.place for entry in last.input}
        assert not lost, f"the broker lost {len(lost)} questions that it had acknowledged"
    return Verdict(violations, len(evidence.input), _published(evidence))


def _published(evidence: Evidence) -> Counter[str]:
    clusters = [cluster for stored in evidence.stored.values() for cluster in stored.clusters.values()]
    return Counter(
        decisions=len(evidence.output),
        dead_letters=len(evidence.dead_letters),
        clusters=len(clusters),
        operations=len(evidence.operations or ()),
        merged=sum(cluster.merged_into is not None for cluster in clusters),
    )
