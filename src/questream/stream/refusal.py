"""Refused work: a namespace that the store refuses, a batch of partitions that another worker has."""

from __future__ import annotations

import logging
from typing import Any

from questream.errors import NamespaceRefused, Recourse, recourse_of
from questream.metrics import Metrics
from questream.stream.backlog import Batch

logger = logging.getLogger(__name__)


def pass_over(namespace: str, own_namespace: str, error: NamespaceRefused) -> None:
    """The other namespaces go on. Raises the error where the worker's own namespace is refused."""
    if recourse_of(error) is not Recourse.SET_ASIDE or namespace == own_namespace:
        raise error
    logger.warning("a namespace is passed over", extra={"namespace": namespace, "reason": str(error)})


def drop(batch: Batch[Any], metrics: Metrics) -> None:
    """The next owner of the batch's partitions publishes it, out of the ledger where it is decided."""
    metrics.dropped.inc(len(batch.items))
    logger.info("a batch was dropped: its partitions went to another worker", extra={"records": len(batch.items)})
