"""The text form of a ledger entry: `<first> <last> <json>`.

The JSON holds what makes each decision: the worker writes all of it but `clusters`, which the store adds, since only it
knows the sizes: {cluster id: [size before the batch, label, route]}. `unknown`, {offset: share}, is left out where no
question has a share of unknown words.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from questream.domain import Decision, RunnerUp
from questream.store.protocol import Ledger, LedgerRow, PartitionBatch, Proposal, Standing


def entry_prefix(batch: PartitionBatch, proposal: Proposal) -> bytes:
    """The entry up to its open `clusters` field."""
    rows = [
        [
            row.offset,
            row.cluster_id,
            row.similarity,
            int(row.created),
            row.rank,
            row.runner_up.cluster_id if row.runner_up else 0,
            row.runner_up.similarity if row.runner_up else 0,
            int(row.truncated),
        ]
        for row in batch.rows
    ]
    body = {
        "decided_at": proposal.decided_at,
        "model": proposal.model,
        "threshold": proposal.threshold,
        "rows": rows,
    }
    unknown = {str(row.offset): row.unknown_share for row in batch.rows if row.unknown_share}
    if unknown:
        body["unknown"] = unknown
    return f"{batch.first} {batch.last} ".encode() + orjson.dumps(body)[:-1] + b',"clusters":'


def head_entry(offset: int) -> bytes:
    """An entry without decisions: all offsets up to this one count as decided."""
    body = {"decided_at": 0, "model": "", "threshold": 0, "rows": [], "clusters": {}}
    return f"{offset} {offset} ".encode() + orjson.dumps(body)


def entry_head(entry: bytes) -> int:
    """The last offset of an entry."""
    return int(entry.split(b" ", 2)[1])


def parse_ledger(entries: Iterable[bytes], incarnation: str) -> Ledger:
    """The recorded decisions behind the entries, oldest first."""
    head = -1
    decisions: dict[int, Decision] = {}
    for entry in entries:
        _, last, text = entry.split(b" ", 2)
        head = max(head, int(last))
        body = orjson.loads(text)
        unknown = body.get("unknown", {})
        for offset, cluster_id, similarity, created, rank, runner_up, runner_up_similarity, truncated in body["rows"]:
            size_before, label, route = body["clusters"][str(cluster_id)]
            decisions[offset] = Decision(
                cluster_id=cluster_id,
                similarity=similarity,
                outcome="created" if created else "joined",
                cluster_size=size_before + rank,
                runner_up=RunnerUp(runner_up, runner_up_similarity) if runner_up else None,
                label=label or None,
                route=route or None,
                model=body["model"],
                threshold=body["threshold"],
                truncated=bool(truncated),
                decided_at=body["decided_at"],
                unknown_share=unknown.get(str(offset), 0.0),
            )
    return Ledger(head, decisions, incarnation)


def decide(row: LedgerRow, standing: Standing, joins: int, proposal: Proposal) -> Decision:
    """The decision of a committed row: exactly what `parse_ledger` gives for it on a replay."""
    return Decision(
        cluster_id=row.cluster_id,
        similarity=row.similarity,
        outcome="created" if row.created else "joined",
        cluster_size=standing.size - joins + row.rank,
        runner_up=row.runner_up,
        label=standing.label,
        route=standing.route,
        model=proposal.model,
        threshold=proposal.threshold,
        truncated=row.truncated,
        decided_at=proposal.decided_at,
        unknown_share=row.unknown_share,
    )
