"""Decode: a record becomes a question with its decision of before, or with its tokens, or it is refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from questream.deciding.namespaces import Namespaces
from questream.domain import Question, Record, Unread
from questream.encoder import Encoder
from questream.errors import BadRecord, DeserializerUnavailable, NamespaceHeld, Recourse, recourse_of
from questream.metrics import Metrics
from questream.records import QuestionDecoder
from questream.stream.admission import Admission
from questream.stream.polling import PollingRetry
from questream.stream.question import Pending, Queued, Recalled, Refused
from questream.stream.recall import Recall, Unrecorded
from questream.stream.sentences import Sentences

logger = logging.getLogger(__name__)

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Decoded(Generic[P]):
    """Fetched records as questions, in order within each partition.

    `ends` has the offset behind the last of them by partition. `held` has, by partition, the first question whose
    namespace somebody holds: it and all that follow it are left out.
    """

    items: Sequence[Queued]
    ends: Mapping[P, int]
    held: Mapping[P, Question]


class Decoding:
    """Decodes, admits, recalls and tokenises. It belongs to the thread of the intake."""

    def __init__(
        self,
        decoder: QuestionDecoder,
        admission: Admission,
        recall: Recall,
        namespaces: Namespaces,
        metrics: Metrics,
        retry: PollingRetry,
        sentences: Sentences,
    ) -> None:
        self._decoder = decoder
        self._admission = admission
        self._recall = recall
        self._namespaces = namespaces
        self._metrics = metrics
        self._retry = retry
        self._sentences = sentences

    def decode(self, fetched: Mapping[P, Sequence[Record]]) -> Decoded[P]:
        """The questions of fetched records, by partition.

        Raises NamespaceRefused where the store refuses the worker's own namespace, Superseded where another worker has
        decided and published some of them.
        """
        started = time.perf_counter()
        self._sentences.exchange()
        questions = self._prepared(
            self._admit(
                {partition: [self._decode(record) for record in records] for partition, records in fetched.items()}
            )
        )
        recalled: list[Refused | Recalled | Unrecorded] = []
        ends: dict[P, int] = {}
        held: dict[P, Question] = {}
        for partition, its_questions in questions.items():
            for question in its_questions:
                try:
                    recalled.append(self._recalled(question))
                except NamespaceHeld as error:
                    if recourse_of(error) is not Recourse.WAIT:
                        raise
                    assert isinstance(question, Question)  # noqa: S101 - it has a namespace
                    held[partition] = question
                    place = question.record.source
                    logger.info("a partition waits", extra={"partition": place.partition, "reason": str(error)})
                    break
                ends[partition] = question.record.source.offset + 1
        tokenising = time.perf_counter()
        self._metrics.stage_seconds.labels("decode").observe(tokenising - started)
        items = self._tokenised(recalled)
        self._metrics.stage_seconds.labels("tokenise").observe(time.perf_counter() - tokenising)
        return Decoded(items, ends, held)

    def _decode(self, record: Record) -> Question | Refused:
        try:
            return self._decode_when_possible(record)
        except BadRecord as error:
            return Refused(record, _untraced(error), by_reference=isinstance(record.value, Unread))

    def _decode_when_possible(self, record: Record) -> Question:
        try:
            return self._decoder.decode(record)
        except DeserializerUnavailable:
            # Only now: to get ready for a failure takes longer than to decode.
            return self._retry.call(self._decoder.decode, record)

    def _admit(self, decoded: Mapping[P, Sequence[Question | Refused]]) -> Mapping[P, Sequence[Question | Refused]]:
        """Open all namespaces that these are the first questions of, at once; those of others are refused."""
        named = {q.namespace for questions in decoded.values() for q in questions if isinstance(q, Question)}
        unopened = self._namespaces.unopened(named)
        if not unopened:
            return decoded
        refused = self._retry.call(self._admission.refused, unopened)
        self._retry.call(self._namespaces.open_all, unopened - refused.keys())

        def admitted(question: Question | Refused) -> Question | Refused:
            if isinstance(question, Question) and question.namespace in refused:
                return Refused(question.record, refused[question.namespace])
            return question

        return {partition: [admitted(question) for question in questions] for partition, questions in decoded.items()}

    def _prepared(self, admitted: Mapping[P, Sequence[Question | Refused]]) -> Mapping[P, Sequence[Question | Refused]]:
        """Decode the mails of a namespace once more whose sentences could not be read before it was open."""
        read = self._sentences.read()
        if not read:
            return admitted

        def prepared(question: Question | Refused) -> Question | Refused:
            if isinstance(question, Question) and question.prepared_by and question.namespace in read:
                return self._decode(question.record)
            return question

        return {partition: [prepared(question) for question in questions] for partition, questions in admitted.items()}

    def _recalled(self, question: Question | Refused) -> Refused | Recalled | Unrecorded:
        if isinstance(question, Refused):
            return question
        try:
            return self._recall.look_up(question)
        except BadRecord as error:
            return Refused(question.record, _untraced(error))

    def _tokenised(self, recalled: Sequence[Refused | Recalled | Unrecorded]) -> list[Queued]:
        """Each question that has no decision with its tokens, all those of a model at once."""
        by_encoder: dict[Encoder, list[Unrecorded]] = {}
        for item in recalled:
            if isinstance(item, Unrecorded):
                by_encoder.setdefault(item.encoder, []).append(item)
        tokenised = {encoder: iter(_tokenise(encoder, items)) for encoder, items in by_encoder.items()}
        return [next(tokenised[item.encoder]) if isinstance(item, Unrecorded) else item for item in recalled]


def _tokenise(encoder: Encoder, items: Sequence[Unrecorded]) -> list[Pending | Refused]:
    try:
        tokens = encoder.tokenise([item.question.text for item in items])
    except BadRecord:
        tokens = None
    if tokens is None:
        return [_tokenise_alone(encoder, item) for item in items]
    return [
        Pending(item.question, its_tokens, encoder, item.store_epoch, item.fresh)
        for item, its_tokens in zip(items, tokens, strict=True)
    ]


def _tokenise_alone(encoder: Encoder, item: Unrecorded) -> Pending | Refused:
    try:
        (tokens,) = encoder.tokenise([item.question.text])
    except BadRecord as error:
        return Refused(item.question.record, _untraced(error))
    return Pending(item.question, tokens, encoder, item.store_epoch, item.fresh)


def _untraced(error: BadRecord) -> BadRecord:
    """The error without its traceback, whose frames hold all that was fetched with it: a cycle that is freed late."""
    return error.with_traceback(None)
