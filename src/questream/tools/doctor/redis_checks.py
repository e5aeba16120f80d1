"""Redis: there, new enough, never evicting, and what it keeps through a crash."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from questream.deciding.config import topics_of
from questream.errors import NamespaceOfAnotherStream, StoreRefused, StoreUnavailable
from questream.store.protocol import NO_TOPICS
from questream.store.redis.client import connect_redis
from questream.store.redis.failures import FULL
from questream.store.redis.server import (
    CommandForbidden,
    LoginRefused,
    directive,
    server_info,
    server_time_seconds,
)
from questream.store.redis.store import RedisStore
from questream.tools.doctor.findings import Check, CheckContext, Finding, failures

OLDEST_REDIS = (6, 2)
_TOLERATED_SKEW_SECONDS = 2.0
_MOST_NAMESPACES = 1000


def check_redis(context: CheckContext) -> Iterator[Finding]:
    """Reachable and which version."""
    settings = context.settings.redis
    remedy = "check redis.url and redis.password, and that Redis runs"
    try:
        context.redis = context.opened.enter_context(closing(connect_redis(settings)))
        servers = server_info(context.redis, "server")
    except LoginRefused:
        yield Finding("redis", "fail", "the login was refused", remedy)
        return
    except CommandForbidden:
        yield Finding("redis", "warn", "there, but INFO is forbidden: nothing more can be seen", "grant +info")
        return
    except StoreUnavailable as error:
        yield from failures("redis", error, remedy)
        return
    found = [f"{_product(server)} {_version_text(server)}" for server in servers]
    nodes = f", {len(servers)} primaries" if settings.mode == "cluster" else ""
    oldest = min(_version(server) for server in servers)
    if oldest >= OLDEST_REDIS:
        yield Finding("redis", "ok", f"{found[0]}, {settings.mode}{nodes}")
    else:
        yield Finding("redis", "fail", f"{min(found)}", f"questream needs Redis {'.'.join(map(str, OLDEST_REDIS))}")


def check_eviction(context: CheckContext) -> Iterator[Finding]:
    """A Redis that evicts forgets clusters at random."""
    memories = server_info(context.redis, "memory")
    policies = {memory.get("maxmemory_policy", "unknown") for memory in memories}
    limit_bytes = min(int(memory.get("maxmemory", 0)) for memory in memories)
    used_bytes = max(int(memory.get("used_memory", 0)) for memory in memories)
    full = next(filter(_is_full, memories), None)
    if policies != {"noeviction"}:
        yield Finding(
            "redis eviction",
            "fail",
            f"maxmemory-policy is {', '.join(sorted(policies))}: clusters would vanish",
            "set maxmemory-policy to noeviction",
        )
    elif limit_bytes == 0:
        yield Finding(
            "redis eviction",
            "warn",
            f"noeviction, {_mib(used_bytes)} used, no limit: Redis may take all of the machine's memory",
            "set maxmemory",
        )
    elif full is not None:
        used, limit = int(full["used_memory"]), int(full["maxmemory"])
        yield Finding("redis eviction", "fail", f"{FULL.what}: {_mib(used)} of {_mib(limit)} used", FULL.remedy)
    else:
        yield Finding("redis eviction", "ok", f"noeviction, {_mib(used_bytes)} of {_mib(limit_bytes)} used")


def _is_full(memory: dict[str, Any]) -> bool:
    """True if the memory of this node is full. Buffers for replicas and for its file do not count."""
    limit_bytes, uncounted_bytes = int(memory.get("maxmemory", 0)), int(memory.get("mem_not_counted_for_evict", 0))
    return 0 < limit_bytes <= int(memory.get("used_memory", 0)) - uncounted_bytes


def check_persistence(context: CheckContext) -> Iterator[Finding]:
    """Check how much Redis loses in a crash."""
    persistence = server_info(context.redis, "persistence")
    replicated = any(int(node.get("connected_slaves", 0)) for node in server_info(context.redis, "replication"))
    failover = "; a failover may lose the last writes" if replicated else ""
    if not all(int(node.get("aof_enabled", 0)) for node in persistence):
        saves = any(int(node.get("rdb_last_save_time", 0)) for node in persistence)
        lost = "all since its last snapshot" if saves else "all"
        yield Finding(
            "redis persistence",
            "warn",
            f"no append-only file: a crash forgets {lost}{failover}",
            "set appendonly to yes",
        )
        return
    fsyncs = directive(context.redis, "appendfsync")
    if fsyncs == {"always"}:
        yield Finding("redis persistence", "ok", f"every committed batch survives a crash of Redis{failover}")
    elif fsyncs is None:
        yield Finding(
            "redis persistence", "ok", f"append-only file; CONFIG is forbidden, appendfsync unknown{failover}"
        )
    elif fsyncs == {"everysec"}:
        yield Finding(
            "redis persistence",
            "ok",
            f"a crash may forget the last second, which is restored from the cluster topic{failover}",
        )
    else:
        yield Finding(
            "redis persistence",
            "warn",
            f"appendfsync is {', '.join(sorted(fsyncs))}: a crash may forget the last half minute{failover}",
            "set appendfsync to everysec or always",
        )


def check_scripts(context: CheckContext) -> Iterator[Finding]:
    """The right to do what the scripts do. The key that is written to try it is gone when that ends."""
    try:
        RedisStore(context.redis, prefix=context.settings.redis.prefix).require_rights("doctor")
    except (StoreRefused, StoreUnavailable) as error:
        yield from failures("redis rights", error, "see that this is no replica and not out of memory")
        return
    yield Finding("redis rights", "ok", "scripts may run and write")


def check_stream(context: CheckContext) -> Iterator[Finding]:
    """The namespace is this stream's."""
    settings = context.settings
    namespace = settings.clusters.namespace
    store = RedisStore(context.redis, prefix=settings.redis.prefix)
    known = store.topics(namespace)
    try:
        topics_of(settings).require_same(namespace, known)
    except NamespaceOfAnotherStream as error:
        yield from failures("redis stream", error)
        return
    found = "this stream's" if known.cluster_topic else "no stream's yet"
    found = f"{namespace} under prefix {settings.redis.prefix} is {found}"
    own = known if known.cluster_topic else topics_of(settings)
    others = {store.topics(name) for name in islice(store.namespaces(), _MOST_NAMESPACES)} - {own, NO_TOPICS}
    if others:
        streams = f"{len(others)} other stream{'s' * (len(others) != 1)}"
        found += f"; {streams} (by input and cluster topic) have namespaces of their own under that prefix"
    yield Finding("redis stream", "ok", found)


