"""Publishing for a namespace that is held: one transaction, which commits only while the hold lasts."""

from __future__ import annotations

from collections.abc import Sequence

from questream.broker.connect import make_producer
from questream.broker.deadline import Watchdog
from questream.broker.port import Outgoing
from questream.broker.publisher import TransactionalPublisher
from questream.errors import KafkaUnavailable, RecoveryNeeded
from questream.settings import Settings
from questream.store.protocol import Store

HOLD_SECONDS = 60.0
# The most that brokers allow, unless configured otherwise.
_LONGEST_TRANSACTION_SECONDS = 900.0
# A broker takes some thousand states a second; what is left over is for a slow one.
_STATES_PER_SECOND = 500.0


class NotBegun(KafkaUnavailable):
    """The broker was not there before anything was sent."""


def publish_held(
    settings: Settings, store: Store, namespace: str, token: str, records: Sequence[Outgoing], what: str = "migrate"
) -> None:
    """Publish records of a namespace that `token` holds; `what` names the command in the transactional id.

    Raises RecoveryNeeded where the hold has ended, NotBegun, KafkaRefused; after KafkaUnavailable it is not known
    whether the transaction was committed.
    """
    seconds = settings.kafka.call_deadline_seconds + len(records) / _STATES_PER_SECOND
    transactional_id = f"{settings.kafka.group_id}-{what}-{namespace}"

    def require_hold() -> None:
        # As the last thing before the commit too: a recovery after that sees the open transaction, and waits.
        if not store.still_holds(namespace, token, max(HOLD_SECONDS, seconds)):
            raise RecoveryNeeded(f"holding namespace {namespace!r} took too long: a worker has recovered it")

    watchdog = Watchdog()
    publisher = TransactionalPublisher(
        lambda: make_producer(
            settings, f"questream-{what}", transactional_id, min(seconds, _LONGEST_TRANSACTION_SECONDS)
        ),
        watchdog,
        seconds,
    )
    try:
        try:
            publisher.start()
        except KafkaUnavailable as error:
            raise NotBegun(str(error)) from error
        require_hold()
        publisher.publish(records, {}, None, require_hold)
    finally:
        publisher.close()
        watchdog.stop()
