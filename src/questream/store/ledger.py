"""The text form of a ledger entry: `<first> <last> <json>`.

The JSON holds what makes each decision: the worker writes all of it but `clusters`, which the store adds, since only it
knows the sizes: {cluster id: [size before the batch, label, route]}. `unknown`, {offset: share}, is left out where no
question has a share of unknown words; `checked`, {offset: [checked_by, reason or ""]}, where no near cluster got a
second look; `paths`, {cluster id: [topic, intent]}, where no cluster's levels were known; `inherited`, {cluster id:
[label or "", route or ""]} of what the cluster is in, where no such has any; `unmatched`, [[offset, nearest cluster or
0, similarity, truncated, fingerprint]] of the questions without a cluster, which have no row, where there are none;
`confidence`, {offset: probability}, where nothing is fitted; `precision` where all are routed; `thresholds`, {cluster
id: threshold}, where no cluster has one of its own.
`fingerprints` has those of the rows' records, in their order. A later release may add fields to the object, to rows and
to clusters; one that changes what is there writes a `version`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from questream.clustering.stored_levels import inherited
from questream.domain import Decision, Naming, RunnerUp, format_cluster_id
from questream.store.protocol import ClusterRow, Ledger, LedgerRow, PartitionBatch, Proposal
from questream.store.redis.codec import require_version

# More are a later release's.
_ROW_FIELDS = 8
_CLUSTER_FIELDS = 3
_CHECKED_FIELDS = 2
_UNMATCHED_FIELDS = 5


def other_stream(topic: str, identity: str) -> str:
    """The name of a topic for a stream that is not the first to have it. Kafka allows no @ in the name of a topic."""
    return f"{topic}@{hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()}"


def topic_of(stream: str) -> str:
    """The topic of a stream's name in the ledgers."""
    return stream.partition("@")[0]


def in_topic(place: tuple[str, int, int]) -> tuple[str, int, int]:
    """A place of the ledgers as Kafka has it: topic, partition and offset."""
    stream, partition, offset = place
    return topic_of(stream), partition, offset


def entry_prefix(batch: PartitionBatch, proposal: Proposal) -> bytes:
    """The entry up to its open `clusters` field."""
    in_clusters = [row for row in batch.rows if row.cluster_id is not None]
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
        for row in in_clusters
    ]
    body: dict[str, Any] = {
        "decided_at": proposal.decided_at,
        "model": proposal.model,
        "threshold": proposal.threshold,
        "rows": rows,
    }
    if all(row.fingerprint for row in batch.rows):
        body["fingerprints"] = [row.fingerprint for row in in_clusters]
    unmatched = [_unmatched(row) for row in batch.rows if row.cluster_id is None]
    if unmatched:
        body["unmatched"] = unmatched
    unknown = {str(row.offset): row.unknown_share for row in batch.rows if row.unknown_share}
    if unknown:
        body["unknown"] = unknown
    checked = {str(row.offset): [row.checked_by, row.reason or ""] for row in batch.rows if row.checked_by}
    if checked:
        body["checked"] = checked
    paths = {str(row.cluster_id): row.path[:2] for row in in_clusters if row.path}
    if paths:
        body["paths"] = paths
    confidence = {str(row.offset): row.confidence for row in in_clusters if row.confidence is not None}
    if confidence:
        body["confidence"] = confidence
    thresholds = {str(row.cluster_id): row.threshold for row in in_clusters if row.threshold is not None}
    if thresholds:
        body["thresholds"] = thresholds
    if proposal.routing_precision is not None:
        body["precision"] = proposal.routing_precision
    above = {str(row.cluster_id): [name or "" for name in row.inherited] for row in in_clusters if any(row.inherited)}
    if above:
        body["inherited"] = above
    return f"{batch.first} {batch.last} ".encode() + orjson.dumps(body)[:-1] + b',"clusters":'


def head_entry(offset: int) -> bytes:
    """An entry without decisions: all offsets up to this one count as decided."""
    body = {"decided_at": 0, "model": "", "threshold": 0, "rows": [], "clusters": {}}
    return f"{offset} {offset} ".encode() + orjson.dumps(body)


