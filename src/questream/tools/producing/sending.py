"""Sends records of a file: evenly, with a bounded number in flight, and with the line of each that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from questream.broker.connect import open_admin, open_producer
from questream.broker.port import FoundTopic, Outgoing, Place, Producer
from questream.errors import KafkaRefused, KafkaUnavailable, RecordsTooLarge
from questream.records.rows import QuestionFileError, Refuse, at_line, raise_error
from questream.settings import Settings
from questream.tools.producing.file_records import FileRecord, FileRecords

# How many records wait for their acknowledgement at once; bounds memory, and how late a failure is seen.
_IN_FLIGHT = 5_000
_CATCH_UP_SECONDS = 0.05
_MOST_NAMED = 20
# The most bytes that Kafka adds around a record.
_RECORD_BYTES = 512


class Report(Protocol):
    """Receives the progress of sending."""

    def notice(self, text: str) -> None:
        """A remark for the user."""

    def sent(self, count: int) -> None:
        """So many questions are acknowledged by now."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The number of questions that were sent, and of lines that were skipped as they cannot be sent."""

    count: int
    skipped: int


def send_file(
    records: FileRecords, file: Path, report: Report, *, rate: float | None = None, skip_bad: bool = False
) -> Sent:
    """Send the questions of a file, `rate` per second at most, and wait until all are acknowledged.

    Raises QuestionFileError for the first line that cannot be sent, unless `skip_bad` has it named and passed over; of
    a file that can be read twice nothing is sent then. Raises KafkaUnavailable or KafkaRefused.
    """
    if file.is_file() and not skip_bad:
        # A first reading finds a mistake before anything is sent; a pipe can be read but once.
        for _ in records.read(file):
            pass
    else:
        _require_readable(file)
    topic = _existing_topic(records.settings)
    skipped = _Skipped(report) if skip_bad else None
    refuse = raise_error if skipped is None else skipped.refuse
    retention = _Retention(topic, report)
    with open_producer(records.settings) as producer:
        outbox = _Outbox(producer, topic, file, report, refuse)
        pace = Pace(rate)
        try:
            for one in records.read(file, refuse):
                pace.wait()
                retention.look_at(one.timestamp_ms)
                outbox.send(one)
        except KeyboardInterrupt:
            report.notice(f"interrupted; {outbox.acknowledged:,} questions are known to be sent")
            raise
        except QuestionFileError:
            # The lines before it are sent, those after it are not.
            outbox.settle()
            report.notice(f"{outbox.acknowledged:,} questions before it were sent")
            raise
        outbox.settle()
    return Sent(outbox.acknowledged, 0 if skipped is None else skipped.count)


