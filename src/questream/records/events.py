"""An event of a cluster as a CloudEvent 1.0; the schema is `load_schema("cluster-event")`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from questream.events.detector import DetectedEvent
from questream.records.times import format_time, parse_time
from questream.records.versions import SCHEMA_VERSION, is_known
from questream.settings import NAMESPACE_PATTERN

_NAMESPACE = re.compile(NAMESPACE_PATTERN)
_CLUSTER = re.compile(r"^c[1-9][0-9]{0,18}$")
_KIND = re.compile(r"^[a-z]{1,32}$")
_MOST_ID_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """An event of a record; times in ms since the epoch. A later release may know more kinds.

    `other` is the cluster that it was merged into, split from or may be merged with; `suggestion`
    is what may be done: merge, name or split.
    """

    id: str
    namespace: str
    cluster_id: str
    kind: str
    time_ms: int
    since_ms: int
    count: int
    expected: float
    other: str | None = None
    suggestion: str | None = None


def event_document(namespace: str, event: DetectedEvent, topic: str) -> dict[str, Any]:
    """The event in structured JSON; `topic` is the output topic that it was found in. It holds no text."""
    time = format_time(event.time_ms)
    return {
        "specversion": "1.0",
        "id": f"{namespace}/{event.cluster}/{event.kind}/{time}",
        "source": f"urn:questream:topic:{topic}",
        "type": f"questream.cluster.{event.kind}",
        "subject": event.cluster,
        "time": time,
        "datacontenttype": "application/json",
        "data": {
            "namespace": namespace,
            "cluster_id": event.cluster,
            "kind": event.kind,
            "since": format_time(event.since_ms),
            "count": event.count,
            "expected": round(event.expected, 3),
            "schema_version": SCHEMA_VERSION,
        },
    }


def read_event(value: bytes | None) -> ClusterEvent:
    """A record of the topic of events. Raises ValueError for what is none, or none that this release knows."""
    try:
        document = orjson.loads(value or b"")
        data = document["data"]
        event = ClusterEvent(
            id=document["id"],
            namespace=data["namespace"],
            cluster_id=data["cluster_id"],
            kind=data["kind"],
            time_ms=parse_time(document["time"]),
            since_ms=parse_time(data["since"]),
            count=int(data["count"]),
            expected=float(data["expected"]),
            other=data.get("into") or data.get("from") or data.get("with"),
            # Events of an earlier release have only the other cluster.
            suggestion=data.get("suggestion", "merge" if "with" in data else None),
        )
        is_event = (
            is_known(data["schema_version"])
            and len(event.id) <= _MOST_ID_CHARACTERS
            and event.id.isprintable()
            and _NAMESPACE.fullmatch(event.namespace)
            and _CLUSTER.fullmatch(event.cluster_id)
            and (event.other is None or _CLUSTER.fullmatch(event.other))
            and _KIND.fullmatch(event.kind)
            and (event.suggestion is None or _KIND.fullmatch(event.suggestion))
            and 0 <= event.count < 2**53
            and 0 <= event.expected < 2**53
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("no event of a cluster") from error
    if not is_event:
        raise ValueError("no event of a cluster")
    return event
