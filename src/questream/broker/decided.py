"""The decisions that were published of a namespace, and the questions behind them, read again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from questream.broker.connect import open_reader
from questream.broker.port import Consumer, Message, Partition
from questream.broker.reading import all_read, partitions_of, read_up_to, record_of, start_before_end
from questream.domain import Question, parse_cluster_id
from questream.errors import BadRecord
from questream.preparing import KnownSentences, no_sentences
from questream.records import open_decoder, read_decision
from questream.settings import Settings

logger = logging.getLogger(__name__)

Place = tuple[int, int]  # partition and offset in the input topic

_POLL_SECONDS = 0.2
# Records between two wanted ones that are cheaper read than jumped over.
_GAP_OFFSETS = 2000


@dataclass(frozen=True, slots=True)
class Published:
    """A published decision: the place of its question, and the cluster it joined or opened.

    `similarity` is the cosine to the cluster at that time, `decided_at` the time in the decision.
    """

    place: Place
    cluster_id: int
    created: bool
    similarity: float
    decided_at: str


class DecidedTopics:
    """Reads the decisions of one namespace as they come, and the questions behind them again; no group is joined.

    Each call may raise KafkaUnavailable or KafkaRefused. Not for more than one thread.
    """

    def __init__(
        self,
        settings: Settings,
        namespace: str,
        decisions: int,
        sentences_of: Callable[[str], KnownSentences] = no_sentences,
    ) -> None:
        """`decisions` is how many of the newest decisions of each partition of the output topic are read at first.

        The questions are prepared by `sentences_of`, which has what is known of the mails of a namespace.
        """
        self._settings = settings
        self._namespace = namespace
        self._newest = decisions
        self._decoder = open_decoder(settings, sentences_of)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._decisions = opened.enter_context(open_reader(self._settings))
            self._questions = opened.enter_context(open_reader(self._settings))
            start_before_end(self._decisions, self._settings.kafka.output_topic, self._newest)
            self._partitions = {
                p.partition: p for p in partitions_of(self._questions, self._settings.kafka.input_topic)
            }
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def input_topic(self) -> str:
        """The topic of the questions."""
        return self._settings.kafka.input_topic

    def first_offsets(self) -> dict[int, int]:
        """The first offset that the input topic still holds, by partition."""
        offsets = self._questions.beginning_offsets(list(self._partitions.values()))
        return {partition.partition: offset for partition, offset in offsets.items()}

    def read_decisions(self) -> Iterator[Published]:
        """The decisions from where the last call ended to where the topic ends now."""
        ends = self._decisions.end_offsets(list(self._decisions.assignment()))
        for message in all_read(read_up_to(self._decisions, ends)):
            published = self._published(message)
            if published is not None:
                yield published
        for partition, end in ends.items():
            # A decision that came meanwhile was fetched with the rest and passed over: it is read by the next call.
            self._decisions.seek(partition, end)

    def wait_for_decisions(self) -> list[Published]:
        """The decisions that come within a moment, if any do."""
        polled = self._decisions.poll(_POLL_SECONDS)
        found = (self._published(message) for messages in polled.values() for message in messages)
        return [published for published in found if published is not None]

    def questions(self, places: Iterable[Place]) -> Iterator[tuple[Place, Question]]:
        """The questions at these places, as far as the input topic still holds them, in order of place."""
        wanted: dict[int, list[int]] = {}
        for partition, offset in sorted(set(places)):
            wanted.setdefault(partition, []).append(offset)
        first = self.first_offsets()
        for partition, offsets in wanted.items():
            kept = [offset for offset in offsets if offset >= first.get(partition, offset + 1)]
            for message in _read_at(self._questions, self._partitions[partition], kept) if kept else ():
                question = self._question(message)
                if question is not None:
                    yield (partition, message.offset), question

    def _published(self, message: Message) -> Published | None:
        try:
            decision = read_decision(message.value)
            if decision is None:
                return None
            source = decision["source"]
            ours = decision["namespace"] == self._namespace and source["topic"] == self.input_topic
            # A replayed question was only scored: it is a member of no cluster.
            if not ours or decision["cluster_id"] is None or decision["outcome"] == "replayed":
                return None
            place = (int(source["partition"]), int(source["offset"]))
            return Published(
                place,
                parse_cluster_id(decision["cluster_id"]),
                decision["outcome"] == "created",
                float(decision["similarity"]),
                str(decision["decided_at"]),
            )
        except (TypeError, KeyError, ValueError):
            logger.warning("a record of the output topic is not a decision", extra={"offset": message.offset})
            return None

    def _question(self, message: Message) -> Question | None:
        try:
            question = self._decoder.decode(record_of(message))
        except BadRecord:
            # The settings of input say something else now than when it was decided.
            return None
        return question if question.namespace == self._namespace else None


def _read_at(consumer: Consumer, partition: Partition, offsets: Sequence[int]) -> Iterator[Message]:
    """The records at these ascending offsets of one partition; one that is not there is passed over."""
    consumer.assign([partition])
    consumer.seek(partition, offsets[0])
    end = min(offsets[-1] + 1, consumer.end_offsets([partition])[partition])
    left = deque(offsets)
    for message in read_up_to(consumer, {partition: end}):
        while left and left[0] < message.offset:
            left.popleft()
        if left and left[0] == message.offset:
            left.popleft()
            yield message
        if left and left[0] > message.offset + _GAP_OFFSETS:
            consumer.seek(partition, left[0])