class _Skipped:
    """Names lines that cannot be sent, the first of them, and counts them."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.count = 0

    def refuse(self, error: QuestionFileError) -> None:
        self.count += 1
        if self.count <= _MOST_NAMED:
            self._report.notice(f"{error}; passed over")
        elif self.count == _MOST_NAMED + 1:
            self._report.notice("more lines are passed over, which are only counted")


def _require_readable(file: Path) -> None:
    """Raise QuestionFileError before any connection where there is no such file."""
    if not file.exists() and str(file) != "-":
        raise QuestionFileError(f"{file}: No such file or directory")
    if file.is_dir():
        raise QuestionFileError(f"{file}: Is a directory")


def _existing_topic(settings: Settings) -> FoundTopic:
    """The input topic. Raises KafkaUnavailable if it does not exist: to send to it may create it."""
    name = settings.kafka.input_topic
    with open_admin(settings) as admin:
        try:
            found = admin.find_topics([name]).get(name)
        except KafkaRefused:
            # WRITE brings the right to see it, and is what this command is for.
            raise KafkaRefused(f"the right to WRITE topic {name} is missing", "grant it with an ACL") from None
    if found is None:
        raise KafkaUnavailable(f"topic {name} does not exist", "create it with: questream topics create")
    return found


class _Retention:
    """Says once that the topic keeps records of so long ago no longer."""

    def __init__(self, topic: FoundTopic, report: Report) -> None:
        self._report = report
        kept_ms = int(topic.configs.get("retention.ms", "-1"))
        self._name = topic.name
        self._first_kept_ms = 0 if kept_ms < 0 else int(time.time() * 1000) - kept_ms

    def look_at(self, timestamp_ms: int | None) -> None:
        if timestamp_ms is None or timestamp_ms >= self._first_kept_ms:
            return
        self._report.notice(
            f"the file has times that lie before what {self._name} keeps (its retention.ms): Kafka may"
            " delete these records before they are read; --no-timestamps sends them with the time of sending"
        )
        self._first_kept_ms = 0


class Pace:
    """Lets pass so many per second, evenly; None for as many as come."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds = 1.0 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock() - self._seconds

    def wait(self) -> None:
        """Return when the next one is due."""
        if not self._seconds:
            return
        now = self._clock()
        # Time lost in a pause is not caught up in one burst.
        self._next = max(self._next + self._seconds, now - _CATCH_UP_SECONDS)
        self._sleep(max(0.0, self._next - now))


class _Outbox:
    """Sends with a bounded number of records in flight, and names the line of one that fails."""

    def __init__(self, producer: Producer, topic: FoundTopic, file: Path, report: Report, refuse: Refuse) -> None:
        self._producer = producer
        self._topic = topic
        self._file = file
        self._report = report
        self._refuse = refuse
        self._lines: list[int] = []
        self._outcomes: dict[int, Place | Exception] = {}
        self.acknowledged = 0

    def send(self, one: FileRecord) -> None:
        """Send a record, unless the topic would not take it."""
        problem = _problem_of(one, self._topic)
        if problem is None:
            key, value, headers = one.record
            record = Outgoing(self._topic.name, key, value, headers, timestamp_ms=one.timestamp_ms)
            try:
                self._producer.send(record, partial(self._outcomes.__setitem__, one.line))
                self._lines.append(one.line)
            except RecordsTooLarge:
                problem = "its record is longer than the producer sends (kafka.options.max_request_size)"
        if problem is not None:
            self._refuse(at_line(self._file, one.line, problem))
        elif len(self._lines) >= _IN_FLIGHT:
            self.settle()

    def settle(self) -> None:
        """Wait until all that was sent is acknowledged. Raises an error that names the first line that was not."""
        self._producer.flush()
        for line in self._lines:
            outcome = self._outcomes[line]
            if isinstance(outcome, Exception):
                self._report.notice(
                    f"{at_line(self._file, line, 'not acknowledged')}; {self.acknowledged:,} before it were"
                )
                raise outcome
            self.acknowledged += 1
        self._lines.clear()
        self._outcomes.clear()
        self._report.sent(self.acknowledged)


def _problem_of(one: FileRecord, topic: FoundTopic) -> str | None:
    """The reason why the topic would refuse a record; checked here, before the records behind it are sent."""
    key, value, headers = one.record
    size = len(key) + len(value) + sum(len(name.encode()) + len(held) for name, held in headers) + _RECORD_BYTES
    if topic.max_message_bytes is not None and size > topic.max_message_bytes:
        return (
            f"its record has about {size} bytes, and {topic.name} takes {topic.max_message_bytes} (max.message.bytes)"
        )
    if one.timestamp_ms is not None:
        age_ms = int(time.time() * 1000) - one.timestamp_ms
        for name, distance_ms in (("before", age_ms), ("after", -age_ms)):
            setting = f"message.timestamp.{name}.max.ms"
            most_ms = topic.configs.get(setting)
            if most_ms is not None and distance_ms > int(most_ms):
                return f"its time is further {name} now than {topic.name} takes ({setting} is {most_ms})"
    return None
