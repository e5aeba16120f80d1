"""Recovery in Redis: what is left is looked at, and what it lacks is restored."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from questream.domain import InFlight, NamespaceState
from questream.errors import NamespaceHeld, NamespaceRefused
from questream.store.ledger import head_entry, parse_ledger
from questream.store.protocol import Mended, Restored
from questream.store.redis.calls import RedisCalls, chunked
from questream.store.redis.codec import (
    is_utf8,
    parse_in_flight,
    parse_noted_settings,
    parse_partition,
    reading,
    state_fields,
    to_bytes,
)
from questream.store.redis.failures import translated
from questream.store.redis.keys import Name
from questream.store.rules_text import rules_text

_RESTORE_CHUNK = 100
_HEAD = b"head:"
# The keys that a namespace has one of, and the fields of its meta that outlive it.
_ONE_EACH: tuple[Name, ...] = (
    *("log", "idle", "singletons", "aliases", "outbox", "operations", "operation_ids", "remains", "levels"),
    "names",
    "sentences",
)
_TEXTS = ("model", "revision", "similarity", "linkage", "input_topic", "cluster_topic", "prepared_by")
_STAYING = ("next", "operation_count", "home")


class RedisRecovery(RedisCalls):
    """The protocol Recovery."""

    @translated()
    def revisions(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, int]:
        return self._look_at(namespace, "", list(cluster_ids), None).revisions

    @translated()
    def seconds_since_noted(self, namespaces: Sequence[str]) -> float | None:
        noted_ms = []
        for chunk in chunked(namespaces):
            pipeline = self._client.pipeline(transaction=False)
            for name in chunk:
                pipeline.hget(self._keys.of(name, "meta"), "settings")
            for noted in pipeline.execute(raise_on_error=False):
                if isinstance(noted, Exception):
                    return None
                noted_ms += [at for _, at, _ in parse_noted_settings(noted)]
        if not noted_ms:
            return None
        _, _, now_ms = self._scripts["outbox_position"](keys=[self._keys.of(namespaces[0], "meta")])
        return max(0.0, (int(now_ms) - max(noted_ms)) / 1000)

    @translated()
    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        self._drop_unreadable(namespace)
        wanted = sorted({*cluster_ids, *self._named_ids(namespace)})
        return self._look_at(namespace, token, wanted, dimension)

    @translated()
    def heads(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        wanted = list(partitions)
        found = zip(wanted, self._ledgers(namespace, wanted), strict=True)
        return {at: parse_ledger(entries, "").head if _is_readable(entries) else -1 for at, entries in found}

    @translated()
    def in_flight(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, InFlight]:
        found: dict[int, InFlight] = {}
        for chunk in chunked(cluster_ids):
            pipeline = self._client.pipeline(transaction=False)
            for cluster_id in chunk:
                pipeline.hget(self._keys.cluster(namespace, cluster_id), "joins")
            with reading("a cluster"):
                found |= {
                    i: parse_in_flight(joins, None) for i, joins in zip(chunk, pipeline.execute(), strict=True) if joins
                }
        return found

    @translated()
    def begin_recovery(self, namespace: str) -> str:
        self.require_rights(namespace)
        self._drop_no_texts(namespace)
        token = self._scripts["begin_recovery"](keys=[self._keys.of(namespace, "meta")], args=[_nonce()])
        if token is None:
            raise NamespaceHeld(f"namespace {namespace!r} is being moved to another model")
        return str(token.decode())

    @translated()
    def lease_recovery(self, namespace: str, token: str, holder: str, seconds: float) -> bool:
        args = [token, holder, int(seconds * 1000)]
        return bool(self._scripts["lease"](keys=[self._keys.of(namespace, "meta")], args=args))

    @translated()
    def hold(self, namespace: str, store_epoch: str, seconds: float) -> str | None:
        self.require_rights(namespace)
        token = self._scripts["hold"](
            keys=[self._keys.of(namespace, "meta")], args=[store_epoch, _nonce(), int(seconds * 1000)]
        )
        return None if token is None else str(token.decode())

    @translated()
    def still_holds(self, namespace: str, token: str, seconds: float) -> bool:
        args = ["", token, int(seconds * 1000)]
        return self._scripts["hold"](keys=[self._keys.of(namespace, "meta")], args=args) is not None

    @translated()
    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        count = 0
        for chunk in chunked(restored, _RESTORE_CHUNK):
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
            put_back = self._scripts["restore"](keys=keys, args=[token, orjson.dumps(header), *sums])
            if put_back < 0:
                break
            count += put_back
        return count

    @translated()
    def recover(
        self,
        namespace: str,
        token: str,
        whole: NamespaceState | None,
        heads: Mapping[tuple[str, int], int],
        unpublished: Iterable[int] = (),
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
                "rules": rules_text(whole.rules),
                "rules_operation": whole.rules.operation,
            },
            "heads": [
                [head, head_entry(head).decode(), not _is_readable(entries)]
                for head, entries in zip(heads.values(), self._ledgers(namespace, heads), strict=True)
            ],
            "floor": 1 + max(self._named_ids(namespace), default=0),
            "unpublished": list(unpublished),
        }
        keys = [self._keys.of(namespace, name) for name in ("meta", "log", "outbox")]
        keys += [self._keys.ledger(namespace, *at) for at in heads]
        keys.append(self._keys.of(namespace, "idle"))
        mean_sum = b"" if whole is None else to_bytes(whole.mean_sum)
        self._scripts["recover"](keys=keys, args=[orjson.dumps(header), mean_sum])
        self._call_on_names(self._client.sadd, namespace)

    @translated()
    def delete(self, namespace: str, token: str, operation: int = 0) -> bool:
        meta = self._keys.of(namespace, "meta")
        fields = self._client.hgetall(meta)
        heads = [field.removeprefix(_HEAD) for field in fields if field.startswith(_HEAD)]
        newest = max([int(fields.get(b"next") or 1), *self._named_ids(namespace)])
        clusters = [self._keys.cluster(namespace, cluster_id) for cluster_id in range(1, newest + 1)]
        for chunk in chunked(clusters):
            if not self._scripts["delete"](keys=[meta, *chunk], args=[token, "", 0]):
                return False
        rest = [self._keys.of(namespace, name) for name in _ONE_EACH]
        rest += [self._keys.ledger(namespace, *parse_partition(place)) for place in heads]
        deleted = bool(self._scripts["delete"](keys=[meta, *rest], args=[token, orjson.dumps(_STAYING), operation]))
        if deleted:
            self._call_on_names(self._client.srem, namespace)
        return deleted

    @translated()
    def require_recovery(self, namespace: str) -> None:
        self._drop_from_meta(namespace, "settling", "held_until")
        self._end_store_epoch(namespace)

    def _drop_no_texts(self, namespace: str) -> None:
        """Take out of meta what is no text: recovery writes it anew, or the next to open the namespace."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hmget(self._keys.of(namespace, "meta"), _TEXTS)
        found = pipeline.execute(raise_on_error=False)[0]
        # Of a key of another type nothing is left.
        texts = found if isinstance(found, list) else []
        if odd := [name for name, text in zip(_TEXTS, texts, strict=False) if text is not None and not is_utf8(text)]:
            self._drop_from_meta(namespace, *odd)

    def _ledgers(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> list[Any]:
        """The entries of each ledger, or the error of a key of another type."""
        pipeline = self._client.pipeline(transaction=False)
        for at in partitions:
            pipeline.lrange(self._keys.ledger(namespace, *at), 0, -1)
        return list(pipeline.execute(raise_on_error=False))

    def _named_ids(self, namespace: str) -> set[int]:
        """The ids that an index or the outbox names; an index of another type names none."""
        members = self._members(namespace, ("idle", "aliases", "outbox")).values()
        return {int(member) for found in members for member in found if member.isdigit()} - {0}

    def _drop_unreadable(self, namespace: str) -> None:
        """Take out of the indexes and the outbox what is no id, and remains that are none."""
        remains = self._keys.of(namespace, "remains")
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xrange(remains, count=1)
        if not isinstance(pipeline.execute(raise_on_error=False)[0], list):
            self._client.delete(remains)
        for name, members in self._members(namespace, ("idle", "singletons", "aliases", "outbox")).items():
            if odd := [member for member in members if not member.isdigit()]:
                self._client.zrem(self._keys.of(namespace, name), *odd)

    def _members(self, namespace: str, names: Sequence[Name]) -> dict[Name, list[bytes]]:
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
        for chunk in chunked(cluster_ids):
            keys = [self._keys.of(namespace, name) for name in ("meta", "idle", "singletons", "aliases")]
            keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in chunk]
            found = self._scripts["mend"](keys=keys, args=[token, dimension, *chunk])
            if found is None:
                return Mended()
            for cluster_id, revision in zip(chunk, found, strict=True):
                if revision is not None and revision >= 0:
                    mended.revisions[cluster_id] = revision
                elif revision is not None:
                    mended.damaged[cluster_id] = -1 - revision
        return mended


def _is_readable(entries: Any) -> bool:
    """True if these are the entries of a ledger; recover.lua removes one of which any cannot be read."""
    try:
        parse_ledger(entries, "")
    except NamespaceRefused:
        # A later release reads it.
        return True
    except (AttributeError, LookupError, TypeError, ValueError):
        return False
    return True


def _nonce() -> str:
    return uuid.uuid4().hex[:12]
