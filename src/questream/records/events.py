"""An event of a cluster as CloudEvents 1.0 tells it; the schema is `load_schema("cluster-event")`."""

from __future__ import annotations

from typing import Any

from questream.events.detector import DetectedEvent
from questream.records.times import format_time
from questream.records.versions import SCHEMA_VERSION


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
