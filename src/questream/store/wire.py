"""The form of a namespace in Redis: key names, and what the fields of hashes and log entries hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, MeanMoved
from questream.domain import ClusterEvent, ClusterState, InFlight, Vector
from questream.store.protocol import Standing, Tail

_FLOAT32 = np.dtype("<f4")
STATE_FIELDS = [
    *("members", "sum", "size", "revision", "label", "route", "created", "seen", "representative", "merged_into"),
    *("labelled", "joins", "absorbed", "retired"),
]
# No hash has a field of the empty name: it is answered with null, as the sum of a merged cluster is.
SUMMARY_FIELDS = ["" if name == "sum" else name for name in STATE_FIELDS]


class Keys:
    """The names of all keys of questream in one Redis, which begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.namespaces = f"{prefix}:namespaces"
        # Which stream has the name of a topic in the ledgers: name to identity.
        self.streams = f"{prefix}:streams"

    def of(self, namespace: str, name: str) -> str:
        """The braces are Redis Cluster's hash tag: all keys of a namespace live in one slot."""
        return f"{self._prefix}:{{{namespace}}}:{name}"

    def cluster(self, namespace: str, cluster_id: int) -> str:
        """The hash of a cluster."""
        return self.of(namespace, f"cluster:{cluster_id}")

    def ledger(self, namespace: str, topic: str, partition: int) -> str:
        """The ledger of a partition."""
        return self.of(namespace, f"ledger:{topic}:{partition}")


def to_bytes(vector: Vector) -> bytes:
    return vector.astype(_FLOAT32, copy=False).tobytes()


def from_bytes(raw: bytes) -> Vector:
    return np.frombuffer(raw, _FLOAT32).astype(np.float32, copy=False)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()


def parse_standing(cluster_id: int, fields: Sequence[Any]) -> Standing:
    size, revision, label, route, created, seen, representative, joins, absorbed = fields
    return Standing(
        cluster_id,
        int(size),
        int(revision),
        _text(label),
        _text(route),
        int(created),
        int(seen),
        _text(representative),
        parse_in_flight(joins, absorbed),
    )


def partition_name(topic: str, partition: int) -> str:
    """How a partition is called within a value: a topic's name has no slash."""
    return f"{topic}/{partition}"


def parse_in_flight(joins: bytes | None, absorbed: bytes | None) -> InFlight:
    by_partition = {}
    for name, offsets in (orjson.loads(joins) if joins else {}).items():
        topic, partition = name.split("/")
        # Lua's JSON has no empty list.
        by_partition[topic, int(partition)] = tuple(map(int, offsets or ()))
    return InFlight(by_partition, tuple(map(int, absorbed.split())) if absorbed else ())


def _joins_text(in_flight: InFlight) -> str | None:
    joins = {partition_name(*at): offsets for at, offsets in in_flight.joins.items()}
    return orjson.dumps(joins).decode() if joins else None


def state_fields(state: ClusterState) -> dict[str, str]:
    """The fields of a cluster's hash, but for its revision and sum."""
    fields = {
        "size": state.size,
        "members": state.members if state.vector_sum is not None else None,
        "label": state.label,
        "route": state.route,
        "created": state.created_at,
        "seen": state.last_seen_at,
        "representative": state.representative,
        "merged_into": state.merged_into,
        "labelled": state.revision if state.event == "labelled" else None,
        "joins": _joins_text(state.in_flight),
        "absorbed": " ".join(map(str, state.in_flight.absorbed)) or None,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def parse_state(namespace: str, cluster_id: int, model: str, fields: Sequence[bytes | None]) -> ClusterState:
    members, vector_sum, size, revision, label, route, created, seen = fields[:8]
    representative, merged_into, labelled, joins, absorbed, retired = fields[8:]
    event: ClusterEvent = "updated"
    if retired is not None:
        event = "retired"
    elif merged_into is not None:
        event = "merged"
    elif labelled is not None and labelled == revision:
        event = "labelled"
    return ClusterState(
        cluster_id=cluster_id,
        namespace=namespace,
        event=event,
        size=int(size or 0),
        members=int(members or 0),
        vector_sum=None if vector_sum is None else from_bytes(vector_sum),
        merged_into=None if merged_into is None else int(merged_into),
        representative=_text(representative),
        label=_text(label),
        route=_text(route),
        created_at=int(created or 0),
        last_seen_at=int(seen or 0),
        model=model,
        revision=int(revision or 0),
        in_flight=parse_in_flight(joins, absorbed),
    )


def parse_tail(seq: int, entries: Sequence[Any] | None) -> Tail:
    if entries is None:
        return Tail(seq, None)
    return Tail(seq, [parse_change(dict(zip(fields[::2], fields[1::2], strict=True))) for _, fields in entries])


def parse_change(fields: dict[bytes, bytes]) -> Change:
    if b"moved" in fields:
        return ClusterMoved(int(fields[b"moved"]), int(fields[b"members"]), from_bytes(fields[b"sum"]))
    if b"removed" in fields:
        return ClusterRemoved(int(fields[b"removed"]))
    return MeanMoved(int(fields[b"mean"]), from_bytes(fields[b"sum"]))
