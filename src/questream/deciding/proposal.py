"""From a plan to a proposal: what a batch asks of the store, and what it does to a mirror once it is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Choice, Plan
from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.clustering.mirror import Change, ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import Rules
from questream.clustering.second_look.kept import pack
from questream.domain import REPRESENTATIVE_CHARACTERS, RunnerUp, Source
from questream.store.protocol import ClusterUpdate, LedgerRow, MeanUpdate, PartitionBatch, Proposal
from questream.store.retention import FUTURE_ALLOWANCE_SECONDS

SIMILARITY_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Arrival:
    """A question as the clusters see it: its position in Kafka, and its text should it found a cluster.

    `fresh`: when it was read, the ledger of its partition ended before it. `fingerprint` is its record's.
    """

    source: Source
    text: str
    truncated: bool = False
    fresh: bool = False
    unknown_share: float = 0.0
    fingerprint: str = ""


def ledger_row(arrival: Arrival, choice: Choice, rules: Rules, model: str, threshold: float | None = None) -> LedgerRow:
    """The ledger row of a choice by these rules, of vectors of the model (`model_mark`).

    `threshold` is that of the cluster where it has one of its own.
    """
    similarity = round(choice.similarity, SIMILARITY_DIGITS)
    return LedgerRow(
        arrival.source.offset,
        choice.cluster_id,
        similarity if choice.runner_up or not choice.is_unmatched else None,
        choice.created,
        choice.rank,
        rounded(choice.runner_up),
        arrival.truncated,
        round(arrival.unknown_share, SIMILARITY_DIGITS),
        arrival.fingerprint,
        choice.checked_by,
        choice.reason,
        confidence=rules.confidence_of(similarity, model) if choice.joins else None,
        threshold=threshold,
    )


def rounded(runner_up: RunnerUp | None) -> RunnerUp | None:
    """A runner-up as it is recorded."""
    if runner_up is None:
        return None
    return RunnerUp(runner_up.cluster_id, round(runner_up.similarity, SIMILARITY_DIGITS))


def propose(
    mirror: Mirror,
    assigner: BatchAssigner,
    plan: Plan,
    arrivals: Sequence[Arrival],
    rows: Sequence[LedgerRow],
    published_below: Mapping[tuple[str, int], int],
    heads: Mapping[tuple[str, int], int],
    *,
    model: str,
    threshold: float,
    decided_at: int,
    keep_texts: bool,
    turn: str = "",
    turn_stretch: int = 1,
    routing_precision: float | None = None,
) -> Proposal:
    """The batch as the store takes it; `rows` are those of the arrivals, in their order.

    `heads` are the offsets that the ledgers of partitions were last seen to end at.
    """
    partitions: dict[tuple[str, int], list[LedgerRow]] = {}
    for arrival, row in zip(arrivals, rows, strict=True):
        partitions.setdefault(arrival.source.place, []).append(row)
    sums = assigner.vector_sums(plan)
    # A producer whose clock is ahead must not move stream time, by which clusters are retired.
    latest = decided_at + FUTURE_ALLOWANCE_SECONDS * 1000
    cluster_updates = []
    for touched in plan.touched.values():
        features = pack(touched.kept)
        founder = arrivals[touched.questions[0]].text if touched.created and keep_texts else None
        cluster_updates.append(
            ClusterUpdate(
                cluster_id=touched.cluster_id,
                joins=len(touched.questions),
                expected_members=touched.expected_members,
                members=touched.members,
                vector_sum=sums.get(touched.cluster_id),
                # A record without a timestamp has -1.
                seen_at=min(latest, max(0, *(arrivals[i].source.timestamp for i in touched.questions))),
                representative=founder and founder[:REPRESENTATIVE_CHARACTERS],
                features=features if touched.learned and features != mirror.kept(touched.cluster_id) else None,
                kept_members=str(KeptMembers.of([_member(arrivals[i], rows[i]) for i in touched.questions])),
            )
        )
    mean = None
    if plan.mean_learned:
        questions = mirror.mean_questions + plan.mean_learned
        mean = MeanUpdate(mirror.mean_questions, questions, assigner.mean_sum(plan))
    return Proposal(
        store_epoch=mirror.store_epoch,
        seq=mirror.seq,
        partitions=[
            PartitionBatch(*at, of_partition, published_below.get(at, 0), heads.get(at, -1))
            for at, of_partition in partitions.items()
        ],
        cluster_updates=cluster_updates,
        mean=mean,
        model=model,
        threshold=threshold,
        decided_at=decided_at,
        turn=turn,
        turn_stretch=turn_stretch,
        routing_precision=routing_precision,
    )


def _member(arrival: Arrival, row: LedgerRow) -> KeptMember:
    place = (*arrival.source.place, arrival.source.offset)
    return KeptMember(place, None if row.created else row.similarity, row.fingerprint)


def changes_of(proposal: Proposal) -> list[Change]:
    """The changes of the clusters by a committed proposal."""
    changes: list[Change] = [
        ClusterMoved(update.cluster_id, update.members, update.vector_sum, update.features)
        for update in proposal.cluster_updates
        if update.vector_sum is not None
    ]
    if proposal.mean is not None:
        changes.append(MeanMoved(proposal.mean.questions, proposal.mean.vector_sum))
    return changes