def check_redis_clock(context: CheckContext) -> Iterator[Finding]:
    """The clocks of Redis and of this machine agree."""
    before = time.time()
    there_seconds = server_time_seconds(context.redis)
    after = time.time()
    skew_seconds = there_seconds - (before + after) / 2
    uncertain_seconds = (after - before) / 2
    if abs(skew_seconds) - uncertain_seconds <= _TOLERATED_SKEW_SECONDS:
        yield Finding("clock of Redis", "ok", f"within {abs(skew_seconds) + uncertain_seconds:.2f} s of this machine's")
    else:
        yield Finding(
            "clock of Redis",
            "warn",
            f"{abs(skew_seconds):.1f} s {'ahead of' if skew_seconds > 0 else 'behind'} this machine's",
            "synchronise the clocks (NTP)",
        )


def _product(server: dict[str, Any]) -> str:
    return "Valkey" if server.get("server_name") == "valkey" or "valkey_version" in server else "Redis"


def _version_text(server: dict[str, Any]) -> str:
    return str(server.get("valkey_version") or server.get("redis_version") or "?")


def _version(server: dict[str, Any]) -> tuple[int, ...]:
    # Valkey reports the Redis version that it is compatible with under Redis' name.
    return tuple(int(part) for part in str(server.get("redis_version", "0")).split(".")[:2] if part.isdigit())


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"


REDIS_CHECKS = (
    Check("redis", check_redis),
    Check("redis eviction", check_eviction, needs=("redis",)),
    Check("redis persistence", check_persistence, needs=("redis",)),
    Check("redis rights", check_scripts, needs=("redis",)),
    Check("redis stream", check_stream, needs=("redis",)),
    Check("clock of Redis", check_redis_clock, needs=("redis",)),
)
