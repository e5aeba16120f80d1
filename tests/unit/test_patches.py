"""What questream mends in kafka-python: each patch has its place and its test; no caller waits for a lost request."""

from __future__ import annotations

import importlib
import re
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import ConcurrentTransactionsError, CoordinatorLoadInProgressError, MessageSizeTooLargeError
from kafka.net.compat import KafkaNetClient
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import ProducerIdAndEpoch, TransactionManager, TransactionState

from questream.broker.kafka_python.patches import PATCHES, VERSION, Patch

ROOT = Path(__file__).parents[2]


def test_the_patches_are_of_the_version_that_is_installed() -> None:
    assert version("kafka-python") == VERSION


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.part.rpartition(".")[2])
def test_each_patch_has_what_it_mends_a_module_and_a_test(patch: Patch) -> None:
    file, _, name = patch.test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    module = (ROOT / "src/questream/broker/kafka_python" / f"{patch.module}.py").read_text()
    assert patch.part.rpartition(".")[2] in module or patch.part.rpartition(".")[2] == "__init__"
    found: Any = importlib.import_module("kafka")
    for part in patch.part.split(".")[1:]:
        # What an instance alone has is not looked for on its class.
        if not hasattr(found, part) and isinstance(found, type):
            break
        found = getattr(found, part)


def asks_again_after_seconds(monkeypatch: pytest.MonkeyPatch, **state: dict[int, Any]) -> float:
    """How long a producer's sender waits that has a record for broker 1, where the connections stand so."""
    client = KafkaNetClient(bootstrap_servers="127.0.0.1:1")
    accumulator = RecordAccumulator(delivery_timeout_ms=120_000)
    sender = Sender(client, client.cluster, accumulator)
    monkeypatch.setattr(client.cluster, "leader_for_partition", lambda _: 1)
    for name, values in state.items():
        monkeypatch.setattr(client._manager, name, values)
    accumulator.append(TopicPartition("decisions", 0), 0, b"key", b"value", [], 1000)
    seconds: float = sender._send_producer_data() / 1000
    client._net.close()
    return seconds


def test_a_sender_waits_for_as_long_as_its_broker_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asked for nothing else than whether the broker takes something meanwhile, as fast as a core can."""
    later = time.monotonic() + 40
    held = SimpleNamespace(connected=True, paused={"throttle"}, _throttle_time=later)
    assert 30 < asks_again_after_seconds(monkeypatch, _conns={1: held}) < 40
    assert 30 < asks_again_after_seconds(monkeypatch, _backoff={1: (1, later, 1000)}) < 40
    # A connection that is being made is heard of when it is there.
    being_made = SimpleNamespace(connected=False, paused=set(), _throttle_time=0)
    assert asks_again_after_seconds(monkeypatch, _conns={1: being_made}) == 0.05


def in_transaction() -> TransactionManager:
    manager = TransactionManager(transactional_id="worker", api_version=(3, 9))
    manager.initialize_transactions()
    manager.next_request_handler(False)
    manager.set_producer_id_and_epoch(ProducerIdAndEpoch(1, 0))
    manager._transition_to(TransactionState.READY)
    manager.begin_transaction()
    return manager


def test_all_that_waits_ends_with_the_transaction_that_failed() -> None:
    """The sender asks once and then sleeps for as long as nothing happens."""
    manager = in_transaction()
    manager.maybe_add_partition_to_transaction(TopicPartition("decisions", 0))
    # The broker is busy with the transaction before: the request is to be sent again.
    manager.retry(manager.next_request_handler(True))
    offsets = manager.send_offsets_to_transaction({TopicPartition("questions", 0): OffsetAndMetadata(1, "", -1)}, "g")
    manager.transition_to_abortable_error(MessageSizeTooLargeError())
    assert manager.next_request_handler(True) is None
    assert offsets.is_done
    with pytest.raises(MessageSizeTooLargeError):
        offsets.wait()


@pytest.mark.parametrize("request_of", ["offsets", "partitions"])
def test_a_transaction_that_follows_another_asks_again_within_milliseconds(
    monkeypatch: pytest.MonkeyPatch, request_of: str
) -> None:
    """The sender waited for as long as before any other request that it sends again: most of a small transaction."""
    waits: list[float] = []
    monkeypatch.setattr("questream.broker.kafka_python.patches.time.sleep", waits.append)
    manager = in_transaction()
    response: Any
    if request_of == "offsets":
        manager.send_offsets_to_transaction({TopicPartition("questions", 0): OffsetAndMetadata(1, "", -1)}, "g")
        response = SimpleNamespace(error_code=ConcurrentTransactionsError.errno)
    else:
        manager.maybe_add_partition_to_transaction(TopicPartition("decisions", 0))
        results = [("decisions", [(0, ConcurrentTransactionsError.errno)])]
        response = SimpleNamespace(error_code=0, results_by_topic_v3_and_below=results)
    for _ in range(8):
        request = manager.next_request_handler(True)
        # By this alone the sender knows that it has to wait.
        assert not request.is_retry
        request.handle_response(response)
    assert waits == [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.1]


def test_another_refusal_is_waited_for_as_long_as_the_client_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("questream.broker.kafka_python.patches.time.sleep", waits.append)
    manager = in_transaction()
    manager.send_offsets_to_transaction({TopicPartition("questions", 0): OffsetAndMetadata(1, "", -1)}, "g")
    for error in (ConcurrentTransactionsError, CoordinatorLoadInProgressError):
        manager.next_request_handler(True).handle_response(SimpleNamespace(error_code=error.errno))
    assert manager.next_request_handler(True).is_retry
    assert waits == [0.002]


def test_an_abort_still_waits_for_the_batches_in_flight() -> None:
    manager = in_transaction()
    manager.maybe_add_partition_to_transaction(TopicPartition("decisions", 0))
    manager.retry(manager.next_request_handler(True))
    manager.transition_to_abortable_error(MessageSizeTooLargeError())
    assert manager.next_request_handler(True) is None
    aborted = manager.begin_abort()
    assert manager.next_request_handler(True) is None
    assert not aborted.is_done
