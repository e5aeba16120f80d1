"""The cost of an operation for its caller and the store, in a namespace of many clusters."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from questream.deciding.config import namespace_config
from questream.lab.bench.clusters import fill_namespace, made_up_clusters
from questream.lab.bench.questions import in_letters, table_encoder
from questream.lab.bench.servers import own_namespace
from questream.operations import By, Decisions
from questream.operations.binding import KnownQuestion
from questream.operations.requests import Propose
from questream.settings import Settings
from questream.store.protocol import Store
from questream.store.redis.client import connect_redis
from questream.store.redis.store import open_store

_TOPIC = "bench"
# Of each kind.
_RUNS = 100

Make = Callable[[Decisions, int], Propose]


@dataclass(frozen=True, slots=True)
class OperationFigures:
    """The cost of an operation in ms of processor time: the mean of `runs` of them, each on clusters of its own.

    `cpu_mean` is that of the caller, `store_cpu_mean` that of the store, None where it does not report it.
    """

    kind: str
    dimension: int
    clusters: int
    runs: int
    cpu_mean: float
    store_cpu_mean: float | None


def measure_operations(settings: Settings, dimension: int, clusters: int) -> list[OperationFigures]:
    """Commit operations of a few kinds in a namespace of its own. Raises what the store raises."""
    runs = min(_RUNS, clusters // 2)
    centres, _ = made_up_clusters(dimension, clusters, 0)
    identity = namespace_config(settings, table_encoder((), centres[:0])).identity
    store = open_store(settings.redis, settings.clusters.log_entries)

    def asked(at: int) -> list[KnownQuestion]:
        return [KnownQuestion(at + 1, centres[at], (_TOPIC, 1, at))]

    kinds: dict[str, Make] = {
        "label": lambda by, at: by.label(at + 1, f"label {in_letters(at)}", None),
        "pin": lambda by, at: by.mark("pin", at + 1),
        "reject": lambda by, at: by.reject(asked(at)),
        "split": lambda by, at: by.split(at + 1, asked(at)),
        "merge": lambda by, at: by.merge(2 * at + 1, 2 * at + 2, lambda *_: True),
    }
    with own_namespace(settings) as namespace, closing(connect_redis(settings.redis)) as client:
        fill_namespace(store, namespace, identity, centres)
        return [
            OperationFigures(kind, dimension, clusters, runs, *_mean_cost(store, namespace, client, make, runs))
            for kind, make in kinds.items()
            if runs
        ]


def _mean_cost(store: Store, namespace: str, client: Any, make: Make, runs: int) -> tuple[float, float | None]:
    """Milliseconds of this process and of the store for each of `runs` operations."""
    before, started = _store_seconds(client), time.process_time()
    for at in range(runs):
        decisions = Decisions(store, namespace, By("bench"))
        decisions.commit(make(decisions, at))
    own, after = time.process_time() - started, _store_seconds(client)
    return 1000 * own / runs, None if before is None or after is None else 1000 * (after - before) / runs


def _store_seconds(client: Any) -> float | None:
    """Processor time of the server so far; None where it is several, or does not report it."""
    figures = client.info("cpu")
    parts = [figures.get(name) for name in ("used_cpu_user", "used_cpu_sys")]
    return None if None in parts else float(sum(parts))
