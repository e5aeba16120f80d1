"""The decisions of a stream as they come, with the texts of their questions where they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, NamedTuple

from questream.broker.connect import open_reader
from questream.broker.port import Consumer
from questream.broker.reading import RecordLookup, follow, partitions_of, read_to_end, start_at, start_before_end
from questream.errors import BadRecord
from questream.preparing import KnownSentences, no_sentences
from questream.records import QuestionDecoder, open_decoder, read_decision
from questream.settings import Settings

_RECENT_RECORDS = 1000

TextOf = Callable[[dict[str, Any]], str | None]


class Seen(NamedTuple):
    """A record of the output topic; `decision` is None where it holds none, `text` where the input topic has it not."""

    place: str
    decision: dict[str, Any] | None
    text: str | None


class Following:
    """Gives each record of the output topic as it comes, without end; `partitions` is how many are read."""

    def __init__(self, consumer: Consumer, partitions: int, text_of: TextOf | None) -> None:
        self.partitions = partitions
        self._consumer = consumer
        self._text_of = text_of

    def __iter__(self) -> Iterator[Seen]:
        for message in follow(self._consumer):
            decision = read_decision(message.value)
            text = None if decision is None or self._text_of is None else self._text_of(decision)
            yield Seen(f"{message.topic}/{message.partition}/{message.offset}", decision, text)


@contextmanager
def following(settings: Settings, begin_at: Literal["beginning", "end"], *, with_texts: bool) -> Iterator[Following]:
    """Follow the output topic from one of its ends; texts are read again from the input topic.

    Raises KafkaUnavailable or KafkaRefused, on iteration too.
    """
    with ExitStack() as opened:
        consumer = opened.enter_context(open_reader(settings))
        text_of = open_texts(settings, open_decoder(settings), opened) if with_texts else None
        yield Following(consumer, start_at(consumer, settings.kafka.output_topic, begin_at), text_of)


def recent(
    settings: Settings,
    namespace: str,
    limit: int,
    *,
    with_texts: bool,
    records: int = _RECENT_RECORDS,
    sentences_of: Callable[[str], KnownSentences] = no_sentences,
) -> list[Seen]:
    """The newest decisions of a namespace, the newest first, among so many last records of each partition.

    Their texts are prepared by `sentences_of`, which has what is known of the mails of a namespace.

    Raises KafkaUnavailable or KafkaRefused.
    """
    with ExitStack() as opened:
        consumer = opened.enter_context(open_reader(settings))
        start_before_end(consumer, settings.kafka.output_topic, records)
        found: list[tuple[str, dict[str, Any]]] = []
        for message in read_to_end(consumer):
            decision = read_decision(message.value)
            if decision is not None and decision.get("namespace") == namespace:
                found.append((f"{message.topic}/{message.partition}/{message.offset}", decision))
        found.sort(key=lambda one: str(one[1].get("decided_at")), reverse=True)
        text_of = open_texts(settings, open_decoder(settings, sentences_of), opened) if with_texts and found else None
        return [Seen(place, one, text_of(one) if text_of else None) for place, one in found[:limit]]


def open_texts(settings: Settings, decoder: QuestionDecoder, opened: ExitStack) -> TextOf:
    """Reads the questions of decisions again from the input topic, until `opened` is closed.

    It gives a text as it was embedded, None where it is not there any more or cannot be read.
    Raises KafkaUnavailable or KafkaRefused, when it is called too.
    """
    topic = settings.kafka.input_topic
    consumer = opened.enter_context(open_reader(settings, isolation="read_uncommitted"))
    known = {found.partition for found in partitions_of(consumer, topic)}
    lookup = RecordLookup(consumer)

    def text_of(decision: dict[str, Any]) -> str | None:
        source = decision.get("source")
        # Only what this stream reads: the output topic may hold decisions of another input.
        if not isinstance(source, dict) or source.get("topic") != topic or source.get("partition") not in known:
            return None
        record = lookup.find(topic, int(source["partition"]), int(source.get("offset", -1)))
        try:
            return None if record is None else decoder.decode(record).text
        except BadRecord:
            # The settings of input say something else now than when it was decided.
            return None

    return text_of
