"""Clusters in Redis: one script per micro-batch, all keys of a namespace in one slot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import numpy as np
import orjson
import redis
import redis.exceptions

from questream.clustering.merging import Merge
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.domain import ClusterState, NamespaceState
from questream.errors import Contended, IdentityMismatch, StoreLost, StoreRefused, StoreUnavailable
from questream.settings import RedisSettings
from questream.store.connect import connect_redis
from questream.store.ledger import entry_prefix, parse_ledger
from questream.store.protocol import (
    AppliedMerge,
    Committed,
    Identity,
    Ledger,
    Merged,
    Proposal,
    Replayed,
    Stale,
    Tail,
)
from questream.store.wire import (
    STATE_FIELDS,
    cluster_key,
    from_bytes,
    key,
    ledger_key,
    parse_standing,
    parse_state,
    parse_tail,
    to_bytes,
)

_NAMESPACES_KEY = "questream:namespaces"
_LOAD_CHUNK = 1000
_LOAD_ATTEMPTS = 5
# Redis answers with these while it starts, fails over, is full or saves: the same call may succeed later.
_PASSING = re.compile(
    r"LOADING|BUSY|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS|max number of clients"
)
_UNAVAILABLE = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MaxConnectionsError,
    # These two are no RedisError: a cluster none of whose nodes answers, or that has a slot without a node.
    redis.exceptions.RedisClusterException,
    redis.exceptions.SlotNotCoveredError,
    redis.exceptions.ClusterError,
)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the client's errors into ours. The client's texts are dropped: they can quote a command and its data."""
    try:
        yield
    except redis.exceptions.AuthenticationError as error:
        raise StoreRefused("Redis refused the login; check redis.url and redis.password") from error
    except _UNAVAILABLE as error:
        raise StoreUnavailable(f"Redis did not answer: {type(error).__name__}") from error
    except redis.exceptions.RedisError as error:
        code = str(error).split(" ", 1)[0]
        if _PASSING.search(str(error)):
            raise StoreUnavailable(f"Redis cannot take writes now: {code}") from error
        if "NAMESPACE is gone" in str(error):
            raise StoreLost("the namespace is gone from Redis: its data was lost or flushed") from error
        raise StoreRefused(f"Redis refused the call: {type(error).__name__} {code}") from error


def open_store(settings: RedisSettings, log_entries: int = 8192) -> RedisStore:
    """The store that the settings lead to.

    Raises SettingsError if they cannot be used, StoreUnavailable if a Redis Cluster does not answer; any other Redis is
    first asked when it is first used.
    """
    with _translated():
        return RedisStore(connect_redis(settings), log_entries=log_entries)


