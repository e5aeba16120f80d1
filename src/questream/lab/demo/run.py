"""The demo from start to end: servers, worker, questions, summary, and questions of the user's own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from questream.broker.connect import open_admin
from questream.embedded import bundled_model, embedded_broker, embedded_store
from questream.errors import QuestreamError
from questream.lab.demo.board import Board
from questream.lab.demo.picture import draw_picture
from questream.lab.demo.plain import PlainLines
from questream.lab.demo.prompt import converse
from questream.lab.demo.screen import LiveScreen, intents_that_fit
from questream.lab.demo.snapshot import Summary
from questream.lab.demo.stream import Asker, Feeder, Reader, Topics
from questream.lab.demo.tally import Tally
from questream.lab.demo.worker import DemoWorker
from questream.records.files import FileQuestion, read_questions
from questream.settings import KafkaSettings, Settings

TOPICS = Topics("questions", "question-clusters", "clusters", "questions-dead-letters")
MODEL = "all-MiniLM-L6-v2"

_SAMPLE = "banking77.jsonl"
_SAMPLE_ATTRIBUTION = "BANKING77 by PolyAI, CC BY 4.0 (github.com/PolyAI-LDN/task-specific-datasets)"
# Intents are groups of such clusters.
_GRANULARITY = "question"

_PARTITIONS = 4
_PLAIN_INTENTS = 10
_FRAME_SECONDS = 0.1
_INTENTS_SECONDS = 2.0
_WORKER_START_SECONDS = 180.0
_STANDSTILL_SECONDS = 60.0
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """The questions of a demo: `read` yields the same `total` of them each time it is called."""

    title: str
    read: Callable[[], Iterator[FileQuestion]]
    total: int
    granularity: str
    attribution: str | None


def run_demo(
    questions: Path | None = None,
    granularity: str | None = None,
    in_flight: int = 64,
    picture: Path | None = None,
) -> None:
    """Stream questions through a worker on embedded servers and show what becomes of them.

    `questions` is a file as `read_questions` takes it (default: 2,002 questions of BANKING77), `granularity` one of
    `question` and `duplicate`, `in_flight` how many questions are under way at once. On a terminal it draws a
    screen and ends with a prompt, elsewhere it prints lines. The last screen goes to the file `picture` as SVG.
    Whatever happens, all that it started has ended when it returns.

    Raises QuestreamError if the file, a server or the worker fails.
    """
    started_at = time.monotonic()
    console = Console()
    with (
        _quiet_clients(),
        _source(questions, granularity) as source,
        _board(console, source.title) as board,
        _servers(board) as (bootstrap, store_url),
        _worker(board, bootstrap, store_url, source.granularity) as worker,
        Asker(bootstrap, TOPICS) as asker,
        Feeder(asker, source.read(), in_flight) as feeder,
        Reader(bootstrap, TOPICS, board.tally, feeder.on_processed) as reader,
    ):

        def check() -> None:
            for part in (feeder, reader, worker):
                part.check()

        _follow(board, feeder, source.total, check)
        summary = _summary(board.tally, feeder, source, in_flight, started_at, worker)
        board.finish(summary)
        if picture is not None:
            picture.write_text(draw_picture(board.snapshot(), summary), encoding="utf-8")
        if _is_interactive(console):
            converse(console, asker, board.tally, check)


@contextmanager
def _quiet_clients() -> Iterator[None]:
    # Their warnings of servers that come and go would be drawn across the screen; what matters is raised.
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _source(questions: Path | None, granularity: str | None) -> Iterator[Source]:
    if questions is not None:
        # A first reading counts them, and finds a mistake before anything is started.
        total = sum(1 for _ in read_questions(questions))
        if not total:
            raise QuestreamError(f"{questions} holds no question")
        title = f"{total:,} questions of {questions.name}"
        yield Source(title, lambda: read_questions(questions), total, granularity or _GRANULARITY, None)
        return
    with as_file(files("questream.lab.demo") / _SAMPLE) as sample:
        total = sum(1 for _ in read_questions(sample))
        title = f"{total:,} real questions of bank customers"
        yield Source(title, lambda: read_questions(sample), total, granularity or _GRANULARITY, _SAMPLE_ATTRIBUTION)


def _is_interactive(console: Console) -> bool:
    # Not `is_terminal`: FORCE_COLOR, which build machines set, makes it true for a log file too.
    # The screen is drawn with characters that other encodings lack.
    return console.file.isatty() and not console.is_dumb_terminal and console.encoding.startswith("utf")


@contextmanager
def _board(console: Console, title: str) -> Iterator[Board]:
    if _is_interactive(console):
        with LiveScreen(console) as screen:
            yield Board(screen, title, intents_that_fit(console))
    else:
        yield Board(PlainLines(console), title, _PLAIN_INTENTS)


@contextmanager
def _servers(board: Board) -> Iterator[tuple[str, str]]:
    """Yields bootstrap address and store URL, with the topics made."""
    board.begin("Servers", "broker and store start")
    with embedded_broker() as bootstrap, embedded_store() as store_url:
        _create_topics(bootstrap)
        board.end(f"broker {bootstrap}, store {urlsplit(store_url).netloc}")
        yield bootstrap, store_url


def _create_topics(bootstrap: str) -> None:
    with open_admin(Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap))) as admin:
        for topic in TOPICS:
            admin.create_topic(topic, _PARTITIONS, 1, {})
        admin.wait_for_topics(TOPICS)


@contextmanager
def _worker(board: Board, bootstrap: str, store_url: str, granularity: str) -> Iterator[DemoWorker]:
    """Yields a worker that has its model and its partitions."""
    board.begin("Worker", "starts")
    settings = {"clusters.granularity": granularity}
    with DemoWorker(bootstrap, store_url, bundled_model(), settings) as worker:
        deadline = time.monotonic() + _WORKER_START_SECONDS
        while (missing := worker.missing()) is not None:
            if time.monotonic() > deadline:
                raise QuestreamError(f"the worker was not ready within {_WORKER_START_SECONDS:.0f} s: {missing}")
            board.update(missing)
            board.draw()
            time.sleep(_FRAME_SECONDS)
        board.end(f"questream run, {MODEL}, granularity {granularity}")
        yield worker


def _follow(board: Board, feeder: Feeder, total: int, check: Callable[[], None]) -> None:
    """Draw until all that was sent is processed and its clusters have been read."""
    board.begin("Questions", "")
    processed, moved_at = 0, time.monotonic()
    found_at = moved_at
    while not (feeder.finished.is_set() and processed >= feeder.sent):
        check()
        board.update(f"{processed:,} of {total:,}", processed / total)
        if time.monotonic() - found_at > _INTENTS_SECONDS:
            board.tally.find_intents()
            found_at = time.monotonic()
        board.draw()
        time.sleep(_FRAME_SECONDS)
        if processed != (processed := board.tally.processed):
            moved_at = time.monotonic()
        if time.monotonic() - moved_at > _STANDSTILL_SECONDS:
            raise QuestreamError(f"no question was decided for {_STANDSTILL_SECONDS:.0f} s")
    # Decisions and cluster states are in different topics: the last states may be read a moment later.
    states = -1
    while states != (states := board.tally.states):
        time.sleep(_SETTLE_SECONDS)
    board.tally.find_intents()
    board.freeze(board.tally.final_figures(feeder.started_at, board.biggest))
    board.end(f"{feeder.sent:,} sent, {processed:,} processed")


def _summary(
    tally: Tally, feeder: Feeder, source: Source, in_flight: int, started_at: float, worker: DemoWorker
) -> Summary:
    return Summary(
        figures=tally.final_figures(feeder.started_at, 0),
        stream_seconds=tally.last_at - feeder.started_at,
        in_flight=min(in_flight, source.total),
        first_cluster_seconds=tally.first_at - started_at,
        agreement=tally.agreement(feeder.gold),
        metrics_url=worker.metrics_url,
        attribution=source.attribution,
    )
