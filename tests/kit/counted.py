"""Questions by day, counted from decisions that are in no topic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from questream.broker.port import Partition
from questream.records.times import format_time
from questream.server.volumes import Volumes

DAY_MS = 86_400_000
# Six hours of UTC begin here.
NOW_MS = 1_800_000_000_000 // DAY_MS * DAY_MS


@dataclass(frozen=True)
class Record:
    """A record of the output topic as a consumer hands it out."""

    value: bytes
    offset: int
    timestamp: int = 0
    topic: str = "decisions"
    partition: int = 0
    key: bytes | None = None
    headers: tuple[()] = ()


def decision(offset: int, time_ms: int, cluster: str = "c1", **more: object) -> Record:
    """One of namespace `shop`, unless `more` says otherwise."""
    document = {
        "namespace": "shop",
        "cluster_id": cluster,
        "outcome": "joined",
        "decided_at": format_time(time_ms),
        "source": {"timestamp": time_ms},
        "schema_version": 1,
        **more,
    }
    return Record(orjson.dumps(document), offset)


def counted(records: Iterable[Record], now_ms: int = NOW_MS) -> Volumes:
    """Volumes of a topic that was read whole, from its beginning."""
    volumes = Volumes(1000, 0.1, lambda: now_ms)
    volumes._known_from = {Partition("decisions", 0): 0}
    volumes._is_read = True
    for record in records:
        volumes.take(record)
    return volumes
