"""A Redis that has forgotten acknowledged writes is noticed before an old id names a new cluster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import redis

from questream import QuestionClusterer
from questream.errors import StoreLost
from questream.store.redis import RedisStore
from tests.servers import RedisServer
from tests.unit.test_assignment import stream


def test_a_store_that_stands_behind_what_was_seen_takes_no_more(redis_factory: Callable[..., RedisServer]) -> None:
    client = redis.Redis.from_url(redis_factory().url)
    clusterer = QuestionClusterer(dimension=16, store=RedisStore(client))
    questions = stream(1, 90, 6, 16, 0.3, 0.5)
    clusterer.assign(questions[:30])
    before = {key: client.dump(key) or b"" for key in client.scan_iter()}
    clusterer.assign(questions[30:60])
    client.flushall()
    for key, value in before.items():
        client.restore(key, 0, value)
    with pytest.raises(StoreLost, match="forgotten its last writes"):
        clusterer.assign(questions[60:])


def test_a_flushed_store_takes_no_more(redis_factory: Callable[..., RedisServer]) -> None:
    client = redis.Redis.from_url(redis_factory().url)
    clusterer = QuestionClusterer(dimension=4, store=RedisStore(client))
    clusterer.assign(np.eye(4))
    client.flushall()
    with pytest.raises(StoreLost, match="lost or flushed"):
        clusterer.assign(np.eye(4))
