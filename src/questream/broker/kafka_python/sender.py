"""A sender that loses no transactional request, and leaves none unanswered.

kafka-python 3.0.12's sender takes a request out of its queue and waits for the coordinator to be connected. Where the
broker has gone, `await_ready` raises instead of answering False; the sender then looks the coordinator up anew and
forgets to put the request back. The transaction waits for it for ever: a rolling restart of the brokers would end
every worker at its call deadline.

Once a transaction has failed, for a record that its topic does not take say, the sender ends one waiting request with
the error and then sleeps until something else happens. Offsets that wait behind that request are never ended: the call
that sends them hangs until its deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kafka import errors as kafka_errors
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import EndTxnHandler, TransactionManager

_PAUSE_SECONDS = 0.05


def _answering(await_ready: Callable[..., bool]) -> Callable[..., bool]:
    def is_ready(node_id: Any, timeout_ms: float = 30_000) -> bool:
        try:
            return await_ready(node_id, timeout_ms=timeout_ms)
        except kafka_errors.KafkaError:
            # The sender asks again at once.
            time.sleep(_PAUSE_SECONDS)
            return False

    return is_ready


def _with_answering_client(begin: Callable[..., None]) -> Callable[..., None]:
    def begun(sender: Any, client: Any, *arguments: Any, **config: Any) -> None:
        begin(sender, client, *arguments, **config)
        # Of this client alone, which is the producer's own: others rely on the exception.
        client.await_ready = _answering(client.await_ready)

    return begun


def _ending_all(next_handler: Callable[..., Any]) -> Callable[..., Any]:
    def next_request_handler(manager: Any, has_incomplete_batches: bool) -> Any:
        found = next_handler(manager, has_incomplete_batches)
        while found is None and manager.has_error() and _waits(manager):
            found = next_handler(manager, has_incomplete_batches)
        return found

    return next_request_handler


def _waits(manager: Any) -> bool:
    """Whether the next request in line is one that does not wait for batches."""
    pending = manager._pending_requests
    return bool(pending) and not isinstance(pending[0][-1], EndTxnHandler)


def mend_senders() -> None:
    """Have every producer of this process keep its transactional requests, and end all of them after an error."""
    if Sender.__init__.__qualname__ != _with_answering_client.__qualname__ + ".<locals>.begun":
        Sender.__init__ = _with_answering_client(Sender.__init__)
        TransactionManager.next_request_handler = _ending_all(TransactionManager.next_request_handler)
