"""A sample of a stream's questions: from a file, or the newest of the input topic."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from questream.errors import BadRecord
from questream.records.files import FileTexts, read_questions

if TYPE_CHECKING:
    from questream.settings import Settings


def sample_of_file(path: Path, questions: int, seed: int, texts: FileTexts) -> list[str]:
    """At most `questions` texts of a file, drawn by `seed`, in its order. Raises QuestionFileError."""
    every = [question.text for question in read_questions(path, texts) if question.text.strip()]
    return drawn(every, questions, seed)


def drawn(texts: Sequence[str], questions: int, seed: int) -> list[str]:
    """At most `questions` of the texts, drawn by `seed`, in their order."""
    if len(texts) <= questions:
        return list(texts)
    return [texts[i] for i in np.sort(np.random.default_rng(seed).permutation(len(texts))[:questions])]


def newest_of_topic(settings: Settings, questions: int) -> list[str]:
    """The newest texts of the settings' namespace in the input topic, oldest first; read-only, without a group.

    At most `questions`, among as many records of each partition. What cannot be decoded is passed over.
    Raises KafkaUnavailable or KafkaRefused.
    """
    from questream.broker.connect import open_reader
    from questream.broker.reading import read_to_end, record_of, start_before_end
    from questream.records.decode import open_decoder

    decoder = open_decoder(settings)
    newest: list[tuple[int, int, int, str]] = []
    with open_reader(settings) as consumer:
        start_before_end(consumer, settings.kafka.input_topic, questions)
        for message in read_to_end(consumer):
            try:
                question = decoder.decode(record_of(message))
            except BadRecord:
                continue
            if question.namespace == settings.clusters.namespace:
                entry = (message.timestamp, message.partition, message.offset, question.text)
                push = heapq.heappush if len(newest) < questions else heapq.heappushpop
                push(newest, entry)
    return [text for *_, text in sorted(newest)]
