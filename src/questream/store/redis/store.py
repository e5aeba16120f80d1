"""Clusters in Redis: one script per micro-batch, all keys of a namespace in one slot."""

from __future__ import annotations

import functools
import hashlib
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import orjson
import redis
import redis.exceptions

from questream.clustering.merging import Merge
from questream.clustering.mirror import MeanMoved, Mirror
from questream.domain import ClusterState, NamespaceState
from questream.errors import (
    AnotherStore,
    Contended,
    IdentityMismatch,
    LostMemory,
    NamespaceHeld,
    NamespaceRefused,
    RecoveryNeeded,
    StoreRefused,
    StoreUnavailable,
)
from questream.settings import RedisSettings
from questream.settings.tree import DEFAULT_PREFIX
from questream.store.ledger import cut_entries, entry_head, entry_prefix, head_entry, other_stream, parse_ledger
from questream.store.protocol import (
    LAYOUT,
    NO_TOPICS,
    TURN_SECONDS,
    AppliedMerge,
    CommitReply,
    Committed,
    Confirmation,
    Identity,
    Ledger,
    Mended,
    Merged,
    OutboxPosition,
    PartitionBatch,
    Proposal,
    Replayed,
    Restored,
    Revisions,
    Stale,
    StoreError,
    StreamTopics,
    Tail,
    Unconfirmed,
    Verified,
)
from questream.store.redis.client import connect_redis, why_unanswered
from questream.store.redis.codec import (
    STATE_FIELDS,
    SUMMARY_FIELDS,
    Keys,
    from_bytes,
    parse_cluster_row,
    parse_namespace,
    parse_outbox_position,
    parse_state,
    parse_tail,
    partition_name,
    reading,
    state_fields,
    to_bytes,
)
from questream.store.redis.loading import MirrorLoad
from questream.store.redis.retiring import RedisRetirement
from questream.store.redis.rights import Rights, commands_of, concerns_key, denial
from questream.store.retention import Retention, Retired

