"""What is published of a namespace that is held counts only while the hold stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from questream.broker.port import Outgoing
from questream.errors import RecoveryNeeded
from questream.migration.held import publish_held
from questream.store.redis.store import RedisStore
from tests.contract.test_store import IDENTITY, recover
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream


class Ending(list[Outgoing]):
    """Records in whose middle a hold ends."""

    def __init__(self, records: list[Outgoing], end: Callable[[], object]) -> None:
        super().__init__(records)
        self._end = end

    def __iter__(self) -> Iterator[Outgoing]:
        self._end()
        return super().__iter__()


def hold(store: RedisStore) -> str:
    token = store.hold("default", store.store_epoch("default") or "", 60.0)
    assert token is not None
    return token


def test_nothing_is_published_of_a_namespace_whose_hold_has_ended(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url)
    settings, store = stream.settings(), stream.store()
    store.open("default", IDENTITY)
    recover(store, "default")
    token = hold(store)
    records = [Outgoing(stream.topics.cluster_topic, b"default/c1", b"{}")]
    publish_held(settings, store, "default", token, records)
    store.recover("default", token, None, {})
    with pytest.raises(RecoveryNeeded):
        publish_held(settings, store, "default", token, records)
    later = hold(store)
    ending = Ending(records, lambda: store.recover("default", later, None, {}))
    with pytest.raises(RecoveryNeeded):
        publish_held(settings, store, "default", later, ending)
    with stream.cluster_states() as reader:
        assert len(reader.rest()) == 1
