"""The dead letters of a stream: listed, counted, and sent back to the input topic.

All three take a `reason`, such as `empty_text`, or None for every dead letter, and raise KafkaUnavailable or
KafkaRefused.
"""

from __future__ import annotations

from collections.abc import Iterator

from questream.broker.connect import open_producer, open_reader
from questream.broker.dead_letters import (
    DeadLetter,
    ReplayCount,
    begin,
    read_dead_letters,
    replay_group,
    select,
    with_originals,
)
from questream.broker.dead_letters import replay as send_back
from questream.settings import Settings


def dead_letters(settings: Settings, reason: str | None = None) -> Iterator[tuple[DeadLetter, bool]]:
    """Each dead letter that the topic has now, and whether it needs no replay any more."""
    with open_reader(settings, group_id=replay_group(settings.kafka.group_id)) as consumer:
        settled = begin(consumer, settings.kafka.dead_letter_topic)
        for letter in read_dead_letters(consumer):
            if reason is None or letter.reason == reason:
                yield letter, letter.offset in settled[letter.partition]


def count_replayable(settings: Settings, reason: str | None = None) -> ReplayCount:
    """The dead letters that `replay` would send, and leave; nothing is sent."""
    kafka, count = settings.kafka, ReplayCount()
    with (
        open_reader(settings, group_id=replay_group(kafka.group_id)) as consumer,
        open_reader(settings) as originals,
    ):
        settled = begin(consumer, kafka.dead_letter_topic)
        letters = select(read_dead_letters(consumer), settled, kafka.input_topic, reason, count)
        count.sent = sum(1 for _ in with_originals(letters, originals, count))
    return count


def replay(settings: Settings, reason: str | None = None) -> ReplayCount:
    """Send dead letters back to the input topic, each once; a call that hangs ends the process."""
    kafka, count = settings.kafka, ReplayCount()
    group = replay_group(kafka.group_id)

    def on_sent(letters: int) -> None:
        count.sent += letters

    with (
        open_reader(settings, group_id=group) as consumer,
        open_reader(settings) as originals,
        open_producer(settings, transactional_id=group) as producer,
    ):
        # First of all: it ends a replay that died, or still runs elsewhere, before its offsets are read.
        producer.init_transactions()
        producer.require_topic(kafka.input_topic)
        settled = begin(consumer, kafka.dead_letter_topic)
        letters = select(read_dead_letters(consumer), settled, kafka.input_topic, reason, count)
        letters = with_originals(letters, originals, count)
        send_back(letters, settled, kafka.dead_letter_topic, group, producer, kafka.call_deadline_seconds, on_sent)
    return count
