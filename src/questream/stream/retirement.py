"""Retirement: between batches, have the store retire what `clusters.retention_seconds` and its kin say is due."""

from __future__ import annotations

import logging

from questream.domain import NamespaceRules
from questream.metrics import Metrics
from questream.settings import Settings
from questream.store.protocol import Store
from questream.store.retention import Retention
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

# Of each kind in each namespace, every other second: more than a worker opens in that time.
_RETIRED_AT_ONCE = 4096


def retention_of(settings: Settings) -> Retention:
    """The limits of retention. No worker publishes a state for longer than a call to the broker may take."""
    clusters = settings.clusters
    return Retention(
        idle_seconds=clusters.retention_seconds,
        singleton_seconds=clusters.singleton_retention_seconds,
        alias_seconds=clusters.alias_retention_seconds,
        max_clusters=clusters.max_clusters,
        tombstone_seconds=settings.kafka.call_deadline_seconds,
    )


class Retirement:
    """Any worker may retire any cluster: the store looks again whether it is still due, and mirrors follow the log."""

    def __init__(self, store: Store, retention: Retention, metrics: Metrics, retry: Retry) -> None:
        self._store = store
        self._retention = retention
        self._metrics = metrics
        self._retry = retry

    def sweep(self, namespace: str, rules: NamespaceRules) -> None:
        """Retire what is due in a recovered namespace, by its own rules where it has any.

        Tombstones are published by way of the outbox.
        """
        retention = self._retention.in_force(rules)
        if retention.is_unlimited:
            return
        retired = self._retry.call(self._store.retire, namespace, retention, _RETIRED_AT_ONCE)
        for reason, cluster_ids in retired.ids.items():
            self._metrics.retired.labels(reason).inc(len(cluster_ids))
        if retired.count:
            logger.debug("clusters retired", extra={"namespace": namespace, "clusters": retired.count})
