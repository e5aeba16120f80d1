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
from kafka.errors import MessageSizeTooLargeError
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


def test_an_abort_still_waits_for_the_batches_in_flight() -> None:
    manager = in_transaction()
    manager.maybe_add_partition_to_transaction(TopicPartition("decisions", 0))
    manager.retry(manager.next_request_handler(True))
    manager.transition_to_abortable_error(MessageSizeTooLargeError())
    assert manager.next_request_handler(True) is None
    aborted = manager.begin_abort()
    assert manager.next_request_handler(True) is None
    assert not aborted.is_done