_SCRIPTS = (
    *"open commit merge label retire confirm unpublished tail verify_before_commit".split(),  # noqa: SIM905 - a list of names reads better
    *"stream cut_ledger outbox_position ledger hold lease begin_recovery mend recover".split(),  # noqa: SIM905 - as above
    *"restore take_home note_settings admit store_epoch".split(),  # noqa: SIM905 - as above
)
# Those that move the log, or begin it anew.
_MOVING = ("commit", "merge", "retire", "recover")
_LOAD_CHUNK = 1000
_RESTORE_CHUNK = 100
_LOAD_ATTEMPTS = 5
# Redis answers with these while it starts, fails over, is full or saves: the same call may succeed later.
_PASSING = re.compile(
    r"LOADING|BUSY|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|OOM|MISCONF|NOREPLICAS|max number of clients"
)
# What a command or a script says of a field that holds something else than it was written with.
_UNREADABLE = re.compile(
    r"is not an integer|not a valid float|would overflow|attempt to (?:compare|perform|index|concatenate|get length)"
    r"|bad argument|Expected .+ but found|is not a string representation"
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
    except (redis.exceptions.RedisError, *_UNAVAILABLE) as error:
        raise _meaning_of(error) from error


def _meaning_of(error: Exception) -> StoreError:
    told = str(error)
    code = told.split(" ", 1)[0]
    if isinstance(error, redis.exceptions.AuthenticationError):
        return StoreRefused("Redis refused the login", "check redis.url and redis.password")
    if isinstance(error, redis.exceptions.NoPermissionError):
        # A command that is denied is denied in every namespace; a key may be of one that the login has no rights to.
        return NamespaceRefused(*denial(told)) if concerns_key(told) else StoreRefused(*denial(told))
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(
            f"Redis did not answer: {why_unanswered(error)}", "check redis.url, and that Redis runs"
        )
    if _PASSING.search(told):
        return StoreUnavailable(f"Redis cannot take writes now: {code}")
    if code == "LEFT":
        return AnotherStore(
            "the namespace was moved to another Redis (questream restore --adopt)", "set redis.url to that one"
        )
    if code == "LOST":
        return LostMemory(told.partition(" ")[2])
    if "WRONGTYPE" in told:
        return LostMemory("a key is of another type")
    if _UNREADABLE.search(told):
        return LostMemory("a field is not what it was written as")
    if "RECOVERY_NEEDED" in told:
        return RecoveryNeeded("Redis was restarted, failed over to or emptied since it was last checked")
    return StoreRefused(f"Redis refused the call: {type(error).__name__} {code}")


P = ParamSpec("P")
T = TypeVar("T")


def _remembering(
    call: Callable[Concatenate[RedisStore, str, P], T],
) -> Callable[Concatenate[RedisStore, str, P], T]:
    """A call on a namespace that finds memory lost ends the store epoch, so that the namespace is recovered."""

    @functools.wraps(call)
    def guarded(store: RedisStore, namespace: str, *args: P.args, **kwargs: P.kwargs) -> T:
        with store.remembering(namespace):
            return call(store, namespace, *args, **kwargs)

    return cast("Callable[Concatenate[RedisStore, str, P], T]", guarded)


def open_store(settings: RedisSettings, log_entries: int = 8192) -> RedisStore:
    """The store that the settings lead to.

    Raises SettingsError if they cannot be used, StoreUnavailable if a Redis Cluster does not answer; any other Redis is
    first asked when it is first used.
    """
    with _translated():
        return RedisStore(connect_redis(settings), log_entries=log_entries, prefix=settings.prefix)


class RedisStore:
    """The Store on Redis 6.2 or newer, or Valkey: single node, Sentinel or Cluster.

    `client` is a redis.Redis or redis.RedisCluster that answers bytes (redis-py's annotations allow for both bytes and
    str, hence Any). `log_entries` bounds each namespace's log; a worker that falls further behind reloads its mirror.
    All its keys begin with `prefix`.
    """

    def __init__(self, client: Any, *, log_entries: int = 8192, prefix: str = DEFAULT_PREFIX) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._log_entries = log_entries
        folder = resources.files("questream.store.redis") / "lua"
        first = (folder / "prelude.lua").read_text("utf-8")
        before = dict.fromkeys(_MOVING, first + (folder / "writing.lua").read_text("utf-8"))
        texts = {name: before.get(name, first) + (folder / f"{name}.lua").read_text("utf-8") for name in _SCRIPTS}
        for name, text in texts.items():
            setattr(self, f"_{name}_script", client.register_script(text))
        self._rights = Rights(client, self._keys)
        self._reading, self._writing = commands_of([texts["tail"]]), commands_of(texts.values())
        self._may_read: set[str] = set()
        self._may_write: set[str] = set()
        self._retirement = RedisRetirement(client, self._keys, self._retire_script, log_entries)
        self._models: dict[str, str] = {}

    _admit_script: Any
    _open_script: Any
    _stream_script: Any
    _cut_ledger_script: Any
    _commit_script: Any
    _merge_script: Any
    _label_script: Any
    _confirm_script: Any
    _unpublished_script: Any
    _tail_script: Any
    _retire_script: Any
    _verify_before_commit_script: Any
    _store_epoch_script: Any
    _outbox_position_script: Any
    _begin_recovery_script: Any
    _mend_script: Any
    _take_home_script: Any
    _note_settings_script: Any
    _hold_script: Any
    _lease_script: Any
    _ledger_script: Any
    _recover_script: Any
    _restore_script: Any

    @_translated()
    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        self._client.ping()

    @_translated()
    def require_rights(self, namespace: str) -> None:
        """Raises StoreRefused with the names of the commands that scripts call and this user may not run."""
        if namespace not in self._may_write:
            self._rights.require(namespace, self._writing)
            self._may_write.add(namespace)

    @_translated()
    def open(self, namespace: str, identity: Identity, topics: StreamTopics = NO_TOPICS) -> None:
        self.require_rights(namespace)
        built = self._open_script(
            keys=[self._keys.of(namespace, "meta")],
            args=[
                identity.model,
                identity.revision,
                identity.dimension,
                identity.similarity,
                identity.linkage,
                identity.threshold,
                LAYOUT,
                topics.input_topic,
                topics.cluster_topic,
            ],
        )
        model, revision, dimension, layout, input_topic, cluster_topic = (part.decode() for part in built)
        if int(layout) > LAYOUT:
            raise NamespaceRefused(
                f"namespace {namespace!r} has layout {layout} in Redis, this release reads {LAYOUT}",
                "upgrade questream",
            )
        if (model, revision, int(dimension)) != (identity.model, identity.revision, identity.dimension):
            raise IdentityMismatch(
                f"namespace {namespace!r} was built with model {model!r} revision {revision!r} ({dimension}-d), this"
                f" worker has {identity.model!r} revision {identity.revision!r} ({identity.dimension}-d)",
                "set model.name and model.revision to the former, or clusters.namespace to a new one, or model.former"
                " to the former to move it with questream migrate",
            )
        topics.require_same(namespace, StreamTopics(input_topic, cluster_topic))
        self._call_on_names(self._client.sadd, namespace)
        self._models[namespace] = identity.model

    @_translated()
    def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
        served = [name for name in namespaces if self._is_served(name)]
        if not served:
            return set()
        refused = self._call_on_names(lambda key: self._admit_script(keys=[key], args=[limit, *served]))
        return {name.decode() for name in refused}

    @_translated()
    def topics(self, namespace: str) -> StreamTopics:
        found = self._client.hmget(self._keys.of(namespace, "meta"), ["input_topic", "cluster_topic"])
        return StreamTopics(*((name or b"").decode() for name in found))

    @_remembering
    def store_epoch(self, namespace: str) -> str | None:
        store_epoch = self._store_epoch_script(keys=[self._keys.of(namespace, "meta")])
        return None if store_epoch is None else str(store_epoch.decode())

    @_translated()
    def verify_before_commit(
        self, published: Mapping[str, Revisions], confirmations: Sequence[Confirmation] = ()
    ) -> Verified:
        calls = [self._confirm_call(confirmation) for confirmation in confirmations]
        for namespace, revisions in published.items():
            keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "outbox")]
            keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in revisions]
            args = [part for pair in revisions.items() for part in pair]
            calls.append(_ScriptCall(self._verify_before_commit_script, keys, args))
        replies = self._call_all(calls)
        positions: dict[str, OutboxPosition | None] = {}
        for namespace, reply in zip(published, replies[len(confirmations) :], strict=True):
            with self.remembering(namespace):
                found = _answered(reply)
                positions[namespace] = found and parse_outbox_position(*found)
        return Verified(positions, self._unconfirmed(confirmations, replies[: len(confirmations)]))

    @_translated()
    def outbox_position(self, namespace: str) -> OutboxPosition:
        return parse_outbox_position(*self._outbox_position_script(keys=[self._keys.of(namespace, "meta")]))

    @_remembering
    def load(self, namespace: str) -> Mirror:
        if namespace not in self._may_write | self._may_read:
            self._rights.require(namespace, self._reading)
            self._may_read.add(namespace)
        loading = MirrorLoad(self._client, self._keys, namespace, self._log_entries, self.tail)
        for _ in range(_LOAD_ATTEMPTS):
            mirror = self._empty_mirror(namespace)
            if not mirror.store_epoch:
                return mirror
            try:
                if loading.fill(mirror, self._live_ids(namespace)):
                    return mirror
            except LostMemory:
                raise
            except RecoveryNeeded:
                # It lost or changed its store epoch while it was read.
                continue
        raise Contended(
            f"the log of namespace {namespace!r} moves faster than its clusters load", "raise clusters.log_entries"
        )

    @_remembering
    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        keys = [self._keys.of(namespace, name) for name in ("meta", "log")]
        newest, entries = self._tail_script(keys=keys, args=[store_epoch, seq])
        return parse_tail(newest, entries)

    @_translated()
    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        name, is_new = self._stream_script(
            keys=[self._keys.streams], args=[topic, identity, other_stream(topic, identity)]
        )
        return name.decode(), bool(is_new)

    @_remembering
    def cut_ledger(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        self.require_rights(namespace)
        at = self._keys.ledger(namespace, topic, partition)
        while True:
            store_epoch, entries = self._ledger_script(keys=[self._keys.of(namespace, "meta"), at])
            with reading("a ledger"):
                left = cut_entries(entries, offset)
            # Of one that is empty there is nothing to cut.
            if not entries or self._cut_ledger_script(keys=[at], args=[entries[-1], *left]):
                return _parsed_ledger(left, store_epoch.decode())

    @_remembering
    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        keys = [self._keys.of(namespace, "meta"), self._keys.ledger(namespace, topic, partition)]
        store_epoch, entries = self._ledger_script(keys=keys)
        return _parsed_ledger(entries, store_epoch.decode())

    @_translated()
    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, CommitReply]:
        replies = self._call_all([self._commit_call(*item) for item in proposals.items()])
        return {
            namespace: self._failing_alone(namespace, partial(_parsed_commit, proposal, reply))
            for (namespace, proposal), reply in zip(proposals.items(), replies, strict=True)
        }

    @_remembering
    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        self.require_rights(namespace)
        header = {
            "store_epoch": store_epoch,
            "seq": seq,
            "log_entries": self._log_entries,
            "merges": [
                [m.survivor, m.loser, m.survivor_members, m.loser_members, [n or "" for n in m.dropped or ()] or False]
                for m in merges
            ],
        }
        keys = [self._keys.of(namespace, name) for name in ("meta", "log", "idle", "outbox")]
        for merge in merges:
            keys += [self._keys.cluster(namespace, merge.survivor), self._keys.cluster(namespace, merge.loser)]
        keys += [self._keys.of(namespace, name) for name in ("singletons", "aliases")]
        sums = [to_bytes(merge.vector_sum) for merge in merges]
        reply = self._merge_script(keys=keys, args=[orjson.dumps(header), *sums])
        seq_before, missed, seq_after, results, apart, outbox = reply
        applied = []
        for proposed, result in zip(merges, results, strict=True):
            if result:
                kept, lost, survivor, loser = result
                merge = proposed.of(int(survivor), int(loser))
                applied.append(
                    AppliedMerge(merge, parse_cluster_row(merge.survivor, kept), parse_cluster_row(merge.loser, lost))
                )
        refused = [merges[at - 1].of(int(survivor), int(loser)) for at, survivor, loser in apart]
        position = OutboxPosition(store_epoch, *outbox)
        return Merged(seq_after, parse_tail(seq_before, missed), applied, position, refused)

    @_remembering
    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        fields = [
            part for name, text in (("label", label), ("route", route)) if text is not None for part in (name, text)
        ]
        self.require_rights(namespace)
        while True:
            state = self._state(namespace, cluster_id)
            if state is None or state.event == "retired":
                raise KeyError(cluster_id)
            cluster_id = state.merged_into or cluster_id
            if state.merged_into is not None:
                continue
            keys = [
                self._keys.cluster(namespace, cluster_id),
                self._keys.of(namespace, "outbox"),
                self._keys.of(namespace, "meta"),
            ]
            # 0 where it was merged away in between: then its survivor is labelled.
            if self._label_script(keys=keys, args=[cluster_id, *fields]):
                labelled = self._state(namespace, cluster_id)
                if labelled is not None:
                    return labelled

    @_remembering
    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        return self._retirement.retire(namespace, retention, limit)

    @_remembering
    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        return self._state(namespace, cluster_id)

    @_remembering
    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        chunks = (cluster_ids[start : start + _LOAD_CHUNK] for start in range(0, len(cluster_ids), _LOAD_CHUNK))
        return [state for chunk in chunks for state in self._whole_states(namespace, chunk)]

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        return self._live_states(namespace, STATE_FIELDS)

    def summaries(self, namespace: str) -> Iterator[ClusterState]:
        return self._live_states(namespace, SUMMARY_FIELDS)

    @_translated()
    def namespaces(self) -> list[str]:
        return sorted(name.decode() for name in self._call_on_names(self._client.smembers))

    @_remembering
    def namespace_state(self, namespace: str) -> NamespaceState | None:
        meta = self._client.hgetall(self._keys.of(namespace, "meta"))
        if b"model" not in meta:
            return None
        with reading("the namespace"):
            return parse_namespace(namespace, meta)

    @_remembering
    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        waiting = self._unpublished_script(
            keys=[self._keys.of(namespace, "outbox")], args=[int(older_than_seconds * 1000), limit]
        )
        with reading("the outbox"):
            return [int(cluster_id) for cluster_id in waiting]

    @_translated()
    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        replies = self._call_all([self._confirm_call(confirmation) for confirmation in confirmations])
        return self._unconfirmed(confirmations, replies)

    @_translated()
    def revisions(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, int]:
        return self._look_at(namespace, "", list(cluster_ids), None).revisions

    @_translated()
    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        self._drop_unreadable(namespace)
        wanted = sorted({*cluster_ids, *self._named_ids(namespace)})
        return self._look_at(namespace, token, wanted, dimension)

    @_translated()
    def heads(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        wanted = list(partitions)
        pipeline = self._client.pipeline(transaction=False)
        for at in wanted:
            pipeline.lindex(self._keys.ledger(namespace, *at), -1)
        return {
            at: _readable_head(entry)
            for at, entry in zip(wanted, pipeline.execute(raise_on_error=False) if wanted else [], strict=True)
        }

    @_translated()
    def begin_recovery(self, namespace: str) -> str:
        self.require_rights(namespace)
        token = self._begin_recovery_script(keys=[self._keys.of(namespace, "meta")], args=[_nonce()])
        if token is None:
            raise NamespaceHeld(f"namespace {namespace!r} is being moved to another model")
        return str(token.decode())

    @_translated()
    def lease_recovery(self, namespace: str, token: str, holder: str, seconds: float) -> bool:
        args = [token, holder, int(seconds * 1000)]
        return bool(self._lease_script(keys=[self._keys.of(namespace, "meta")], args=args))

    @_translated()
    def hold(self, namespace: str, store_epoch: str, seconds: float) -> str | None:
        self.require_rights(namespace)
        token = self._hold_script(
            keys=[self._keys.of(namespace, "meta")], args=[store_epoch, _nonce(), int(seconds * 1000)]
        )
        return None if token is None else str(token.decode())

    @_translated()
    def still_holds(self, namespace: str, token: str, seconds: float) -> bool:
        args = ["", token, int(seconds * 1000)]
        return self._hold_script(keys=[self._keys.of(namespace, "meta")], args=args) is not None

    @_translated()
    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        count = 0
        for start in range(0, len(restored), _RESTORE_CHUNK):
            chunk = restored[start : start + _RESTORE_CHUNK]
            keys = [self._keys.of(namespace, name) for name in ("meta", "idle", "outbox")]
            keys += [self._keys.cluster(namespace, one.state.cluster_id) for one in chunk]
            keys += [self._keys.of(namespace, name) for name in ("singletons", "aliases")]
            header = [
                {
                    "id": one.state.cluster_id,
                    "revision": one.state.revision,
                    "retired": one.state.event == "retired",
                    "publish": one.publish,
                    "damaged": one.damaged,
                    "fields": state_fields(one.state),
                }
                for one in chunk
            ]
            sums = [b"" if one.state.vector_sum is None else to_bytes(one.state.vector_sum) for one in chunk]
            put_back = self._restore_script(keys=keys, args=[token, orjson.dumps(header), *sums])
            if put_back < 0:
                break
            count += put_back
        return count

    @_translated()
    def recover(
        self,
        namespace: str,
        token: str,
        whole: NamespaceState | None,
        heads: Mapping[tuple[str, int], int],
        untold: Iterable[int] = (),
    ) -> None:
        header = {
            "token": token,
            "nonce": _nonce(),
            "whole": whole is not None
            and {
                "model": whole.model,
                "revision": whole.model_revision,
                "similarity": whole.similarity,
                "linkage": whole.linkage,
                "dimension": whole.dimension,
                "threshold": str(whole.threshold),
                "next": whole.next_cluster,
                "questions": whole.mean_questions,
                "seq": whole.seq,
                "generation": whole.generation,
            },
            "heads": [[head, head_entry(head).decode()] for head in heads.values()],
            "floor": 1 + max(self._named_ids(namespace), default=0),
            "untold": list(untold),
        }
        keys = [self._keys.of(namespace, name) for name in ("meta", "log", "outbox")]
        keys += [self._keys.ledger(namespace, *at) for at in heads]
        keys.append(self._keys.of(namespace, "idle"))
        mean_sum = b"" if whole is None else to_bytes(whole.mean_sum)
        self._recover_script(keys=keys, args=[orjson.dumps(header), mean_sum])
        self._call_on_names(self._client.sadd, namespace)

    @_translated()
    def require_recovery(self, namespace: str) -> None:
        self._client.hdel(self._keys.of(namespace, "meta"), "incarnation", "settling", "held_until")

    @_translated()
    def home(self, namespace: str) -> bytes | None:
        """The home (recovery/home.py) that the namespace has in this Redis."""
        found: bytes | None = self._client.hget(self._keys.of(namespace, "meta"), "home")
        return found

    @_translated()
    def take_home(self, namespace: str, home: bytes) -> None:
        """Give the namespace this home, unless it has one."""
        self._take_home_script(keys=[self._keys.of(namespace, "meta")], args=[home])

    @_translated()
    def note_settings(
        self, namespace: str, worker: str, settings: bytes, gone_seconds: float
    ) -> list[tuple[str, bytes]]:
        """Note by which settings a worker runs the namespace (with worker '' none), and answer those of others."""
        digest = hashlib.blake2b(settings, digest_size=8).hexdigest()
        others = self._note_settings_script(
            keys=[self._keys.of(namespace, "meta")], args=[worker, digest, settings, int(gone_seconds * 1000)]
        )
        return [(other.decode(errors="replace"), noted) for other, noted in others]

    @_translated()
    def replace_home(self, namespace: str, home: bytes) -> None:
        """Give the namespace this home, in a Redis that it may have left before."""
        self._client.hset(self._keys.of(namespace, "meta"), "home", home)
        self._client.hdel(self._keys.of(namespace, "meta"), "moved")

    @_translated()
    def move_away(self, namespace: str) -> None:
        """The namespace is served elsewhere from here on: scripts refuse it in this Redis for good."""
        self._client.hset(self._keys.of(namespace, "meta"), "moved", 1)
        self._client.hdel(self._keys.of(namespace, "meta"), "incarnation", "settling", "held_until")

    def end_store_epoch(self, namespace: str) -> None:
        """As `require_recovery`, whatever is left of the namespace, and as far as this user may write."""
        meta = self._keys.of(namespace, "meta")
        with suppress(redis.exceptions.NoPermissionError), _translated():
            try:
                self._client.hdel(meta, "incarnation")
            except redis.exceptions.ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                self._client.delete(meta)

    def _is_served(self, namespace: str) -> bool:
        """Whether this user may touch the keys of a namespace: what it is refused, `open` tells."""
        try:
            self.require_rights(namespace)
        except NamespaceRefused:
            return False
        return True

    def _call_on_names(self, call: Callable[..., Any], *args: str) -> Any:
        """The reply of a command on the set of namespaces, which begins anew where it is of another type."""
        try:
            return call(self._keys.namespaces, *args)
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            # Each namespace that is opened or recovered is put back.
            self._client.delete(self._keys.namespaces)
            return call(self._keys.namespaces, *args)

    @contextmanager
    def remembering(self, namespace: str) -> Iterator[None]:
        """Where memory is found to be lost, the store epoch ends, so that the namespace is recovered."""
        try:
            with _translated():
                yield
        except LostMemory as lost:
            self.end_store_epoch(namespace)
            raise RecoveryNeeded(
                f"Redis has lost a part of namespace {namespace!r} ({lost}), which is put back from the cluster topic"
            ) from lost

    def _failing_alone(self, namespace: str, read: Callable[[], T]) -> T | StoreError:
        """What a reply of a round trip means; its error, which concerns no other namespace."""
        try:
            with self.remembering(namespace):
                return read()
        except (StoreUnavailable, StoreRefused, RecoveryNeeded) as error:
            return error

    def _call_all(self, calls: Sequence[_ScriptCall]) -> list[Any]:
        """The replies of scripts, errors among them, in one round trip; one more where Redis does not know a script.

        Not by Script: in a pipeline that asks first, in a round trip of its own, which scripts Redis knows.
        """
        replies = self._send_all(calls)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
        for text in {calls[at].script.script for at in unknown}:
            self._client.script_load(text)
        for at, reply in zip(unknown, self._send_all([calls[at] for at in unknown]), strict=True):
            replies[at] = reply
        return replies

    def _send_all(self, calls: Sequence[_ScriptCall]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            # A cluster's pipeline has no method `evalsha`, and asks a node for the keys of each that has no target.
            clustered = isinstance(self._client, redis.RedisCluster)
            target = {"target_nodes": self._client.get_node_from_key(call.keys[0])} if clustered else {}
            pipeline.execute_command("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args, **target)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies

    def _confirm_call(self, confirmation: Confirmation) -> _ScriptCall:
        namespace, position = confirmation.namespace, confirmation.position
        keys = [self._keys.of(namespace, "outbox"), self._keys.of(namespace, "meta")]
        keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in confirmation.revisions]
        offsets = orjson.dumps({partition_name(*at): offset for at, offset in confirmation.committed.items()})
        args = [offsets, position.store_epoch, position.count, position.server_time_ms]
        args += [part for pair in confirmation.revisions.items() for part in pair]
        return _ScriptCall(self._confirm_script, keys, args)

    def _unconfirmed(self, confirmations: Sequence[Confirmation], replies: Sequence[Any]) -> Unconfirmed:
        outcomes = [
            (confirmation, self._failing_alone(confirmation.namespace, partial(_answered, reply)))
            for confirmation, reply in zip(confirmations, replies, strict=True)
        ]
        return [(one, error) for one, error in outcomes if isinstance(error, StoreError)]

    def _commit_call(self, namespace: str, proposal: Proposal) -> _ScriptCall:
        slots = {update.cluster_id: slot for slot, update in enumerate(proposal.cluster_updates, start=1)}
        mean = proposal.mean
        header = {
            "store_epoch": proposal.store_epoch,
            "seq": proposal.seq,
            "log_entries": self._log_entries,
            "mean": [mean.expected_questions, mean.questions] if mean else False,
            "turn": proposal.turn,
            "turn_ms": int(TURN_SECONDS * 1000),
            "partitions": [
                [partition_name(b.topic, b.partition), b.first, b.last, b.prune_below, _joins(b, slots), b.head]
                for b in proposal.partitions
            ],
            "touches": [
                [t.cluster_id, t.joins, t.expected_members, t.members, t.seen_at] for t in proposal.cluster_updates
            ],
        }
        args: list[Any] = [orjson.dumps(header), to_bytes(mean.vector_sum) if mean else b""]
        args += [entry_prefix(batch, proposal) for batch in proposal.partitions]
        for update in proposal.cluster_updates:
            args.append(b"" if update.vector_sum is None else to_bytes(update.vector_sum))
            args.append(update.representative or "")
        keys = [self._keys.of(namespace, name) for name in ("meta", "log", "idle", "outbox")]
        keys += [self._keys.ledger(namespace, batch.topic, batch.partition) for batch in proposal.partitions]
        keys += [self._keys.cluster(namespace, update.cluster_id) for update in proposal.cluster_updates]
        keys.append(self._keys.of(namespace, "singletons"))
        return _ScriptCall(self._commit_script, keys, args)

    def _empty_mirror(self, namespace: str) -> Mirror:
        store_epoch = self.store_epoch(namespace)
        seq, next_id, mean_questions, mean_sum, generation, model, dimension = self._client.hmget(
            self._keys.of(namespace, "meta"),
            ["seq", "next", "mean_questions", "mean_sum", "generation", "model", "dimension"],
        )
        self._models[namespace] = (model or b"").decode()
        with reading("the namespace"):
            mirror = Mirror(int(dimension or 0))
            mirror.store_epoch = store_epoch or ""
            mirror.generation = int(generation or 0)
            # The seq is read before the rows: what changes meanwhile is in the tail and is applied again, by its state.
            mirror.seq = int(seq or 0)
            mirror.next_id = int(next_id or 1)
            mean = None if mean_sum is None else MeanMoved(int(mean_questions), from_bytes(mean_sum))
        if mean is not None:
            if len(mean.vector_sum) != mirror.dimension:
                raise LostMemory("the mean is cut short")
            mirror.apply([mean])
        return mirror

    def _named_ids(self, namespace: str) -> set[int]:
        """The ids that an index or the outbox names; an index of another type names none."""
        members = self._members(namespace, ("idle", "aliases", "outbox")).values()
        return {int(member) for found in members for member in found if member.isdigit()} - {0}

    def _drop_unreadable(self, namespace: str) -> None:
        """Take out of the indexes and the outbox what is no id."""
        for name, members in self._members(namespace, ("idle", "singletons", "aliases", "outbox")).items():
            if odd := [member for member in members if not member.isdigit()]:
                self._client.zrem(self._keys.of(namespace, name), *odd)

    def _members(self, namespace: str, names: Sequence[str]) -> dict[str, list[bytes]]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.zrange(self._keys.of(namespace, name), 0, -1)
        found = zip(names, pipeline.execute(raise_on_error=False), strict=True)
        return {name: members for name, members in found if isinstance(members, list)}

    def _look_at(self, namespace: str, token: str, cluster_ids: Sequence[int], dimension: int | None) -> Mended:
        if dimension is None:
            with reading("the namespace"):
                dimension = int(self._client.hget(self._keys.of(namespace, "meta"), "dimension") or 0)
        mended = Mended()
        for start in range(0, len(cluster_ids), _LOAD_CHUNK):
            chunk = cluster_ids[start : start + _LOAD_CHUNK]
            keys = [self._keys.of(namespace, name) for name in ("meta", "idle", "singletons", "aliases")]
            keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in chunk]
            found = self._mend_script(keys=keys, args=[token, dimension, *chunk])
            if found is None:
                return Mended()
            for cluster_id, revision in zip(chunk, found, strict=True):
                if revision is not None and revision >= 0:
                    mended.revisions[cluster_id] = revision
                elif revision is not None:
                    mended.damaged[cluster_id] = -1 - revision
        return mended

    @_translated()
    def _live_ids(self, namespace: str) -> list[int]:
        members = self._client.zrange(self._keys.of(namespace, "idle"), 0, -1)
        with reading("the index"):
            return sorted(map(int, members))

    def _state(self, namespace: str, cluster_id: int) -> ClusterState | None:
        states = self._whole_states(namespace, [cluster_id])
        return states[0] if states else None

    def _live_states(self, namespace: str, fields: list[str]) -> Iterator[ClusterState]:
        ids = self._live_ids(namespace)
        for start in range(0, len(ids), _LOAD_CHUNK):
            yield from self._states(namespace, ids[start : start + _LOAD_CHUNK], fields)

    @_translated()
    def _states(self, namespace: str, cluster_ids: Sequence[int], fields: list[str]) -> list[ClusterState]:
        pipeline = self._client.pipeline(transaction=False)
        for cluster_id in cluster_ids:
            pipeline.hmget(self._keys.cluster(namespace, cluster_id), fields)
        model = self._model(namespace)
        return [
            parse_state(namespace, cluster_id, model, values)
            for cluster_id, values in zip(cluster_ids, pipeline.execute(), strict=True)
            if values[2] is not None
        ]

    def _whole_states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        """Raises LostMemory where one is cut short, or missing though an index names it."""
        states = self._states(namespace, cluster_ids, STATE_FIELDS)
        if any(state.vector_sum is None and state.event not in ("merged", "retired") for state in states):
            # Never told to the cluster topic: what that knows would be overwritten.
            raise LostMemory("a cluster is cut short")
        found = {state.cluster_id for state in states}
        self._require_unnamed(namespace, [i for i in cluster_ids if i not in found])
        return states

    def _require_unnamed(self, namespace: str, missing: Sequence[int]) -> None:
        """A cluster that is not there may be in no index either. Raises LostMemory."""
        for start in range(0, len(missing), _LOAD_CHUNK):
            pipeline = self._client.pipeline(transaction=False)
            for cluster_id in missing[start : start + _LOAD_CHUNK]:
                pipeline.zscore(self._keys.of(namespace, "idle"), cluster_id)
                pipeline.zscore(self._keys.of(namespace, "aliases"), cluster_id)
            if any(score is not None for score in pipeline.execute()):
                raise LostMemory("a cluster is missing")

    def _model(self, namespace: str) -> str:
        if namespace not in self._models:
            model = self._client.hget(self._keys.of(namespace, "meta"), "model")
            if model is None:
                return ""
            self._models[namespace] = model.decode()
        return self._models[namespace]


def _readable_head(entry: Any) -> int:
    """The head of a ledger by its newest entry; -1 where there is none, or none that can be read."""
    try:
        return entry_head(entry) if isinstance(entry, bytes) else -1
    except (IndexError, ValueError):
        return -1


def _parsed_ledger(entries: Sequence[bytes], store_epoch: str) -> Ledger:
    with reading("a ledger"):
        return parse_ledger(entries, store_epoch)


@dataclass(frozen=True, slots=True)
class _ScriptCall:
    """A script with its keys and arguments; `script` is the client's Script."""

    script: Any
    keys: Sequence[str]
    args: Sequence[Any]


def _answered(reply: Any) -> Any:
    """A reply of a round trip; raises the error that it is."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _parsed_commit(proposal: Proposal, reply: Any) -> Committed | Stale | Replayed:
    match _answered(reply):
        case b"replayed", found:
            ledgers = {
                (batch.topic, batch.partition): _parsed_ledger(entries, proposal.store_epoch)
                for batch, entries in zip(proposal.partitions, found, strict=True)
            }
            return Replayed(ledgers)
        case b"stale", seq, missed, turn:
            return Stale(parse_tail(seq, missed), turn.decode())
        case _, seq_before, missed, seq, cluster_rows, outbox:
            rows = {
                update.cluster_id: parse_cluster_row(update.cluster_id, fields)
                for update, fields in zip(proposal.cluster_updates, cluster_rows, strict=True)
            }
            position = OutboxPosition(proposal.store_epoch, *outbox)
            return Committed(seq, parse_tail(seq_before, missed), rows, position)
        case other:
            raise ValueError(f"the script that commits has no reply of {len(other)} parts")


def _nonce() -> str:
    return uuid.uuid4().hex[:12]


def _joins(batch: PartitionBatch, slots: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """Which offsets joined each of the touches, by their slots."""
    joins: dict[int, list[int]] = {}
    for row in batch.rows:
        joins.setdefault(slots[row.cluster_id], []).append(row.offset)
    return list(joins.items())
