"""Clusters in Redis: one script per micro-batch, all keys of a namespace in one slot."""

from __future__ import annotations

from questream.settings import RedisSettings
from questream.store.protocol import UNDO_SECONDS
from questream.store.redis.client import connect_redis
from questream.store.redis.clusters import RedisClusters
from questream.store.redis.commits import RedisCommits
from questream.store.redis.failures import translated
from questream.store.redis.levels import RedisLevels
from questream.store.redis.logs import RedisLogs
from questream.store.redis.names import RedisNames
from questream.store.redis.namespaces import RedisNamespaces
from questream.store.redis.operations import RedisOperations
from questream.store.redis.outbox import RedisOutbox
from questream.store.redis.recovery import RedisRecovery
from questream.store.redis.sentences import RedisSentences


def open_store(settings: RedisSettings, log_entries: int = 8192, undo_seconds: float = UNDO_SECONDS) -> RedisStore:
    """The store that the settings lead to.

    Raises SettingsError if they cannot be used, StoreUnavailable if a Redis Cluster does not answer; any other Redis is
    first asked when it is first used.
    """
    with translated():
        client = connect_redis(settings)
        return RedisStore(client, log_entries=log_entries, prefix=settings.prefix, undo_seconds=undo_seconds)


class RedisStore(
    RedisNamespaces,
    RedisCommits,
    RedisLogs,
    RedisOutbox,
    RedisRecovery,
    RedisClusters,
    RedisOperations,
    RedisLevels,
    RedisNames,
    RedisSentences,
):
    """The Store on Redis 6.2 or newer, or Valkey: single node, Sentinel or Cluster.

    `client` is a redis.Redis or redis.RedisCluster that answers bytes (redis-py's annotations allow for both bytes and
    str, hence Any). `log_entries` bounds each namespace's log; a worker that falls further behind reloads its mirror.
    What a merge absorbs is kept for `undo_seconds`; a cluster that an operation retires leaves the topic after
    `tombstone_seconds`, when nobody can still be publishing an earlier state of it.
    All its keys begin with `prefix`.
    """
