"""A decision as the output topic carries it; the schema is `load_schema("decision")`."""

from __future__ import annotations

import orjson

from questream.domain import Decision, Question, format_cluster_id
from questream.records.times import format_time
from questream.records.versions import SCHEMA_VERSION


def encode_decision(question: Question, decision: Decision) -> bytes:
    """The JSON of a decision, without the text; similarities to 6 decimals, time in RFC 3339 with milliseconds."""
    source = question.record.source
    runner_up = decision.runner_up
    margin = decision.margin
    return orjson.dumps(
        {
            "question_id": question.id,
            "namespace": question.namespace,
            "cluster_id": None if decision.cluster_id is None else format_cluster_id(decision.cluster_id),
            "similarity": None if decision.similarity is None else _similarity(decision.similarity),
            "outcome": decision.outcome,
            "cluster_size": decision.cluster_size,
            "runner_up": None
            if runner_up is None
            else {
                "cluster_id": format_cluster_id(runner_up.cluster_id),
                "similarity": _similarity(runner_up.similarity),
            },
            "margin": None if margin is None else round(float(margin), 6),
            "label": decision.label,
            "route": decision.route,
            "confidence": decision.confidence,
            "suggested_route": decision.suggested_route,
            "model": decision.model,
            "threshold": decision.threshold,
            "truncated": decision.truncated,
            "unknown_share": round(decision.unknown_share, 6),
            "checked_by": decision.checked_by,
            "reason": decision.reason,
            "path": decision.path,
            "prepared_by": question.prepared_by or None,
            "source": {
                "topic": source.topic,
                "partition": source.partition,
                "offset": source.offset,
                "timestamp": source.timestamp,
            },
            "decided_at": format_time(decision.decided_at),
            "schema_version": SCHEMA_VERSION,
        }
    )


def _similarity(cosine: float) -> float:
    rounded = round(float(cosine), 6)
    if -1.0 <= rounded <= 1.0:
        return rounded
    # Float32 sums pass 1 by a few units in the last place; the published range is [-1, 1].
    return max(min(rounded, 1.0), -1.0)
