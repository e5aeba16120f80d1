"""The common parts of all calls: the client, the scripts, and the reaction of a call that finds memory lost."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import redis
import redis.exceptions

from questream.errors import LostMemory, NamespaceRefused, RecoveryNeeded, StoreRefused, StoreUnavailable
from questream.settings.tree import DEFAULT_PREFIX
from questream.store.protocol import TOMBSTONE_SECONDS, UNDO_SECONDS, StoreError
from questream.store.redis.codec import reading
from questream.store.redis.failures import translated
from questream.store.redis.keys import Keys
from questream.store.redis.rights import Rights
from questream.store.redis.scripts import Scripts

CHUNK = 1000
# A worker notices within two seconds, and has to leave its group before it recovers.
_RESERVED_SECONDS = 20.0

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="RedisCalls")


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """A script with its keys and arguments; `script` is the client's Script."""

    script: Any
    keys: Sequence[str]
    args: Sequence[Any]


def chunked(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items in parts that one round trip takes."""
    return (items[start : start + size] for start in range(0, len(items), size))


def answered(reply: Any) -> Any:
    """A reply of a round trip; raises the error that it is."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def on_namespace(call: Callable[Concatenate[S, str, P], T]) -> Callable[Concatenate[S, str, P], T]:
    """A call on a namespace that finds memory lost ends the store epoch, so that the namespace is recovered."""

    @functools.wraps(call)
    def guarded(store: S, namespace: str, *args: P.args, **kwargs: P.kwargs) -> T:
        with store.remembering(namespace):
            return call(store, namespace, *args, **kwargs)

    return cast("Callable[Concatenate[S, str, P], T]", guarded)


class RedisCalls:
    """The shared part of the store's protocols in Redis."""

    def __init__(
        self,
        client: Any,
        *,
        log_entries: int = 8192,
        prefix: str = DEFAULT_PREFIX,
        undo_seconds: float = UNDO_SECONDS,
        tombstone_seconds: float = TOMBSTONE_SECONDS,
    ) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._log_entries = log_entries
        self._undo_ms = int(undo_seconds * 1000)
        self._tombstone_ms = int(tombstone_seconds * 1000)
        self._scripts = Scripts(client)
        self._rights = Rights(client, self._keys)
        self._may_read: set[str] = set()
        self._may_write: set[str] = set()
        self._models: dict[str, str] = {}

    @translated()
    def require_rights(self, namespace: str) -> None:
        """Raises StoreRefused with the names of the commands that scripts call and this user may not run."""
        if namespace not in self._may_write:
            self._rights.require(namespace, self._scripts.writing)
            self._may_write.add(namespace)

    @on_namespace
    def store_epoch(self, namespace: str) -> str | None:
        store_epoch = self._scripts["store_epoch"](keys=[self._keys.of(namespace, "meta")])
        return None if store_epoch is None else str(store_epoch.decode())

    @contextmanager
    def remembering(self, namespace: str) -> Iterator[None]:
        """End the store epoch where memory is found to be lost, so that the namespace is recovered."""
        try:
            with translated():
                yield
        except LostMemory as lost:
            self.end_store_epoch(namespace)
            raise RecoveryNeeded(
                f"Redis has lost a part of namespace {namespace!r} ({lost}), which is restored from the cluster topic"
            ) from lost

    def end_store_epoch(self, namespace: str) -> None:
        """As `require_recovery`, whatever is left of the namespace, and as far as this user may write."""
        with suppress(StoreRefused), translated():
            self._end_store_epoch(namespace)

    def _end_store_epoch(self, namespace: str) -> None:
        args = [uuid.uuid4().hex[:12], int(_RESERVED_SECONDS * 1000)]
        self._scripts["end_store_epoch"](keys=[self._keys.of(namespace, "meta")], args=args)

    def _drop_from_meta(self, namespace: str, *fields: str) -> None:
        """Take fields out of a namespace's meta, of which nothing is left where it is of another type."""
        meta = self._keys.of(namespace, "meta")
        try:
            self._client.hdel(meta, *fields)
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            self._client.delete(meta)

    def _call_on_names(self, call: Callable[..., Any], *args: str) -> Any:
        """The reply of a command on the set of namespaces, which begins anew where it is of another type."""
        try:
            return call(self._keys.namespaces, *args)
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            # Each namespace that is opened or recovered is restored.
            self._client.delete(self._keys.namespaces)
            return call(self._keys.namespaces, *args)

    def _is_served(self, namespace: str) -> bool:
        """True if this user may touch the keys of a namespace: `open` raises what it is refused."""
        try:
            self.require_rights(namespace)
        except NamespaceRefused:
            return False
        return True

    def _failing_alone(self, namespace: str, read: Callable[[], T]) -> T | StoreError:
        """The answer in a reply of a round trip, or its error, which concerns no other namespace."""
        try:
            with self.remembering(namespace):
                return read()
        except (StoreUnavailable, StoreRefused, RecoveryNeeded) as error:
            return error

    def _call_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
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

    def _send_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            # A cluster's pipeline has no method `evalsha`, and asks a node for the keys of each that has no target.
            clustered = isinstance(self._client, redis.RedisCluster)
            target = {"target_nodes": self._client.get_node_from_key(call.keys[0])} if clustered else {}
            pipeline.execute_command("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args, **target)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies

    @translated()
    def _live_ids(self, namespace: str) -> list[int]:
        members = self._client.zrange(self._keys.of(namespace, "idle"), 0, -1)
        with reading("the index"):
            return sorted(map(int, members))

    def _model(self, namespace: str) -> str:
        if namespace not in self._models:
            model = self._client.hget(self._keys.of(namespace, "meta"), "model")
            if model is None:
                return ""
            self._models[namespace] = model.decode()
        return self._models[namespace]