def parse_ledger(entries: Iterable[bytes], store_epoch: str) -> Ledger:
    """The recorded decisions behind the entries, oldest first."""
    head = -1
    decisions: dict[int, Decision] = {}
    fingerprints: dict[int, str] = {}
    for entry in entries:
        _, last, text = entry.split(b" ", 2)
        head = max(head, int(last))
        body = _body(text)
        unknown, checked, paths, above_of = (
            body.get(name, {}) for name in ("unknown", "checked", "paths", "inherited")
        )
        fingerprints.update(zip((row[0] for row in body["rows"]), body.get("fingerprints", ()), strict=False))
        for one in body.get("unmatched", ()):
            # A release that does not know them leaves them in an entry that it cuts.
            if one[0] <= int(last):
                decisions[one[0]] = _read_unmatched(body, one, unknown, checked)
                fingerprints.update({one[0]: one[4]} if one[4] else {})
        for row in body["rows"]:
            offset, cluster_id, similarity, created, rank, *others = row[:_ROW_FIELDS]
            runner_up, runner_up_similarity, truncated = others
            checked_by, reason = checked.get(str(offset), (None, None))[:_CHECKED_FIELDS]
            levels = paths.get(str(cluster_id))
            size_before, *own = body["clusters"][str(cluster_id)][:_CLUSTER_FIELDS]
            above = above_of.get(str(cluster_id), ["", ""])[:2]
            label, route = ((of_cluster or of_level or None) for of_cluster, of_level in zip(own, above, strict=True))
            confidence = body.get("confidence", {}).get(str(offset))
            route, suggested = routed(route, confidence, body.get("precision"))
            decisions[offset] = Decision(
                cluster_id=cluster_id,
                similarity=similarity,
                outcome="created" if created else "joined",
                cluster_size=size_before + rank,
                runner_up=RunnerUp(runner_up, runner_up_similarity) if runner_up else None,
                label=label,
                route=route,
                model=body["model"],
                threshold=body.get("thresholds", {}).get(str(cluster_id), body["threshold"]),
                truncated=bool(truncated),
                decided_at=body["decided_at"],
                unknown_share=unknown.get(str(offset), 0.0),
                checked_by=checked_by,
                reason=reason or None,
                path=levels and (levels[0], levels[1], format_cluster_id(cluster_id)),
                confidence=confidence,
                suggested_route=suggested,
            )
    return Ledger(head, decisions, store_epoch, fingerprints)


def _unmatched(row: LedgerRow) -> list[Any]:
    nearest = row.runner_up.cluster_id if row.runner_up else 0
    return [row.offset, nearest, row.similarity or 0, int(row.truncated), row.fingerprint]


def _read_unmatched(
    body: Mapping[str, Any], read: Sequence[Any], unknown: Mapping[str, float], checked: Mapping[str, Any]
) -> Decision:
    offset, nearest, similarity, truncated = read[: _UNMATCHED_FIELDS - 1]
    checked_by, reason = checked.get(str(offset), (None, None))[:_CHECKED_FIELDS]
    row = LedgerRow(
        offset,
        None,
        similarity if nearest else None,
        False,
        0,
        RunnerUp(nearest, similarity) if nearest else None,
        bool(truncated),
        unknown.get(str(offset), 0.0),
        checked_by=checked_by,
        reason=reason or None,
    )
    return _of_unmatched(row, body["model"], body["threshold"], body["decided_at"])


def _body(text: bytes) -> dict[str, Any]:
    # A text is never worth a decision: what is no UTF-8 in it is shown as such.
    body: dict[str, Any] = orjson.loads(text.decode(errors="replace"))
    require_version(body.get("version"), "the ledger of the namespace")
    return body


def cut_entries(entries: Iterable[bytes], offset: int) -> list[bytes]:
    """The entries without all from `offset` on; offsets before it count as decided."""
    kept = []
    entries = list(entries)
    for entry in entries:
        first, last, text = entry.split(b" ", 2)
        if int(last) < offset:
            kept.append(entry)
        elif int(first) < offset:
            body = _body(text)
            rows = [row for row in body["rows"] if row[0] < offset]
            body |= {"rows": rows, "fingerprints": body.get("fingerprints", [])[: len(rows)]}
            if "unmatched" in body:
                body["unmatched"] = [one for one in body["unmatched"] if one[0] < offset]
            kept.append(b"%b %d " % (first, offset - 1) + orjson.dumps(body))
    return kept or ([head_entry(offset - 1)] if entries and offset > 0 else [])


def decide(row: LedgerRow, cluster_row: ClusterRow, joins: int, proposal: Proposal) -> Decision:
    """The decision of a committed row: exactly what `parse_ledger` gives for it on a replay."""
    label, given = inherited((cluster_row.label, cluster_row.route), row.inherited)
    route, suggested = routed(given, row.confidence, proposal.routing_precision)
    return Decision(
        cluster_id=row.cluster_id,
        similarity=row.similarity,
        outcome="created" if row.created else "joined",
        cluster_size=cluster_row.size - joins + row.rank,
        runner_up=row.runner_up,
        label=label,
        route=route,
        model=proposal.model,
        threshold=proposal.threshold if row.threshold is None else row.threshold,
        truncated=row.truncated,
        decided_at=proposal.decided_at,
        unknown_share=row.unknown_share,
        checked_by=row.checked_by,
        reason=row.reason,
        path=row.path,
        confidence=row.confidence,
        suggested_route=suggested,
    )


def routed(route: str | None, confidence: float | None, precision: float | None) -> Naming:
    """The route of a question and the suggested one, by what the route of its cluster is: one of them at most.

    With a precision a question is routed where its confidence is known, and not less.
    """
    if precision is None or (confidence is not None and confidence >= precision):
        return route, None
    return None, route


def decide_unmatched(row: LedgerRow, proposal: Proposal) -> Decision:
    """As `decide`, of a row without a cluster."""
    return _of_unmatched(row, proposal.model, proposal.threshold, proposal.decided_at)


def _of_unmatched(row: LedgerRow, model: str, threshold: float, decided_at: int) -> Decision:
    return Decision(
        cluster_id=None,
        similarity=row.similarity,
        outcome="unmatched",
        cluster_size=0,
        runner_up=row.runner_up,
        label=None,
        route=None,
        model=model,
        threshold=threshold,
        truncated=row.truncated,
        decided_at=decided_at,
        unknown_share=row.unknown_share,
        checked_by=row.checked_by,
        reason=row.reason,
    )
