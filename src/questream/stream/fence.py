"""The fence of at-least-once: no broker keeps a worker from publishing whose partitions are another's by now."""

from __future__ import annotations

import queue
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from questream.broker.port import Consumer, GroupMetadata, Offsets, Partition
from questream.errors import KafkaTimeout, QuestreamError, Superseded


@dataclass(frozen=True, slots=True)
class _Question:
    """Asked for partitions that were read under a membership, with the first offset of each that is not published."""

    offsets: Offsets
    membership: GroupMetadata
    answer: Future[None] = field(default_factory=Future)


class Fence:
    """Asks the broker whether a membership is still the group's. All but `require` belongs to the consumer's thread.

    The broker says so to a commit alone. So the group's offsets are committed once more. The consumer has
    `answer_seconds` for each call, a thread twice as long for all.
    """

    def __init__(self, consumer: Consumer, answer_seconds: float) -> None:
        self._consumer = consumer
        self._answer_seconds = answer_seconds
        self._asked: queue.SimpleQueue[_Question] = queue.SimpleQueue()

    def require(self, offsets: Offsets, membership: GroupMetadata) -> None:
        """Raise Superseded if the partitions are another worker's by now; safe from any thread.

        `offsets` are the first ones that are not published. Raises KafkaTimeout where no answer came.
        """
        question = _Question(offsets, membership)
        self._asked.put(question)
        try:
            question.answer.result(2 * self._answer_seconds)
        except FutureTimeoutError:
            raise KafkaTimeout("the group did not say in time whether this worker is still its member") from None

    def answer(self) -> None:
        """Answer the threads that wait."""
        while not self._asked.empty():
            question = self._asked.get()
            try:
                self._ask(question)
            except QuestreamError as error:
                question.answer.set_exception(error)
            else:
                question.answer.set_result(None)

    def _ask(self, question: _Question) -> None:
        self._require_generation(question)
        offsets: dict[Partition, int] = {}
        for partition, first in question.offsets.items():
            committed = self._consumer.committed(partition, self._answer_seconds)
            if committed is not None and committed > first:
                raise Superseded("another worker has published these records since they were assigned")
            offsets[partition] = first if committed is None else committed
        self._consumer.commit(offsets, self._answer_seconds)
        self._require_generation(question)

    def _require_generation(self, question: _Question) -> None:
        if self._consumer.group_metadata().generation_id != question.membership.generation_id:
            raise Superseded("another worker has the partitions: the group has rebalanced")
