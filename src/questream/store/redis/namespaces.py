"""Namespaces in Redis: what each is built with, which stream and which home it has."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from contextlib import suppress

from questream.domain import NamespaceRules, NamespaceState
from questream.errors import IdentityMismatch, LostMemory, NamespaceRefused
from questream.store.protocol import LAYOUT, NO_TOPICS, Identity, NamespaceSizes, StreamTopics
from questream.store.redis.calls import RedisCalls, answered, chunked, on_namespace
from questream.store.redis.codec import is_utf8, parse_namespace, parse_noted_settings, parse_partition, reading
from questream.store.redis.failures import translated
from questream.store.redis.keys import Name
from questream.store.rules_text import parse_rules

_HEAD = b"head:"
# The fields that the script `open` answers, by their places; the layout is a number by then.
_BUILT = ("model", "revision", "dimension", "", "input_topic", "cluster_topic")
_COUNTED: tuple[Name, ...] = ("idle", "singletons", "aliases", "outbox")


class RedisNamespaces(RedisCalls):
    """The protocol Namespaces, and what a namespace says of its home and of the settings that it runs by."""

    @translated()
    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        self._client.ping()

    @translated()
    def open(self, namespace: str, identity: Identity, topics: StreamTopics = NO_TOPICS) -> None:
        self.require_rights(namespace)
        built = self._open(namespace, identity, topics)
        unreadable = [name for name, part in zip(_BUILT, built, strict=True) if name and not is_utf8(part)]
        if unreadable:
            # Nobody wrote that: what is missing is written anew, and compared with the cluster topic.
            self._client.hdel(self._keys.of(namespace, "meta"), "incarnation", *unreadable)
            built = self._open(namespace, identity, topics)
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

    def _open(self, namespace: str, identity: Identity, topics: StreamTopics) -> list[bytes]:
        built: list[bytes] = self._scripts["open"](
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
                identity.prepared_by,
            ],
        )
        return built

    @translated()
    def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
        served = [name for name in namespaces if self._is_served(name)]
        if not served:
            return set()
        refused = self._call_on_names(lambda key: self._scripts["admit"](keys=[key], args=[limit, *served]))
        return {name.decode() for name in refused}

    @on_namespace
    def prepared_by(self, namespace: str) -> str | None:
        found = self._client.hget(self._keys.of(namespace, "meta"), "prepared_by")
        return None if found is None else str(found.decode())

    @on_namespace
    def topics(self, namespace: str) -> StreamTopics:
        found = self._client.hmget(self._keys.of(namespace, "meta"), ["input_topic", "cluster_topic"])
        return StreamTopics(*((name or b"").decode() for name in found))

    @translated()
    def namespaces(self) -> list[str]:
        return sorted(name.decode() for name in self._call_on_names(self._client.smembers) if is_utf8(name))

    @on_namespace
    def namespace_state(self, namespace: str) -> NamespaceState | None:
        meta = self._client.hgetall(self._keys.of(namespace, "meta"))
        if b"model" not in meta:
            return None
        with reading("the namespace"):
            return parse_namespace(namespace, meta)

    @on_namespace
    def rules(self, namespace: str) -> NamespaceRules:
        with reading("the rules of the namespace"):
            return parse_rules(self._client.hget(self._keys.of(namespace, "meta"), "rules"))

    @on_namespace
    def sizes(self, namespace: str) -> NamespaceSizes:
        meta = self._client.hgetall(self._keys.of(namespace, "meta"))
        places = [parse_partition(field.removeprefix(_HEAD)) for field in meta if field.startswith(_HEAD)]
        pipeline = self._client.pipeline(transaction=False)
        for name in _COUNTED:
            pipeline.zcard(self._keys.of(namespace, name))
        pipeline.xrange(self._keys.of(namespace, "log"), count=1)
        for place in places:
            pipeline.llen(self._keys.ledger(namespace, *place))
        clusters, singletons, aliases, unpublished, oldest, *lengths = pipeline.execute()
        with reading("the log"):
            # Its entries are SEQ-N, and none is taken out of the middle.
            changes = int(meta[b"seq"]) - int(oldest[0][0].partition(b"-")[0]) + 1 if oldest else 0
        ledgers = {place: length for place, length in zip(places, lengths, strict=True) if length}
        return NamespaceSizes(clusters, singletons, aliases, unpublished, changes, ledgers)

    @translated()
    def noted_settings(self, namespace: str) -> list[tuple[str, int, bytes]]:
        """Workers that noted their settings, each with the time in ms and those; the latest first."""
        return parse_noted_settings(self._client.hget(self._keys.of(namespace, "meta"), "settings"))

    @translated()
    def home(self, namespace: str) -> bytes | None:
        """The home (recovery/home.py) that the namespace has in this Redis."""
        found: bytes | None = self._client.hget(self._keys.of(namespace, "meta"), "home")
        return found

    @translated()
    def homes(self, namespaces: Sequence[str]) -> dict[str, bytes | None]:
        """As `home`, of many; without those that this login may not read, and those that are damaged."""
        homes: dict[str, bytes | None] = {}
        for chunk in chunked(namespaces):
            pipeline = self._client.pipeline(transaction=False)
            for namespace in chunk:
                pipeline.hget(self._keys.of(namespace, "meta"), "home")
            for namespace, reply in zip(chunk, pipeline.execute(raise_on_error=False), strict=True):
                with suppress(NamespaceRefused, LostMemory), translated():
                    homes[namespace] = answered(reply)
        return homes

    @translated()
    def take_home(self, namespace: str, home: bytes) -> None:
        """Give the namespace this home, unless it has one."""
        self._scripts["take_home"](keys=[self._keys.of(namespace, "meta")], args=[home])

    @translated()
    def replace_home(self, namespace: str, home: bytes) -> None:
        """Give the namespace this home, in a Redis that it may have left before."""
        self._client.hset(self._keys.of(namespace, "meta"), "home", home)
        self._client.hdel(self._keys.of(namespace, "meta"), "moved")

    @translated()
    def move_away(self, namespace: str) -> None:
        """The namespace is served elsewhere from here on: scripts refuse it in this Redis for good."""
        self._client.hset(self._keys.of(namespace, "meta"), "moved", 1)
        self._client.hdel(self._keys.of(namespace, "meta"), "incarnation", "settling", "held_until")

    @translated()
    def note_settings(
        self, namespace: str, worker: str, settings: bytes, gone_seconds: float
    ) -> list[tuple[str, bytes]]:
        """Note by which settings a worker runs the namespace (with worker '' none), and answer those of others."""
        digest = hashlib.blake2b(settings, digest_size=8).hexdigest()
        others = self._scripts["note_settings"](
            keys=[self._keys.of(namespace, "meta")], args=[worker, digest, settings, int(gone_seconds * 1000)]
        )
        return [(other.decode(errors="replace"), noted) for other, noted in others]
