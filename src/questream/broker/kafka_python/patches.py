"""Patches of kafka-python itself. `PATCHES` lists them, and all other uses of its private parts in the adapter.

The package imports this module first: every client that it makes is mended. With another version of
kafka-python, look at each entry again: tests/unit/test_patches.py holds the list to the version and to its tests.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from kafka import errors as kafka_errors
from kafka.cluster import ClusterMetadata
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.producer import record_accumulator
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import (
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
    EndTxnHandler,
    TransactionManager,
)
from kafka.record.memory_records import MemoryRecordsBuilder

VERSION = "3.0.12"

_PAUSE_SECONDS = 0.05
_EARLY_PAUSE_SECONDS = 0.002
_LONGEST_EARLY_PAUSE_SECONDS = 0.1


class Patch(NamedTuple):
    """A fault of kafka-python, the part of it that is changed or used, and the test of the patch.

    `module` is the adapter's module that does it, `test` is `path::name`; `upstream` is the number of the issue at
    github.com/dpkp/kafka-python, None where none is known.
    """

    symptom: str
    part: str
    module: str
    test: str
    upstream: int | None = None


PATCHES = (
    Patch(
        "a client that asks for a topic creates it: the option against it does not reach the metadata",
        "kafka.cluster.ClusterMetadata.DEFAULT_CONFIG",
        "patches",
        "tests/integration/test_start.py::test_a_missing_topic_is_refused_and_not_created",
        2083,
    ),
    Patch(
        "a client whose brokers all came back at other addresses never asks the bootstrap servers again",
        "kafka.cluster.ClusterMetadata._do_refresh_metadata",
        "patches",
        "tests/contract/test_broker.py::test_a_client_whose_brokers_are_all_elsewhere_by_now_asks_where_it_began",
    ),
    Patch(
        "a request fails as if the broker were away while a quota holds its connection back",
        "kafka.net.manager.KafkaConnectionManager.send",
        "patches",
        "tests/integration/test_operations_of_kafka.py::test_calls_that_a_quota_holds_back_wait_and_succeed",
    ),
    Patch(
        "what arrives together with the end of a connection is dropped: why a login is refused is lost",
        "kafka.net.transport.KafkaTCPTransport._sock_recv",
        "patches",
        "tests/integration/test_worker_trouble.py::test_a_wrong_password_ends_the_worker_and_names_the_setting",
    ),
    Patch(
        "a transactional request is lost when its coordinator goes away, and its caller waits without end",
        "kafka.producer.sender.Sender.__init__",
        "patches",
        "tests/integration/test_operations_of_kafka.py::test_brokers_that_are_restarted_one_by_one_end_no_worker",
    ),
    Patch(
        "a producer that a quota holds back, or whose broker is away, asks in a circle without a pause",
        "kafka.producer.sender.Sender.__init__",
        "patches",
        "tests/unit/test_patches.py::test_a_sender_waits_for_as_long_as_its_broker_takes_nothing",
    ),
    Patch(
        "requests that wait behind a transaction that failed are never ended",
        "kafka.producer.transaction_manager.TransactionManager.next_request_handler",
        "patches",
        "tests/unit/test_patches.py::test_all_that_waits_ends_with_the_transaction_that_failed",
    ),
    Patch(
        "a transaction that follows another pauses as long as after any refusal, for each of its requests",
        "kafka.producer.transaction_manager.AddOffsetsToTxnHandler.handle_response",
        "patches",
        "tests/unit/test_patches.py::test_a_transaction_that_follows_another_asks_again_within_milliseconds",
    ),
    Patch(
        "a producer takes no header without a value, and no record with a null key and a null value",
        "kafka.producer.record_accumulator.MemoryRecordsBuilder",
        "patches",
        "tests/contract/test_broker.py::test_a_record_comes_as_it_was_sent",
    ),
    Patch(
        "a header whose name is not UTF-8, or a timestamp that overflows, stops its partition",
        "kafka.record.default_records.DefaultRecordBatch._read_msg",
        "batches",
        "tests/integration/test_hostile_records.py::test_header_names_that_are_not_utf8_pass_byte_for_byte",
    ),
    Patch(
        "a compressed batch is unpacked as a whole, however large that is",
        "kafka.consumer.fetcher.Fetcher.PartitionRecords",
        "batches",
        "tests/unit/test_unpacking.py::test_a_batch_beyond_the_budget_gives_its_places_and_the_next_is_read",
    ),
    Patch(
        "a poll returns any number of bytes",
        "kafka.consumer.fetcher.Fetcher._append",
        "consumer",
        "tests/integration/test_unpacking.py::test_a_poll_hands_on_no_more_bytes_than_a_batch_may_have",
    ),
    Patch(
        "a partition that has been read through keeps others from being taken up again after a pause",
        "kafka.consumer.fetcher.Fetcher._next_partition_records",
        "consumer",
        "tests/contract/test_broker.py::test_a_paused_partition_waits_and_the_others_do_not",
    ),
    Patch(
        "a position that the log does not have is moved without a word",
        "kafka.consumer.subscription_state.SubscriptionState.request_offset_reset",
        "consumer",
        "tests/contract/test_broker.py::test_a_position_that_the_log_does_not_have_is_told_once",
    ),
    Patch(
        "a position behind the end of a log that was cut is moved without a word",
        "kafka.consumer.fetcher.Fetcher._handle_offset_for_leader_epoch_response",
        "consumer",
        "tests/integration/test_positions.py::test_a_log_that_ends_below_what_was_read_is_told",
    ),
    Patch(
        "a join that new metadata caused is forgotten if a poll ends between its two requests",
        "kafka.coordinator.base.BaseCoordinator.request_rejoin",
        "consumer",
        "tests/fault/test_rebalance.py::"
        "test_partitions_added_to_the_input_topic_are_read_although_the_join_outlasts_many_polls",
    ),
    Patch(
        "a join that succeeds without a poll is thrown away and begun again",
        "kafka.coordinator.base.BaseCoordinator._join_task",
        "consumer",
        "tests/contract/test_broker.py::test_a_join_that_ends_between_two_polls_is_not_begun_again",
    ),
    Patch(
        "a member that joins before it knows its topic's partitions is given none, and joins again",
        "kafka.cluster.ClusterMetadata.request_update",
        "consumer",
        "tests/contract/test_broker.py::test_a_member_that_learns_late_of_its_topic_joins_once",
    ),
    Patch(
        "a consumer that does not know a topic, or asks for its identity, asks for all topics of the cluster",
        "kafka.consumer.group.KafkaConsumer.partitions_for_topic",
        "consumer",
        "tests/integration/test_client_metadata.py::test_a_reader_asks_for_the_topics_that_it_is_asked_of",
    ),
    Patch(
        "a producer that could not send a record is not closed: it tries on, and sends it behind newer ones",
        "kafka.producer.sender.Sender.force_close",
        "producer",
        "tests/contract/test_broker.py::test_a_closed_producer_sends_nothing_any_more",
    ),
    Patch(
        "how long a quota holds a producer back is known as an average alone",
        "kafka.net.connection.KafkaConnection._throttle_time",
        "producer",
        "tests/integration/test_operations_of_kafka.py::"
        "test_a_quota_below_what_a_batch_needs_slows_a_worker_down_and_does_not_end_it",
    ),
)


# No client of ours creates a topic by asking for it, with a broker's defaults, where `auto.create.topics.enable` is on.
# kafka-python has the option, but hands it to no client's metadata, where alone it is read.
ClusterMetadata.DEFAULT_CONFIG["allow_auto_create_topics"] = False


# A client asks the brokers that it has learned of, again and again. All of them may have come back at other addresses:
# those that it was given lead on then (KIP-899).
def _asking_where_it_began(refresh: Callable[[Any, Any], Awaitable[None]]) -> Callable[[Any, Any], Awaitable[None]]:
    async def refreshed(cluster: Any, node_id: Any) -> None:
        manager = cluster._manager
        if node_id is None and manager.least_loaded_node() is None:
            given = [broker.node_id for broker in cluster.bootstrap_brokers()]
            node_id = next((one for one in given if manager.connection_delay(one) <= 0), None)
        await refresh(cluster, node_id)

    return refreshed


ClusterMetadata._do_refresh_metadata = _asking_where_it_began(ClusterMetadata._do_refresh_metadata)


# A broker that holds a client back answers it at once, and takes nothing more for so long (KIP-219). kafka-python
# fails each request meanwhile with the error of a broker that is away: commands end, and a worker begins a new session
# with Kafka. Java's client waits.
_HELD_BACK = "throttle"


def _choosing_those_held_back(least_loaded: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def least_loaded_node(manager: Any) -> Any:
        found = least_loaded(manager)
        if found is not None:
            return found
        connections = [manager._conns.get(broker.node_id) for broker in manager.cluster.brokers()]
        held_back = [one for one in connections if one is not None and one.connected and _HELD_BACK in one.paused]
        return min(held_back, key=lambda one: one._throttle_time).node_id if held_back else None

    return least_loaded_node


def _when_not_held_back(send: Callable[..., Any]) -> Callable[..., Any]:
    def sent(manager: Any, request: Any, node_id: Any = None, request_timeout_ms: float | None = None) -> Any:
        node_id = manager.least_loaded_node() if node_id is None else node_id
        connection = manager._conns.get(node_id)
        if connection is None or _HELD_BACK not in connection.paused:
            return send(manager, request, node_id, request_timeout_ms)

        async def send_later() -> Any:
            await manager._net.sleep(max(0.0, connection._throttle_time - time.monotonic()))
            return await manager.send(request, node_id, request_timeout_ms)

        return manager.call_soon(send_later)

    return sent


KafkaConnectionManager.least_loaded_node = _choosing_those_held_back(KafkaConnectionManager.least_loaded_node)
KafkaConnectionManager.send = _when_not_held_back(KafkaConnectionManager.send)


def _data_first(receive: Callable[[Any], tuple[bytes, Any]]) -> Callable[[Any], tuple[bytes, Any]]:
    def received(transport: Any) -> tuple[bytes, Any]:
        data, error = receive(transport)
        return data, None if data else error

    return received


# kafka-python drops what arrives together with the end of a connection: a broker says why it refuses a login, and
# closes. The next read sees the end again.
for _transport in (KafkaTCPTransport, KafkaSSLTransport):
    _transport._sock_recv = _data_first(_transport._sock_recv)


# The sender takes a request out of its queue and waits for the coordinator to be connected. Where the broker has gone,
# `await_ready` raises instead of answering False; the sender then looks the coordinator up anew and forgets to put the
# request back. The transaction waits for it for ever: a rolling restart of the brokers would end every worker at its
# call deadline.
def _answering(await_ready: Callable[..., bool]) -> Callable[..., bool]:
    def is_ready(node_id: Any, timeout_ms: float = 30_000) -> bool:
        try:
            return await_ready(node_id, timeout_ms=timeout_ms)
        except kafka_errors.KafkaError:
            # The sender asks again at once.
            time.sleep(_PAUSE_SECONDS)
            return False

    return is_ready


# The sender takes the seconds until a broker may be connected again for milliseconds, and does not ask for how long a
# quota holds it back: it comes back at once, again and again, and keeps a core busy meanwhile.
def _in_milliseconds(client: Any) -> Callable[[Any], float]:
    connection_delay, throttle_delay = client.connection_delay, client.throttle_delay

    def milliseconds(node_id: Any) -> float:
        # Any event of a connection ends the wait sooner.
        return float(max(1000 * connection_delay(node_id), throttle_delay(node_id), 1000 * _PAUSE_SECONDS))

    return milliseconds


def _with_mended_client(begin: Callable[..., None]) -> Callable[..., None]:
    def begun(sender: Any, client: Any, *arguments: Any, **config: Any) -> None:
        begin(sender, client, *arguments, **config)
        # Of this client alone, which is the producer's own: others rely on the exception.
        client.await_ready = _answering(client.await_ready)
        client.connection_delay = _in_milliseconds(client)

    return begun


Sender.__init__ = _with_mended_client(Sender.__init__)


# Once a transaction has failed, for a record that its topic does not take say, the sender ends one waiting request with
# the error and then sleeps until something else happens. Offsets that wait behind that request are never ended: the
# call that sends them hangs until its deadline.
def _ending_all(next_handler: Callable[..., Any]) -> Callable[..., Any]:
    def next_request_handler(manager: Any, has_incomplete_batches: bool) -> Any:
        found = next_handler(manager, has_incomplete_batches)
        while found is None and manager.has_error() and _waits(manager):
            found = next_handler(manager, has_incomplete_batches)
        return found

    return next_request_handler


def _waits(manager: Any) -> bool:
    """True if the next request in line is one that does not wait for batches."""
    pending = manager._pending_requests
    return bool(pending) and not isinstance(pending[0][-1], EndTxnHandler)


TransactionManager.next_request_handler = _ending_all(TransactionManager.next_request_handler)


# A broker refuses the first request of a transaction until it has written the markers of the one before, most often
# within milliseconds. The sender asks again after its general pause, whatever is refused, and pauses once more for each
# request that waited behind that one.
def _noting_early_ones(handle: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def handled(request: Any, response: Any) -> None:
        handle(request, response)
        pause = 2 * getattr(request, "_pause_seconds", 0.0) or _EARLY_PAUSE_SECONDS
        request._pause_seconds = min(pause, _LONGEST_EARLY_PAUSE_SECONDS) if _is_early(response) else 0.0

    return handled


def _is_early(response: Any) -> bool:
    topics = getattr(response, "results_by_topic_v3_and_below", ())
    codes = [response.error_code, *(code for _, partitions in topics for _, code in partitions)]
    return kafka_errors.ConcurrentTransactionsError.errno in codes


def _asking_early_ones_again(next_handler: Callable[..., Any]) -> Callable[..., Any]:
    def next_request_handler(manager: Any, has_incomplete_batches: bool) -> Any:
        found = next_handler(manager, has_incomplete_batches)
        if found is not None and found.is_retry and getattr(found, "_pause_seconds", 0.0):
            time.sleep(found._pause_seconds)
            found._is_retry = False
        return found

    return next_request_handler


for _request in (AddOffsetsToTxnHandler, AddPartitionsToTxnHandler):
    _request.handle_response = _noting_early_ones(_request.handle_response)
TransactionManager.next_request_handler = _asking_early_ones_again(TransactionManager.next_request_handler)


class _Null(bytes):
    """The kind of `NULL`."""


# Replaces null where kafka-python refuses None: as a header's value, and as a key beside a null value.
NULL = _Null()


def is_null(value: Any) -> bool:
    """True if this is NULL."""
    return isinstance(value, _Null)


class _RecordsBuilder(MemoryRecordsBuilder):  # type: ignore[misc]  # kafka-python ships no types
    """Writes `NULL` as null."""

    __slots__ = ()

    def append(self, timestamp: Any, key: Any, value: Any, headers: Any = ()) -> Any:
        values = [(name, None if is_null(header) else header) for name, header in headers]
        return super().append(timestamp, key, value, values)


# All that leads here asks each value for its length; a producer offers no other place to say null.
record_accumulator.MemoryRecordsBuilder = _RecordsBuilder
