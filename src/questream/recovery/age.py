"""A store that was restored from a copy older than the tombstones that the cluster topic still has.

What was retired after such a copy was made would come back as live clusters, beside those that were opened since for
the same questions: the topic says nothing of them any more. Workers note every ten seconds that they run; what the
topic has from long after the last note was published beside another memory than this one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from questream.errors import StoreOutdated
from questream.recovery.cluster_topic import ClusterTopic, Published
from questream.store.protocol import Store

# Some notes: a worker publishes for a while after its last one.
_LEAST_SECONDS = 60.0
# The clocks of workers and store differ.
_CLOCKS_DIFFER_SECONDS = 3600.0


def is_too_old(noted_seconds: float, published_seconds: float, kept_seconds: float) -> bool:
    """True if tombstones may be gone that were published after the copy was made.

    A worker noted last that it ran `noted_seconds` ago, and published last `published_seconds` ago; the topic keeps
    tombstones for `kept_seconds`.
    """
    beside_another = noted_seconds - published_seconds > max(_LEAST_SECONDS, min(_CLOCKS_DIFFER_SECONDS, kept_seconds))
    return beside_another and noted_seconds > kept_seconds


def require_recent(store: Store, topic: ClusterTopic, published: Mapping[str, Published]) -> None:
    """Raises StoreOutdated where the store may know clusters that were retired since, and the topic no longer does."""
    if not any(found.newest_at for found in published.values()):
        return
    known = sorted(published.keys() & set(store.namespaces()))
    newest_at = max((published[name].newest_at for name in known), default=0)
    noted_seconds = store.seconds_since_noted(known) if newest_at else None
    if noted_seconds is None or noted_seconds <= _LEAST_SECONDS:
        return
    kept_seconds = topic.tombstones_kept_seconds()
    if is_too_old(noted_seconds, time.time() - newest_at / 1000, kept_seconds):
        raise StoreOutdated(
            f"this Redis was restored from a copy that is {noted_seconds / 3600:,.0f} hours old, and the cluster topic"
            f" keeps what it says of retired clusters for {kept_seconds / 3600:,.0f} (delete.retention.ms): clusters"
            " that were retired since would come back beside their successors",
            "empty that Redis (all keys of redis.prefix; FLUSHDB where it holds nothing else), and workers restore all"
            " from the cluster topic; or, where nothing can have been retired, take it as it is with questream restore",
        )
