"""Operations on their way to the operation topic: each is published by one transaction, once.

A worker claims the operations of a namespace in the store. Its records are in the log before it asks, as the last thing
before its transaction commits, if the claim is still valid. A worker that takes the claim over reads the topic first
and waits for transactions that are open there: it finds what the one before has published, and that one can publish no
more.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from questream.broker.port import Outgoing
from questream.domain import Operation
from questream.errors import KafkaRefused, KafkaUnavailable, QuestreamError, RecoveryNeeded
from questream.records import encode_corrections, encode_operation
from questream.recovery.operation_topic import CorrectionTopic, OperationTopic
from questream.store.protocol import OperationClaim, Store
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

_CLAIM_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 30.0
# Decisions wait for it: an open transaction is looked at again later.
_STANDSTILL_SECONDS = 2.0
# Claims that were not compared yet take each other's place: workers that read the topic at once would do so for ever.
_LONGEST_BACKOFF_SECONDS = 10.0
_BACKOFF_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """Operations of a namespace that this worker alone may publish, and the clusters that they are on."""

    namespace: str
    token: str
    claim: OperationClaim
    records: list[Outgoing]
    cluster_ids: list[int]
    newest: int


class OperationRelay:
    """Claims and confirms operations; `stream` names the cluster topic. It belongs to the publisher's thread.

    Where the topic is missing, or does not take a record, operations wait in the store: that is said in the log, and
    tried again after half a minute. Questions are decided meanwhile. So do those that move questions, and all behind
    them, where the topic of `corrections` is missing.
    """

    def __init__(
        self,
        store: Store,
        retry: Retry,
        topic: OperationTopic,
        corrections: CorrectionTopic,
        stream: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._retry = retry
        self._topic = topic
        self._corrections = corrections
        self._stream = stream
        self._clock = clock
        self._there: set[str] = set()
        self._held_until = -_LOOK_AGAIN_SECONDS
        # By namespace: how often another's claim came between in a row, and until when others go first.
        self._interrupted: dict[str, tuple[int, float]] = {}

    def claim(self, namespace: str, most: int) -> Claimed | None:
        """The next operations of a namespace, about `most` clusters of them; None where none is to be published now."""
        _, others_until = self._interrupted.get(namespace, (0, self._clock()))
        if self._clock() < max(self._held_until, others_until) or not self._is_there(self._topic):
            return None
        # One token for each attempt: after one whose end is unknown the topic is read first.
        token = uuid.uuid4().hex[:12]
        claim = self._retry.call(self._store.claim_operations, namespace, token, _CLAIM_SECONDS)
        if claim is not None and not claim.compared:
            if not self._compare(namespace, token):
                return None
            claim = self._retry.call(self._store.claim_operations, namespace, token, _CLAIM_SECONDS)
        self._interrupted.pop(namespace, None)
        if claim is None or not claim.compared:
            return None
        claimed = self._claimed(namespace, token, claim, most)
        if not claimed.records:
            # Of those that no store keeps any longer, and of those that wait.
            self.confirm(claimed)
            return None
        return claimed

    def require(self, claimed: Claimed) -> None:
        """Raises RecoveryNeeded unless the claim is still valid. The records of the operations are in the log."""
        claim = self._store.claim_operations(claimed.namespace, claimed.token, _CLAIM_SECONDS)
        known = claim and (claim.store_epoch, claim.published, claim.compared)
        if known != (claimed.claim.store_epoch, claimed.claim.published, True):
            raise RecoveryNeeded("another worker publishes the operations of this namespace")

    def confirm(self, claimed: Claimed) -> None:
        """These are published."""
        self._retry.call(self._store.confirm_operations, claimed.namespace, claimed.token, claimed.newest)

    def hold(self, error: QuestreamError) -> None:
        """The topics take none for now."""
        self._held_until = self._clock() + _LOOK_AGAIN_SECONDS
        self._there.clear()
        logger.error(
            "operations wait in Redis: their topics do not take them",
            extra={"topic": f"{self._topic.name}, {self._corrections.name}", "reason": str(error)},
        )

    def _claimed(self, namespace: str, token: str, claim: OperationClaim, most: int) -> Claimed:
        operations = self._retry.call(self._store.operations_from, namespace, claim.published + 1, most)
        records: list[Outgoing] = []
        cluster_ids: dict[int, None] = {}
        newest = claim.newest
        for operation in operations:
            if records and len(cluster_ids) + len(operation.after) > most:
                break
            if operation.corrections and not self._is_there(self._corrections):
                newest = operation.number - 1
                break
            records += self._records_of(namespace, operation)
            cluster_ids.update(dict.fromkeys(self._clusters_of(namespace, operation)))
            if operation.rules is not None:
                cluster_ids[0] = None  # The namespace's own state has them.
            newest = operation.number
        return Claimed(namespace, token, claim, records, list(cluster_ids), newest)

    def _clusters_of(self, namespace: str, operation: Operation) -> list[int]:
        """The clusters whose states are published with it: where texts are erased, those of all aliases too.

        Else a store that lost them would be restored with texts that the operation has erased.
        """
        clusters = list(operation.after)
        if operation.kind == "forget":
            for erased in operation.after:
                clusters += self._retry.call(self._store.forgetting, namespace, erased).aliases
        return clusters

    def _records_of(self, namespace: str, operation: Operation) -> list[Outgoing]:
        corrections = encode_corrections(namespace, self._stream, operation)
        return [
            Outgoing(self._topic.name, *encode_operation(namespace, self._stream, operation)),
            *(Outgoing(self._corrections.name, key, value) for key, value in corrections),
        ]

    def _compare(self, namespace: str, token: str) -> bool:
        """Put back what the store lacks of what was published; returns whether that is known by now.

        Who was interrupted does not claim again: that would interrupt the other, who compares by now.
        """
        try:
            found = self._topic.published(_STANDSTILL_SECONDS).get(namespace)
        except (KafkaRefused, KafkaUnavailable) as error:
            self.hold(error)
            return False
        published, newest = ([], 0) if found is None else (found.ordered(), found.newest)
        restored = self._retry.call(self._store.restore_operations, namespace, token, published, newest)
        if restored is None:
            self._let_others_go_first(namespace)
            return False
        if restored:
            logger.warning("operations are restored", extra={"namespace": namespace, "operations": restored})
        return True

    def _let_others_go_first(self, namespace: str) -> None:
        interruptions = self._interrupted.get(namespace, (0, 0.0))[0] + 1
        longest = min(_LONGEST_BACKOFF_SECONDS, _BACKOFF_SECONDS * interruptions)
        until = self._clock() + random.uniform(0, longest)  # noqa: S311 - spreads attempts, guards nothing
        self._interrupted[namespace] = interruptions, until

    def _is_there(self, topic: CorrectionTopic | OperationTopic) -> bool:
        if topic.name not in self._there:
            try:
                exists = topic.exists()
            except (KafkaRefused, KafkaUnavailable) as error:
                self.hold(error)
                return False
            if not exists:
                what = f"topic {topic.name} does not exist"
                self.hold(KafkaRefused(what, "create it with: questream topics create"))
                return False
            self._there.add(topic.name)
        return True
