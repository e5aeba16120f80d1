"""The meaning of errors of the client for Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.exceptions

from questream.errors import (
    AnotherStore,
    LostMemory,
    NamespaceRefused,
    Problem,
    RecoveryNeeded,
    StoreRefused,
    StoreUnavailable,
)
from questream.store.protocol import StoreError
from questream.store.redis.client import describe_connection_error
from questream.store.redis.rights import concerns_key, denial

FULL = Problem(
    "its memory is full",
    "raise its maxmemory, or let clusters retire (clusters.retention_seconds, clusters.max_clusters)",
)
# Redis answers with these while it starts or fails over: the same call may succeed later.
_PASSING = re.compile(r"LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|max number of clients")
# And with these until somebody does something about it: what is wrong and the remedy, by what Redis says.
_NO_WRITES = {
    re.compile(r"READONLY|read only replica"): Problem("it is a replica", "let redis.url lead to the master"),
    re.compile(r"OOM|command not allowed when used memory"): FULL,
    re.compile(r"MISCONF"): Problem("it cannot save them to its disk", "look at its log, and free the disk"),
    re.compile(r"^BUSY "): Problem("somebody's script keeps it busy", "end it with SCRIPT KILL"),
    re.compile(r"NOREPLICAS"): Problem("it has fewer replicas than min-replicas-to-write", "start its replicas"),
}

# Of a script that begun with all rights: Redis 7.0 and older say the first, newer ones and Valkey the second.
_DENIED = re.compile(r"user executing the script|ACL failure")

# Replies of a command or a script about a field with another value than it was written with.
_UNREADABLE = re.compile(
    r"is not an integer|not a valid float|would overflow|attempt to (?:compare|perform|index|concatenate|get length)"
    r"|bad argument|Expected .+ but found|is not a string representation"
)

_UNAVAILABLE = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.MaxConnectionsError,
    # These two are no RedisError: a cluster none of whose nodes answers, or that has a slot without a node.
    redis.exceptions.RedisClusterException,
    redis.exceptions.SlotNotCoveredError,
    redis.exceptions.ClusterError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's errors into ours. The client's texts are dropped: they can quote a command and its data."""
    try:
        yield
    except (redis.exceptions.RedisError, *_UNAVAILABLE) as error:
        raise _meaning_of(error) from error
    except UnicodeDecodeError:
        # Not chained: it carries the bytes.
        pass
    else:
        return
    raise LostMemory("a field is no text")


def _meaning_of(error: Exception) -> StoreError:
    text = str(error)
    code = text.split(" ", 1)[0]
    if isinstance(error, redis.exceptions.AuthenticationError):
        return StoreRefused("Redis refused the login", "check redis.url and redis.password")
    if isinstance(error, redis.exceptions.NoPermissionError):
        # A command that is denied is denied in every namespace; a key may be of one that the login has no rights to.
        return NamespaceRefused(*denial(text)) if concerns_key(text) else StoreRefused(*denial(text))
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(
            f"Redis did not answer: {describe_connection_error(error)}", "check redis.url, and that Redis runs"
        )
    for said, why in _NO_WRITES.items():
        if said.search(text):
            return StoreUnavailable(f"Redis takes no writes: {why.what}", why.remedy)
    if _PASSING.search(text):
        return StoreUnavailable(f"Redis cannot take writes now: {code}")
    if _DENIED.search(text):
        return StoreRefused(
            "Redis denies this user a command that scripts call", "questream doctor names it; grant it with ACL SETUSER"
        )
    if code == "LEFT":
        return AnotherStore(
            "the namespace was moved to another Redis (questream restore --adopt)", "set redis.url to that one"
        )
    if code == "LOST":
        return LostMemory(text.partition(" ")[2])
    if "WRONGTYPE" in text:
        return LostMemory("a key is of another type")
    if _UNREADABLE.search(text):
        return LostMemory("a field is not what it was written as")
    if "RECOVERY_NEEDED" in text:
        return RecoveryNeeded("Redis was restarted, failed over to or emptied since it was last checked")
    return StoreRefused(f"Redis refused the call: {type(error).__name__} {code}")
