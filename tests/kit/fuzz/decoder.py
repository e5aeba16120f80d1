"""Hostile records through the decoder: each is a question or a BadRecord, and neither quotes the record."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable

import orjson
from jsonschema import Draft202012Validator

from questream.domain import Decision, Question, Record, Source
from questream.errors import BadRecord, PassedOver
from questream.records import (
    QuestionDecoder,
    Reason,
    dead_letter_headers,
    encode_decision,
    load_schema,
    passthrough_headers,
)
from questream.records.reasons import PassedOverReason
from questream.settings import InputSettings
from questream.settings.formats import FORMATS
from tests.kit.fuzz.records import Hostile, hostile_record

MAX_TEXT_BYTES = 100_000
INPUTS = [
    InputSettings.model_validate({"format": format, **others})
    for format in FORMATS
    for others in (
        {"tombstones": "dead-letter"},
        {
            **{"namespace_header": "ns", "namespace_field": "ns", "max_text_bytes": MAX_TEXT_BYTES},
            **{"arrays": "single", "deletes": "dead-letter"},
        },
        {"namespace_field": "q.ns", "id_field": "q.id", "max_text_bytes": 40, "arrays": "skip", "updates": "skip"},
        {"namespace_header": "ce_ns", "namespace_field": "ns", "text_field": "0.text", "envelope": "none"},
    )
]
DECISION = Decision(1, 1.0, "created", 1, None, None, None, "model", 0.55, False, 0)
DECISION_SCHEMA = Draft202012Validator(load_schema("decision"))
# A jsonschema validation takes as long as two hundred decodings.
VALIDATE_EVERY = 200


class Found(Exception):
    """A record that breaks the promise; the message says how to see it again."""


def fuzz_decoder(
    seed: int, first: int, records: int, on_progress: Callable[[int], None] = lambda _: None
) -> Counter[str]:
    """Decode the records of a seed; returns how many met each reason, `question` for those that are questions.

    Raises Found for the first that is neither.
    """
    decoders = [(QuestionDecoder(input, "default"), input) for input in INPUTS]
    outcomes: Counter[str] = Counter()
    messages: set[str] = set()
    for number in range(first, first + records):
        decoder, input = decoders[number % len(decoders)]
        try:
            hostile = hostile_record(seed, number)
            outcomes[_decode(decoder, input, hostile, number, messages)] += 1
        except Exception as error:
            again = f"python -m tests.kit.fuzz decoder --seed {seed} --first {number} --records 1"
            raise Found(f"{type(error).__name__} at record {number}; again with: {again}") from error
        if number % 10_000 == 0:
            on_progress(number)
    # Texts out of a fixed set: none of them can quote a record.
    assert len(messages) < 100, sorted(messages)[:5]
    return outcomes


def _decode(decoder: QuestionDecoder, input: InputSettings, hostile: Hostile, number: int, messages: set[str]) -> str:
    timestamp = hostile.timestamp_ms or 0
    record = Record(Source("questions", 0, number, timestamp), hostile.key, hostile.value, hostile.headers)
    try:
        question = decoder.decode(record)
    except BadRecord as error:
        refusal = error
    else:
        _check(question, input, record)
        if number % VALIDATE_EVERY == 0:
            DECISION_SCHEMA.validate(orjson.loads(encode_decision(question, DECISION)))
        return "question"
    _check_refusal(refusal, record)
    messages.add(str(refusal))
    return refusal.reason


def _check_refusal(refusal: BadRecord, record: Record) -> None:
    assert refusal.stage == "decode"
    assert refusal.reason in (set(PassedOverReason) if isinstance(refusal, PassedOver) else set(Reason))
    # A chained parser error would carry the whole document.
    assert refusal.__context__ is None
    sent = dead_letter_headers(record, refusal, attempts=1)
    assert _own(sent) == _own(record.headers)


def _own(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    return [header for header in headers if not header[0].startswith("questream-")]


def _check(question: Question, input: InputSettings, record: Record) -> None:
    assert question.record is record
    assert 0 < len(question.id) <= 512
    assert question.text.strip()
    assert len(question.text.encode()) <= input.max_text_bytes
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", question.namespace)
    encode_decision(question, DECISION)
    assert all(name.lower() != "content-type" for name, _ in passthrough_headers(record))


def report(outcomes: Counter[str], started: float) -> str:
    """One line for people."""
    total, seconds = sum(outcomes.values()), time.monotonic() - started
    counts = ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common())
    return f"{total:,} records in {seconds:.0f} s: {counts}"
