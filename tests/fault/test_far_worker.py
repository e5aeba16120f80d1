"""Workers race for one namespace, and one of them is far from Redis: each gets its share, and nobody opens a twin."""

from __future__ import annotations

import threading
import uuid
from urllib.parse import urlsplit

import numpy as np

from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Matrix, Source
from questream.settings import RedisSettings
from questream.store.protocol import Identity
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore
from tests.kit.servers.network import Link

DIMENSION, BATCH, SUBJECTS = 64, 8, 16384
NEAR, FAR_BATCHES, FAR_SECONDS = 4, 6, 0.04
MOST_REFUSALS = 8
RULES = Rules(0.8, 0.95, similarity="cosine")


class _Racer(threading.Thread):
    """Decides batch after batch of subjects, each of which is new to whoever comes to it first."""

    def __init__(self, url: str, namespace: str, partition: int, subjects: Matrix, ended: threading.Event) -> None:
        super().__init__(name=f"racer {partition}", daemon=True)
        self.batches = self.refusals = 0
        self.ids: dict[int, int] = {}
        self.error: BaseException | None = None
        identity = Identity("model", "1", DIMENSION, RULES.similarity, RULES.linkage, RULES.threshold)
        store = RedisStore(connect_redis(RedisSettings.model_validate({"url": url})))
        self._clusterer = Clusterer(store, Namespaces(store, NamespaceConfig(identity, RULES)))
        self._namespace, self._partition, self._subjects, self._ended = namespace, partition, subjects, ended

    def run(self) -> None:
        try:
            self._race()
        except BaseException as error:
            self.error = error
            self._ended.set()

    def _race(self) -> None:
        order = np.random.default_rng(self._partition).permutation(len(self._subjects))
        store_epoch = self._clusterer.namespaces.recovered(self._namespace)
        for start in range(0, len(order), BATCH):
            if self._ended.is_set():
                return
            chosen = order[start : start + BATCH]
            arrivals = [
                Arrival(Source("questions", self._partition, start + i, 1), f"subject {subject}")
                for i, subject in enumerate(chosen)
            ]
            batch = NamespaceBatch(self._namespace, store_epoch, arrivals, self._subjects[chosen])
            self._clusterer.decide([batch], {})
            decided = batch.decided()
            for subject, decision in zip(chosen, decided.decisions, strict=True):
                assert decision.cluster_id is not None
                self.ids[int(subject)] = decision.cluster_id
            self.batches += 1
            self.refusals += decided.stale_retries
            if self._partition == NEAR and self.batches == FAR_BATCHES:
                self._ended.set()


def test_a_worker_far_from_redis_gets_its_share_and_nobody_opens_a_twin(redis_url: str) -> None:
    subjects = np.random.default_rng(1).normal(size=(SUBJECTS, DIMENSION)).astype(np.float32)
    subjects /= np.linalg.norm(subjects, axis=1, keepdims=True)
    namespace, ended = f"race-{uuid.uuid4().hex[:8]}", threading.Event()
    server = urlsplit(redis_url)
    assert server.port is not None
    with Link(server.port) as link:
        link.delay(FAR_SECONDS)
        far_url = redis_url.replace(f":{server.port}", f":{link.port}")
        urls = [redis_url] * NEAR + [far_url]
        racers = [_Racer(url, namespace, at, subjects, ended) for at, url in enumerate(urls)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
    assert [racer.error for racer in racers] == [None] * len(racers)
    far = racers[-1]
    print([(racer.batches, racer.refusals) for racer in racers])  # noqa: T201 - pytest shows it with -s
    assert far.batches == FAR_BATCHES
    assert far.refusals <= MOST_REFUSALS * FAR_BATCHES
    # A subject has one cluster, whoever came to it, and a cluster one subject.
    ids: dict[int, set[int]] = {}
    for racer in racers:
        for subject, cluster_id in racer.ids.items():
            ids.setdefault(subject, set()).add(cluster_id)
    assert all(len(found) == 1 for found in ids.values())
    assert len({cluster_id for found in ids.values() for cluster_id in found}) == len(ids)
