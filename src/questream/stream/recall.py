"""Looks up questions in the ledgers of the assigned partitions before they are decided."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from questream.broker.port import Consumer, Partition
from questream.broker.reading import RecordCheck
from questream.deciding.namespaces import Namespaces
from questream.domain import Question, Record, Source
from questream.encoder import Encoder
from questream.errors import BadRecord, NamespaceRefused, Superseded
from questream.metrics import Metrics
from questream.records.fingerprint import fingerprint
from questream.store.protocol import Identity, Ledger
from questream.stream.polling import PollingRetry
from questream.stream.question import Recalled

logger = logging.getLogger(__name__)

# How long a namespace that the store refused is not asked for again: its records may come by the thousand.
_REFUSED_SECONDS = 10.0
_MOST_REFUSED = 1000
# Ledgers of partitions in namespaces that are held at once; any other is read again.
_MOST_LEDGERS = 65_536


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A question that its ledger, read in `store_epoch`, has no decision of; `fresh`: the ledger ended before it."""

    question: Question
    encoder: Encoder
    store_epoch: str
    fresh: bool


class Recall:
    """Reads each ledger once for as long as the assignment lasts. It belongs to the thread of the intake.

    `encoders` are those of the models that a namespace may be built with. `consumer`, the member of the group, has
    `answer_seconds` to name the group's offset.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        encoders: Mapping[Identity, Encoder],
        own_namespace: str,
        consumer: Consumer,
        answer_seconds: float,
        check: RecordCheck,
        metrics: Metrics,
        retry: PollingRetry,
    ) -> None:
        self._namespaces = namespaces
        self._encoders = encoders
        self._own_namespace = own_namespace
        self._consumer = consumer
        self._answer_seconds = answer_seconds
        self._check = check
        self._metrics = metrics
        self._retry = retry
        self._ledgers: dict[tuple[str, str, int], tuple[Ledger, Encoder]] = {}
        self._gaps_known: set[tuple[str, str, int]] = set()
        self._refused: dict[str, tuple[BadRecord, float]] = {}

    def clear(self) -> None:
        """The assignment has ended: other workers write these ledgers now."""
        self._ledgers.clear()

    def forget_from(self, stream: str, partition: int, offset: int) -> None:
        """Records from this offset on are others than those that were decided."""
        self._retry.call(self._namespaces.forget_in_all, stream, partition, offset)
        self._ledgers.clear()
        self._metrics.ledgers_begun_anew.labels("other_records").inc()

    def look_up(self, question: Question) -> Recalled | Unrecorded:
        """The decision that the ledger has of a question, or the encoder of its namespace.

        Raises BadRecord where the store refuses the namespace, NamespaceRefused where that is the worker's own,
        NamespaceHeld where another holds it, Superseded where another worker has decided and published the question
        since the assignment began.
        """
        source = question.record.source
        ledger, encoder = self._ledger(question.namespace, source)
        ledger = self._without_others(question.namespace, question.record, ledger)
        decision = ledger.decisions.get(source.offset)
        if decision is not None:
            return Recalled(question, decision, ledger.store_epoch)
        return Unrecorded(question, encoder, ledger.store_epoch, fresh=source.offset > ledger.head)

    def _ledger(self, namespace: str, source: Source) -> tuple[Ledger, Encoder]:
        """The former decisions of this namespace on this partition, and the encoder of its model then."""
        at = (namespace, *source.place)
        known = self._ledgers.get(at)
        if known is None:
            ledger = self._read_ledger(*at)
            self._gaps_known.discard(at)
            while len(self._ledgers) >= _MOST_LEDGERS:
                del self._ledgers[next(iter(self._ledgers))]
            known = self._ledgers[at] = (ledger, self._encoders[self._namespaces.config_of(namespace).identity])
        ledger, encoder = known
        if ledger.decisions and source.offset > ledger.head:
            known = self._ledgers[at] = (Ledger(ledger.head, store_epoch=ledger.store_epoch), encoder)
        return known

    def _without_others(self, namespace: str, record: Record, ledger: Ledger) -> Ledger:
        """The partition's ledger, without what is recorded of other records than the present ones.

        A log that was truncated or restored gives its offsets again. Where another worker has published the record's
        decision, the record in hand has no say in that: Superseded.
        """
        source = record.source
        at = (namespace, *source.place)
        is_recorded = source.offset in ledger.decisions
        is_known = ledger.is_of(source.offset, fingerprint(record)) if is_recorded else at in self._gaps_known
        if source.offset > ledger.head or is_known:
            return ledger
        self._require_unpublished(source)
        if not is_recorded:
            self._note_gap(at)
            if not self._head_is_another(source, ledger):
                return ledger
        logger.warning(
            "other records are where decisions were made: from here on they are new questions",
            extra={"namespace": namespace, "partition": source.partition, "offset": source.offset},
        )
        self._metrics.ledgers_begun_anew.labels("other_records").inc()
        ledger = self._retry.call(self._namespaces.forget, *at, source.offset)
        self._ledgers[at] = (ledger, self._ledgers[at][1])
        return ledger

    def _require_unpublished(self, source: Source) -> None:
        """Raise Superseded if the group's offset is above the record's: another worker had the partition meanwhile.

        With at-least-once nothing else keeps a worker that was frozen from publishing.
        """
        committed = self._consumer.committed(Partition(source.topic, source.partition), self._answer_seconds)
        if committed is not None and committed > source.offset:
            raise Superseded("another worker has decided and published these questions since they were assigned")

    def _note_gap(self, at: tuple[str, str, int]) -> None:
        """One look at what a ledger has forgotten is enough for all records below its head."""
        while len(self._gaps_known) >= _MOST_LEDGERS:
            self._gaps_known.pop()
        self._gaps_known.add(at)

    def _head_is_another(self, source: Source, ledger: Ledger) -> bool:
        """True if the record that the ledger ends with has gone from its place.

        What is not recorded at or below that is either read again, since the group was set back, or another record,
        since Kafka came back from a backup and what was decided of these offsets is pruned.
        """
        known = ledger.fingerprints.get(ledger.head, "")
        return self._check.is_another(source.topic, source.partition, ledger.head, known)

    def _read_ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        refused, until = self._refused.get(namespace, (None, 0.0))
        if refused is not None and time.monotonic() < until:
            raise refused
        try:
            return self._retry.call(self._namespaces.recorded, namespace, topic, partition)
        except NamespaceRefused as error:
            if namespace == self._own_namespace:
                raise
            refused = BadRecord("recall", error.reason, str(error))
        logger.warning("a namespace is refused: its records are dead letters", extra={"reason": str(refused)})
        while len(self._refused) >= _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[namespace] = refused, time.monotonic() + _REFUSED_SECONDS
        raise refused
