"""`questream produce`: questions from a file into the input topic."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line

if TYPE_CHECKING:
    from kafka import KafkaProducer

    from questream.settings import Settings

# How many records wait for their acknowledgement at once; bounds memory, and how late a failure is seen.
_IN_FLIGHT = 5_000
_CATCH_UP_SECONDS = 0.05


def produce(
    file: Annotated[Path, typer.Argument(help="Text lines, CSV or TSV with a column `text`, or JSON Lines.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Questions per second; default: as fast as it goes.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace that the questions belong to.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send the questions of a file to the input topic, keyed by their id.

    Example: questream produce questions.csv --rate 100
    """
    settings = load(config, set_)
    started = time.monotonic()
    sent = _send_all(settings, file, namespace, rate)
    seconds = time.monotonic() - started
    if as_json:
        print_json({"sent": sent, "topic": settings.kafka.input_topic, "seconds": round(seconds, 3)})
    else:
        print_line(f"{sent:,} questions sent to {settings.kafka.input_topic} in {seconds:.1f} s")


def _send_all(settings: Settings, file: Path, namespace: str | None, rate: float | None) -> int:
    """Send and wait until all is acknowledged; returns how many."""
    from questream.cli.question_records import question_encoder
    from questream.kafka.connect import open_producer, require_topic
    from questream.records.files import read_questions

    encode = question_encoder(settings.input, namespace)
    topic = settings.kafka.input_topic
    if file.is_file() or not file.exists():
        # A first reading finds a mistake before anything is sent; a pipe can be read but once.
        for _ in read_questions(file):
            pass
    questions = read_questions(file)
    with open_producer(settings) as producer, _progress() as advance:
        require_topic(producer, topic)
        outbox = _Outbox(producer, topic, advance)
        pace = _Pace(rate)
        for question in questions:
            pace.wait()
            outbox.send(*encode(question.id, question.text))
        outbox.settle()
    return outbox.acknowledged


class _Pace:
    """Lets pass so many per second, evenly."""

    def __init__(self, rate: float | None) -> None:
        self._seconds = 1.0 / rate if rate else 0.0
        self._next = time.monotonic() - self._seconds

    def wait(self) -> None:
        """Return when the next one is due."""
        if not self._seconds:
            return
        now = time.monotonic()
        # What a pause has cost is not caught up in one burst.
        self._next = max(self._next + self._seconds, now - _CATCH_UP_SECONDS)
        time.sleep(max(0.0, self._next - now))


class _Outbox:
    """Sends with a bounded number of records in flight, and raises the error of any that fails."""

    def __init__(self, producer: KafkaProducer, topic: str, advance: Callable[[int], None]) -> None:
        self._producer = producer
        self._topic = topic
        self._advance = advance
        self._futures: list[Any] = []
        self.acknowledged = 0

    def send(self, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        self._futures.append(self._producer.send(self._topic, key=key, value=value, headers=headers))
        if len(self._futures) >= _IN_FLIGHT:
            self.settle()

    def settle(self) -> None:
        """Wait until all that was sent is acknowledged."""
        self._producer.flush()
        for future in self._futures:
            future.get(timeout=0)
        self.acknowledged += len(self._futures)
        self._advance(self.acknowledged)
        self._futures.clear()


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A count on stderr where that is a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("sending") as status:
        yield lambda sent: status.update(f"{sent:,} sent")
