"""What Redis holds of each namespace.

Keys, as DESIGN and the heads of the Lua files have them, all under `questream:{namespace}:` -

- `meta`, hash: model, revision, dimension, seq, next, mean_questions, mean_sum
- `cluster:<number>`, hash: members and sum (both gone once merged away), size, revision, label, route, created, seen,
  representative, merged_into, ruled (`<operation> <p or ->` and the ends of separations; `i5=`: kept in), exemplars
  (`<name>:<kind>:...` of each), represented (`<name>:<place>:<text in base64>`)
- `operations`, hash: `<ms> <json>` by number, `undone:<number>`
- `log`, stream: entries `<seq>-<n>` of `moved id members n sum bytes`, `removed id`, `mean n sum bytes`
- `outbox`, sorted set: clusters whose last change is not known to be published, `0` for the namespace
- `ledger:<topic>:<partition>`, list: `<first> <last> <json>`, the json with rows of
  [offset, cluster, similarity, created, rank, ...] and clusters {number: [size before, label, route]}
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis

from tests.kit.checker.rules import Floats

_DISMISSED = {"n": "name", "s": "split"}
_KEY = re.compile(r"questream:\{(?P<namespace>[^}]*)\}:(?P<name>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StoredCluster:
    """A cluster's hash: live with a `vector_sum` (d,), or an alias that was merged into another number, or neither."""

    number: int
    size: int
    revision: int
    members: int
    vector_sum: Floats | None
    merged_into: int | None
    label: str | None
    route: str | None
    representative: str | None
    created: int
    seen: int
    pinned: bool = False
    muted: bool = False
    resolved_size: int | None = None
    # Suggestions about it that people dismissed.
    dismissed: frozenset[str] = frozenset()
    # The ends of separations, and the names of exemplars.
    bound: frozenset[str] = frozenset()
    # The intent and the topic that people keep it in.
    kept_in: frozenset[str] = frozenset()
    # The name of the question that people chose to represent it.
    represented: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """An entry of the log: a cluster's centroid after a commit or a merge; without members it left the index."""

    seq: int
    number: int
    members: int
    vector_sum: Floats | None