class RedisStore:
    """The Store on Redis 6.2 or newer, or Valkey: single node, Sentinel or Cluster.

    `client` is a redis.Redis or redis.RedisCluster that answers bytes (redis-py's annotations allow for both bytes and
    str, hence Any). `log_entries` bounds each namespace's log; a worker that falls further behind reloads its mirror.
    """

    def __init__(self, client: Any, *, log_entries: int = 8192) -> None:
        self._client = client
        self._log_entries = log_entries
        folder = resources.files("questream.store") / "lua"
        for name in ("open", "commit", "merge", "label", "confirm", "unpublished", "tail"):
            script = client.register_script((folder / f"{name}.lua").read_text("utf-8"))
            setattr(self, f"_{name}_script", script)
        self._dimensions: dict[str, int] = {}
        self._models: dict[str, str] = {}

    _open_script: Any
    _commit_script: Any
    _merge_script: Any
    _label_script: Any
    _confirm_script: Any
    _unpublished_script: Any
    _tail_script: Any

    @_translated()
    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        self._client.ping()

    @_translated()
    def open(self, namespace: str, identity: Identity) -> None:
        built = self._open_script(
            keys=[key(namespace, "meta")],
            args=[
                identity.model,
                identity.revision,
                identity.dimension,
                identity.similarity,
                identity.linkage,
                identity.threshold,
            ],
        )
        model, revision, dimension = (part.decode() for part in built)
        if (model, revision, int(dimension)) != (identity.model, identity.revision, identity.dimension):
            raise IdentityMismatch(
                f"namespace {namespace!r} was built with model {model!r} revision {revision!r} ({dimension}-d), this"
                f" worker has {identity.model!r} revision {identity.revision!r} ({identity.dimension}-d):"
                " set model.name and model.revision to the former, or clusters.namespace to a new one"
            )
        self._client.sadd(_NAMESPACES_KEY, namespace)
        self._remember(namespace, identity.model, identity.dimension)

    @_translated()
    def load(self, namespace: str) -> Mirror:
        for _ in range(_LOAD_ATTEMPTS):
            mirror = self._read_mirror(namespace)
            tail = self._read_tail(namespace, mirror.seq)
            if tail.changes is not None:
                mirror.apply(tail.changes)
                mirror.seq = tail.seq
                return mirror
        raise Contended(f"the log of namespace {namespace!r} moves faster than its clusters load; raise log_entries")

    @_translated()
    def tail(self, namespace: str, seq: int) -> Tail:
        return self._read_tail(namespace, seq)

    @_translated()
    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        entries = self._client.lrange(ledger_key(namespace, topic, partition), 0, -1)
        return parse_ledger(entries, self._model(namespace))

    @_translated()
    def commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        keys, args = self._commit_call(namespace, proposal)
        reply = self._commit_script(keys=keys, args=args)
        match reply[0]:
            case b"replayed":
                ledgers = {
                    (batch.topic, batch.partition): parse_ledger(entries, self._model(namespace))
                    for batch, entries in zip(proposal.partitions, reply[1], strict=True)
                }
                return Replayed(ledgers)
            case b"stale":
                return Stale(parse_tail(reply[1], reply[2]))
            case _:
                _, seq_before, missed, seq, standings = reply
                return Committed(
                    seq,
                    parse_tail(seq_before, missed),
                    {
                        touch.cluster_id: parse_standing(touch.cluster_id, fields)
                        for touch, fields in zip(proposal.touches, standings, strict=True)
                    },
                )

    @_translated()
    def merge(self, namespace: str, seq: int, merges: Sequence[Merge]) -> Merged:
        header = {
            "seq": seq,
            "log_entries": self._log_entries,
            "merges": [[m.survivor, m.loser, m.survivor_members, m.loser_members] for m in merges],
        }
        keys = [key(namespace, name) for name in ("meta", "log", "idle", "outbox")]
        for merge in merges:
            keys += [cluster_key(namespace, merge.survivor), cluster_key(namespace, merge.loser)]
        sums = [to_bytes(merge.vector_sum) for merge in merges]
        seq_before, missed, seq_after, results = self._merge_script(keys=keys, args=[orjson.dumps(header), *sums])
        applied = [
            AppliedMerge(merge, parse_standing(merge.survivor, result[0]), parse_standing(merge.loser, result[1]))
            for merge, result in zip(merges, results, strict=True)
            if result
        ]
        return Merged(seq_after, parse_tail(seq_before, missed), applied)

    @_translated()
    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        fields = [
            part for name, text in (("label", label), ("route", route)) if text is not None for part in (name, text)
        ]
        while True:
            state = self._state(namespace, cluster_id)
            if state is None:
                raise KeyError(cluster_id)
            cluster_id = state.merged_into or cluster_id
            if state.merged_into is not None:
                continue
            keys = [cluster_key(namespace, cluster_id), key(namespace, "outbox")]
            # 0 where it was merged away in between: then its survivor is labelled.
            if self._label_script(keys=keys, args=[cluster_id, *fields]):
                labelled = self._state(namespace, cluster_id)
                if labelled is not None:
                    return labelled

    @_translated()
    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        return self._state(namespace, cluster_id)

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        ids = self._live_ids(namespace)
        for start in range(0, len(ids), _LOAD_CHUNK):
            yield from self._states(namespace, ids[start : start + _LOAD_CHUNK])

    @_translated()
    def namespaces(self) -> list[str]:
        return sorted(name.decode() for name in self._client.smembers(_NAMESPACES_KEY))

    @_translated()
    def namespace_state(self, namespace: str) -> NamespaceState | None:
        meta = {name.decode(): value for name, value in self._client.hgetall(key(namespace, "meta")).items()}
        if not meta:
            return None
        mean = meta.get("mean_sum")
        return NamespaceState(
            namespace=namespace,
            model=meta["model"].decode(),
            model_revision=meta["revision"].decode(),
            similarity=meta["similarity"].decode(),
            linkage=meta["linkage"].decode(),
            threshold=float(meta["threshold"]),
            next_cluster=int(meta["next"]),
            mean_questions=int(meta["mean_questions"]),
            mean_sum=np.zeros(int(meta["dimension"]), np.float32) if mean is None else from_bytes(mean),
            seq=int(meta["seq"]),
        )

    @_translated()
    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        waiting = self._unpublished_script(
            keys=[key(namespace, "outbox")], args=[int(older_than_seconds * 1000), limit]
        )
        return [int(cluster_id) for cluster_id in waiting]

    @_translated()
    def confirm(self, namespace: str, published: Sequence[tuple[int, int]]) -> None:
        if not published:
            return
        keys = [key(namespace, "outbox"), key(namespace, "meta")]
        keys += [cluster_key(namespace, cluster_id) for cluster_id, _ in published]
        self._confirm_script(keys=keys, args=[part for pair in published for part in pair])

    def _commit_call(self, namespace: str, proposal: Proposal) -> tuple[list[str], list[Any]]:
        slots = {touch.cluster_id: slot for slot, touch in enumerate(proposal.touches, start=1)}
        mean = proposal.mean
        header = {
            "seq": proposal.seq,
            "log_entries": self._log_entries,
            "mean": [mean.expected_questions, mean.questions] if mean else False,
            "partitions": [
                [b.first, b.last, b.prune_below, sorted({slots[row.cluster_id] for row in b.rows})]
                for b in proposal.partitions
            ],
            "touches": [[t.cluster_id, t.joins, t.expected_members, t.members, t.seen_at] for t in proposal.touches],
        }
        args: list[Any] = [orjson.dumps(header), to_bytes(mean.vector_sum) if mean else b""]
        args += [entry_prefix(batch, proposal) for batch in proposal.partitions]
        for touch in proposal.touches:
            args.append(b"" if touch.vector_sum is None else to_bytes(touch.vector_sum))
            args.append(touch.representative or "")
        keys = [key(namespace, name) for name in ("meta", "log", "idle", "outbox")]
        keys += [ledger_key(namespace, batch.topic, batch.partition) for batch in proposal.partitions]
        keys += [cluster_key(namespace, touch.cluster_id) for touch in proposal.touches]
        return keys, args

    def _read_mirror(self, namespace: str) -> Mirror:
        seq, next_id, mean_questions, mean_sum = self._client.hmget(
            key(namespace, "meta"), ["seq", "next", "mean_questions", "mean_sum"]
        )
        mirror = Mirror(self._dimension(namespace))
        # The seq is read before the rows: what changes meanwhile is in the tail and is applied again, state by state.
        mirror.seq = int(seq or 0)
        mirror.next_id = int(next_id or 1)
        if mean_sum is not None:
            mirror.apply([MeanMoved(int(mean_questions), from_bytes(mean_sum))])
        ids = self._live_ids(namespace)
        mirror.reserve(len(ids))
        for start in range(0, len(ids), _LOAD_CHUNK):
            chunk = ids[start : start + _LOAD_CHUNK]
            pipeline = self._client.pipeline(transaction=False)
            for cluster_id in chunk:
                pipeline.hmget(cluster_key(namespace, cluster_id), ["members", "sum"])
            mirror.apply(
                ClusterMoved(cluster_id, int(members), from_bytes(vector_sum))
                for cluster_id, (members, vector_sum) in zip(chunk, pipeline.execute(), strict=True)
                if members is not None
            )
        return mirror

    def _read_tail(self, namespace: str, seq: int) -> Tail:
        keys = [key(namespace, "meta"), key(namespace, "log")]
        return parse_tail(*self._tail_script(keys=keys, args=[seq]))

    @_translated()
    def _live_ids(self, namespace: str) -> list[int]:
        return sorted(int(member) for member in self._client.zrange(key(namespace, "idle"), 0, -1))

    def _state(self, namespace: str, cluster_id: int) -> ClusterState | None:
        states = self._states(namespace, [cluster_id])
        return states[0] if states else None

    @_translated()
    def _states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        pipeline = self._client.pipeline(transaction=False)
        for cluster_id in cluster_ids:
            pipeline.hmget(cluster_key(namespace, cluster_id), STATE_FIELDS)
        model = self._model(namespace)
        return [
            parse_state(namespace, cluster_id, model, fields)
            for cluster_id, fields in zip(cluster_ids, pipeline.execute(), strict=True)
            if fields[2] is not None
        ]

    def _remember(self, namespace: str, model: str, dimension: int) -> None:
        self._models[namespace] = model
        self._dimensions[namespace] = dimension

    def _model(self, namespace: str) -> str:
        if namespace not in self._models:
            self._read_identity(namespace)
        return self._models.get(namespace, "")

    def _dimension(self, namespace: str) -> int:
        if namespace not in self._dimensions:
            self._read_identity(namespace)
        return self._dimensions.get(namespace, 0)

    def _read_identity(self, namespace: str) -> None:
        model, dimension = self._client.hmget(key(namespace, "meta"), ["model", "dimension"])
        if model is not None:
            self._remember(namespace, model.decode(), int(dimension))
