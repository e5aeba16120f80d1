"""A store that forgets what it has acknowledged."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal, Self

from questream.settings.tree import DEFAULT_PREFIX
from questream.store.redis.keys import Keys
from tests.kit.campaign.bed import Bed
from tests.kit.campaign.faults.base import Dice, Fault, StoreKind
from tests.kit.campaign.faults.servers import SINGLE
from tests.kit.campaign.traffic import NAMESPACES, question_value
from tests.kit.stream import Message, wait_until

KEYS = Keys(DEFAULT_PREFIX)
PUT_BACK_SECONDS = 120.0
SENTINEL: frozenset[StoreKind] = frozenset({"sentinel"})


@dataclass(frozen=True)
class FlushedStore(Fault):
    """FLUSHALL."""

    kind = "store flushed"
    struck = "store"
    needs = SINGLE
    loses_memory = True

    def inflict(self, bed: Bed) -> None:
        with bed.single.server.client() as client:
            client.flushall()


@dataclass(frozen=True)
class ForgetfulStore(Fault):
    """A machine dies with a Redis that syncs every second: the end of its append-only file is gone, in mid-command."""

    kind = "store killed, last second lost"
    struck = "store"
    needs = SINGLE
    loses_memory = True
    lost_seconds: float
    torn_bytes: int
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0.3, 1), dice.choice([0, 1, 100]), dice.seconds(0, 3))

    def inflict(self, bed: Bed) -> None:
        server = bed.single.server
        server.set(appendfsync="everysec")
        kept_bytes = server.append_file.stat().st_size
        time.sleep(self.lost_seconds)
        server.kill()
        # Redis cuts a torn command off when it starts (aof-load-truncated).
        torn = min(kept_bytes + self.torn_bytes, server.append_file.stat().st_size)
        server.cut_append_file(torn)
        time.sleep(self.down_seconds)
        server.start()
        server.set(appendfsync="always")


@dataclass(frozen=True)
class FailedOver(Fault):
    """The master dies, and Sentinel makes a replica the master that misses its last seconds."""

    kind = "failover to a lagging replica"
    struck = "store"
    needs = SENTINEL
    loses_memory = True
    lag_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.choice([0.0, dice.seconds(0.2, 3)]))

    def inflict(self, bed: Bed) -> None:
        if self.lag_seconds:
            bed.sentinel.servers.stop_replication()
            time.sleep(self.lag_seconds)
        bed.sentinel.servers.fail_over()


# All keys as of one moment, each with its name: one dumped after the other, they would not be of one state.
_DUMP = """
local dumps = {}
for _, name in ipairs(redis.call('KEYS', '*')) do dumps[#dumps + 1] = {name, redis.call('DUMP', name)} end
return dumps
"""


@dataclass(frozen=True)
class RestoredDump(Fault):
    """Somebody puts every key back as it was some seconds ago, into the Redis that goes on running."""

    kind = "dump put back in place"
    struck = "store"
    needs = SINGLE
    loses_memory = True
    older_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0.2, 6))

    def inflict(self, bed: Bed) -> None:
        with bed.stream.redis() as client:
            dumps: list[tuple[bytes, bytes]] = client.eval(_DUMP, 0)
            time.sleep(self.older_seconds)
            together = client.pipeline(transaction=True)
            together.flushdb()
            for name, dump in dumps:
                together.restore(name, 0, dump, replace=True)
            together.execute()


# KEYS: index, outbox; ARGV: what the names of clusters begin with. Answers the number and the representative of the
# cluster that goes, or nothing. A state that is not published yet would be gone for good.
_REMOVE_CLUSTER = """
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
for at = #members, 1, -1 do
  local name = ARGV[1] .. members[at]
  if not redis.call('ZSCORE', KEYS[2], members[at]) then
    local text = redis.call('HGET', name, 'representative')
    redis.call('DEL', name)
    return {members[at], text}
  end
end
return {}
"""


@dataclass(frozen=True)
class RemovedKey(Fault):
    """One key of a namespace is gone: a DEL by hand, an eviction, a restore of a part."""

    kind = "key removed"
    struck = "store"
    needs = SINGLE
    loses_memory = True
    namespace: str
    key: Literal["cluster", "ledgers", "meta", "log", "index", "outbox"]

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        keys: tuple[Any, ...] = ("cluster", "cluster", "ledgers", "meta", "log", "index", "outbox")
        return cls(dice.choice(NAMESPACES), dice.choice(keys))

    def inflict(self, bed: Bed) -> None:
        with bed.stream.redis() as client:
            if self.key == "cluster":
                self._remove_cluster(client, bed)
            elif self.key == "ledgers":
                client.delete(*client.keys(KEYS.named(self.namespace, "ledger:*")))
            else:
                client.delete(KEYS.named(self.namespace, {"index": "idle"}.get(self.key, self.key)))

    def _remove_cluster(self, client: Any, bed: Bed) -> None:
        """Who asks for the cluster notices; one that nobody asks for stays away."""
        names = [KEYS.of(self.namespace, name) for name in ("idle", "outbox")]
        prefix = KEYS.named(self.namespace, "cluster:")
        removed: list[bytes] = []
        while not removed:
            removed = client.eval(_REMOVE_CLUSTER, 2, *names, prefix)
        number, text = (part.decode() for part in removed)
        name = f"removed-{number}-{uuid.uuid4().hex[:6]}"
        value = question_value(name, text, self.namespace)
        bed.traffic.send_besides([Message(value, name.encode())])
        wait_until(lambda: bool(client.exists(f"{prefix}{number}")), "the cluster is put back", PUT_BACK_SECONDS)