@dataclass(frozen=True, slots=True)
class MeanMoved:
    """An entry of the log: the stream's mean after a commit."""

    seq: int
    questions: int
    vector_sum: Floats


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as the ledger holds it; one without a number is unmatched."""

    number: int | None
    created: bool
    similarity: float
    size: int


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """The ledger of a partition: offsets up to `head` were decided, those still held are in `rows`."""

    head: int
    rows: Mapping[int, Recorded]


@dataclass(slots=True)
class Stored:
    """One namespace in Redis."""

    meta: dict[str, bytes] = field(default_factory=dict)
    clusters: dict[int, StoredCluster] = field(default_factory=dict)
    log: list[Moved | MeanMoved] = field(default_factory=list)
    outbox: list[int] = field(default_factory=list)
    ledgers: dict[tuple[str, int], StoredLedger] = field(default_factory=dict)
    # The id of each operation, by number.
    operations: dict[int, str] = field(default_factory=dict)

    @property
    def rules(self) -> dict[str, Any]:
        """What people set for the namespace."""
        _, _, values = self.meta.get("rules", b"").partition(b" ")
        return dict(json.loads(values)) if values else {}

    @property
    def operations_wait(self) -> bool:
        """True if an operation is not known to be published."""
        return int(self.meta.get("operations_published", 0)) < int(self.meta.get("operation_count", 0))

    @property
    def mean_questions(self) -> int:
        """How many questions the mean has learned from."""
        return int(self.meta.get("mean_questions", 0))

    @property
    def mean_sum(self) -> Floats:
        """The raw sum (d,) of those."""
        raw = self.meta.get("mean_sum")
        return np.zeros(int(self.meta.get("dimension", 0))) if raw is None else to_floats(raw)

    @property
    def next_number(self) -> int:
        """The number that the next cluster gets."""
        return int(self.meta.get("next", 1))

    def root(self, number: int) -> StoredCluster | None:
        """The cluster at the end of the alias chain; None where the chain breaks or never ends."""
        seen: set[int] = set()
        while number not in seen:
            seen.add(number)
            cluster = self.clusters.get(number)
            if cluster is None or cluster.merged_into is None:
                return cluster
            number = cluster.merged_into
        return None


def read_stored(client_or_url: Any) -> dict[str, Stored]:
    """All namespaces in Redis, by name; `client_or_url` is a URL or a client that answers bytes."""
    client = redis.Redis.from_url(client_or_url) if isinstance(client_or_url, str) else client_or_url
    found: dict[str, Stored] = {}
    readers: dict[str, Callable[[Any, bytes, Stored, str], None]] = {
        "meta": _read_meta,
        "cluster": _read_cluster,
        "log": _read_log,
        "outbox": _read_outbox,
        "ledger": _read_ledger,
        "operations": _read_operations,
    }
    for key in client.scan_iter(match="questream:{*}:*", count=1000):
        parts = _KEY.fullmatch(key.decode())
        if parts is None:
            continue
        name, _, rest = parts["name"].partition(":")
        if name in readers:
            readers[name](client, key, found.setdefault(parts["namespace"], Stored()), rest)
    return found


def to_floats(raw: bytes) -> Floats:
    """A vector in float32, little endian."""
    return np.frombuffer(raw, np.dtype("<f4")).astype(np.float64)


def _read_meta(client: Any, key: bytes, stored: Stored, _: str) -> None:
    stored.meta = {name.decode(): value for name, value in client.hgetall(key).items()}


def _read_cluster(client: Any, key: bytes, stored: Stored, rest: str) -> None:
    fields = {name.decode(): value for name, value in client.hgetall(key).items()}
    number = int(rest)

    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    ruled = (text("ruled") or "0 -").split(" ")
    represented = text("represented")
    chosen = represented.split(":") if represented else None
    stored.clusters[number] = StoredCluster(
        number=number,
        size=int(fields.get("size", 0)),
        revision=int(fields.get("revision", 0)),
        members=int(fields.get("members", 0)),
        vector_sum=to_floats(fields["sum"]) if "sum" in fields else None,
        merged_into=int(fields["merged_into"]) if "merged_into" in fields else None,
        label=text("label"),
        route=text("route"),
        representative=base64.b64decode(chosen[2]).decode() if chosen else text("representative"),
        created=int(fields.get("created", 0)),
        seen=int(fields.get("seen", 0)),
        pinned="p" in ruled[1],
        muted="m" in ruled[1],
        resolved_size=int(ruled[1].partition("r")[2]) if "r" in ruled[1] else None,
        dismissed=frozenset(name for flag, name in _DISMISSED.items() if flag in ruled[1]),
        bound=frozenset(
            [
                *(end for end in ruled[2:] if end[0] not in "it"),
                *(one.split(":")[0] for one in (text("exemplars") or "").split()),
            ]
        ),
        kept_in=frozenset(end[:-1] for end in ruled[2:] if end.endswith("=")),
        represented=chosen[0] if chosen else None,
    )


def _read_log(client: Any, key: bytes, stored: Stored, _: str) -> None:
    for entry_id, fields in client.xrange(key):
        seq = int(entry_id.split(b"-")[0])
        if b"moved" in fields:
            moved = Moved(seq, int(fields[b"moved"]), int(fields[b"members"]), to_floats(fields[b"sum"]))
            stored.log.append(moved)
        elif b"removed" in fields:
            stored.log.append(Moved(seq, int(fields[b"removed"]), 0, None))
        elif b"mean" in fields:
            stored.log.append(MeanMoved(seq, int(fields[b"mean"]), to_floats(fields[b"sum"])))


def _read_outbox(client: Any, key: bytes, stored: Stored, _: str) -> None:
    stored.outbox = sorted(int(member) for member in client.zrange(key, 0, -1))


def _read_operations(client: Any, key: bytes, stored: Stored, _: str) -> None:
    fields = {name.decode(): value for name, value in client.hgetall(key).items()}
    stored.operations = {
        int(name): json.loads(value.partition(b" ")[2])["id"] for name, value in fields.items() if name.isdigit()
    }


def _read_ledger(client: Any, key: bytes, stored: Stored, rest: str) -> None:
    topic, _, partition = rest.rpartition(":")
    head, rows = -1, {}
    for entry in client.lrange(key, 0, -1):
        _, last, body = entry.split(b" ", 2)
        head = max(head, int(last))
        document = json.loads(body)
        for offset, number, similarity, created, rank, *_more in document["rows"]:
            if number:
                size = int(document["clusters"][str(number)][0]) + rank
                rows[offset] = Recorded(number, bool(created), similarity, size)
        for offset, _nearest, similarity, *_more in document.get("unmatched", ()):
            rows[offset] = Recorded(None, False, similarity, 0)
    stored.ledgers[topic, int(partition)] = StoredLedger(head, rows)
