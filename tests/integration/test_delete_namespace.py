"""A namespace is deleted while its workers run: nothing of it is left or comes back, and the others go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from questream.errors import ExitCode, RecoveryNeeded, StoreUnavailable
from questream.migration import deleting
from questream.migration.deleting import delete_namespace
from questream.recovery.operation_topic import OperationTopic
from questream.tools.recovery import verify
from tests.contract.test_store import IDENTITY, create_two, recover
from tests.integration.test_refused_namespaces import TENANT
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Stream, assert_one_decision_each, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder, question_of


def asked(number: int, namespace: str) -> Message:
    return question(number, question_of(number % 12, number % 5), headers=[(TENANT, namespace.encode())])


def test_a_namespace_is_deleted_under_its_workers_and_begins_anew(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    options = {"input.namespace_header": TENANT, "batch_questions": 8}
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, options)
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    with (
        running_worker(stream.settings(), hash_encoder()),
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as reader,
        stream.cluster_states() as states,
    ):
        stream.send([asked(number, ("acme", "bank")[number % 2]) for number in range(120)])
        reader.until(120)
        store = stream.store()
        before = store.namespace_state("acme")
        assert before is not None
        refused = questream("namespaces", "delete", "acme", *flags)
        assert (refused.code, "say --yes" in refused.err) == (ExitCode.FAILED, True)

        # In flight while it is deleted: decided before it or after, each once.
        stream.send([asked(number, ("acme", "bank")[number % 2]) for number in range(120, 1000)])
        assert questream("clusters", "pin", "c1", "--namespace", "acme", *flags).code == ExitCode.OK
        said = ("namespaces", "delete", "acme", "--yes", "--json", "--id", "once", "--actor", "ann", "--reason", "left")
        outcome = questream(*said, *flags)
        assert outcome.code == ExitCode.OK, outcome.err
        assert outcome.json["deleted"] is True
        told = {key: outcome.json[key] for key in ("operation", "id", "kind", "actor", "reason")}
        assert told == {"operation": 2, "id": "once", "kind": "delete", "actor": "ann", "reason": "left"}
        again = questream(*said, *flags).json
        assert (again["operation"], again["time"]) == (2, outcome.json["time"])
        assert outcome.json["tombstones"] > before.next_cluster - 1
        stream.send([asked(number, ("acme", "bank")[number % 2]) for number in range(1000, 1040)])
        values = reader.values(1040)
        assert_one_decision_each(values, [f"q{number}" for number in range(1040)])
        last = [value for value in values if value["namespace"] == "acme" and int(value["question_id"][1:]) >= 1000]
        anew = {int(value["cluster_id"][1:]) for value in last}
        # By what the tombstones are of: numbers go on behind them.
        wait_until(lambda: _settled(stream), "all is published", 40)
        states.rest()
        newest = {record.key: record.value for record in states.records}
        gone = {int(key.partition(b"/c")[2]) for key, value in newest.items() if key[:6] == b"acme/c" and value is None}
        live = {int(key.partition(b"/c")[2]) for key, value in newest.items() if key[:6] == b"acme/c" and value}
        assert set(range(1, before.next_cluster)) <= gone
        assert anew <= live
        assert min(live) > max(gone)
        # What was decided before it has no say in what began anew.
        published = OperationTopic(stream.settings()).published()["acme"]
        assert ([one.kind for one in published.ordered()], published.newest) == (["delete"], 2)
        assert (
            questream("clusters", "pin", f"c{min(live)}", "--namespace", "acme", "--json", *flags).json["operation"]
            == 3
        )
        kept = {state.cluster_id for state in store.summaries("acme")}
        assert kept <= live

        with stream.redis() as client:
            client.flushall()
        stream.send([asked(number, ("acme", "bank")[number % 2]) for number in range(1040, 1060)])
        again = [value for value in reader.values(1060)[1040:] if value["namespace"] == "acme"]
        assert {int(value["cluster_id"][1:]) for value in again} <= live
        wait_until(lambda: _settled(stream), "all is published again", 40)
    assert verify(stream.settings(), 0).differences == []


def test_a_deletion_that_dies_before_redis_forgets_leaves_an_empty_namespace(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url, {"input.namespace_header": TENANT})
    stream.send([asked(number, "acme") for number in range(30)])
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        reader.until(30)
        store = stream.store()
        before = store.namespace_state("acme")
        assert before is not None

        def die(*_: object) -> bool:
            raise StoreUnavailable("Redis is gone")

        with monkeypatch.context() as patched:
            patched.setattr(type(store), "delete", die)
            with pytest.raises(StoreUnavailable):
                delete_namespace(stream.settings(), store, "acme")
        # As when the time of the hold is over.
        store.require_recovery("acme")
        stream.send([asked(30, "acme")])
        (last,) = reader.values(31)[30:]
        assert last["cluster_id"] == f"c{before.next_cluster}"
        assert [state.cluster_id for state in store.clusters("acme")] == [before.next_cluster]
        wait_until(lambda: store.unpublished("acme", 0.0, 1) == [], "all is published", 40)
    assert verify(stream.settings(), 0).differences == []
    assert delete_namespace(stream.settings(), store, "acme").tombstones > 0
    assert store.namespaces() == ["default"]
    assert verify(stream.settings(), 0).differences == []


def test_a_deletion_without_a_hold_that_lasts_deletes_nothing(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url)
    store = stream.store()
    store.open("acme", IDENTITY)
    recover(store, "acme")
    create_two(store, "acme")

    def taken_over(*_: object) -> list[bytes]:
        """The topic is read for so long that a worker recovers the namespace meanwhile."""
        recover(store, "acme")
        return []

    with monkeypatch.context() as patched:
        patched.setattr(deleting, "HOLD_SECONDS", 0.0)
        patched.setattr(deleting, "_keys", taken_over)
        with pytest.raises(RecoveryNeeded, match="nothing was deleted"):
            delete_namespace(stream.settings(), store, "acme")
    assert store.hold("acme", store.store_epoch("acme") or "", 60) is not None
    with pytest.raises(RecoveryNeeded, match="is being moved"):
        delete_namespace(stream.settings(), store, "acme")
    assert [state.cluster_id for state in store.summaries("acme")] == [1, 2]


def _settled(stream: Stream) -> bool:
    store = stream.store()
    return all(store.unpublished(name, 0.0, 1) == [] for name in ("acme", "bank"))
