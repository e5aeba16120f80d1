"""`questream bench`: how fast it is here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark
from questream.signatures import as_called, parameters_of

if TYPE_CHECKING:
    from questream.lab.bench.suite import Part, Plan
    from questream.settings import Settings

bench = typer.Typer(help="Measure questream on this machine.", no_args_is_help=True)

_ROUND_QUESTIONS = 4_000
_ENCODER_TEXTS = 2_002


class PipelinePart(StrEnum):
    """The measurements of `bench pipeline`."""

    MODEL = "model"
    PRECOMPUTED = "precomputed"
    WORKERS = "workers"
    LATENCY = "latency"
    ASSIGN = "assign"
    MEMORY = "memory"


BrokerOption = Annotated[
    str | None,
    typer.Option("--bootstrap-servers", metavar="HOST:PORT", help="Kafka to measure on; default: an embedded broker."),
]
RedisOption = Annotated[
    str | None, typer.Option("--redis-url", metavar="URL", help="Redis to measure on; default: an embedded store.")
]
FileOption = Annotated[
    Path | None, typer.Option("--texts", help="Questions for the model: text lines, CSV or JSON Lines; default: 2,002.")
]
GoldFiles = Annotated[
    list[Path], typer.Argument(help="Questions with gold groups: CSV or JSON Lines with text and gold.")
]
DimensionsOption = Annotated[str, typer.Option(metavar="D,...", help="Dimensions of made-up vectors, such as 384,768.")]
CountsOption = Annotated[str, typer.Option("--clusters", metavar="N,...", help="How many clusters to assign against.")]
RunsOption = Annotated[int, typer.Option(min=1, help="Batches of 256 questions for each number of clusters.")]


@dataclass(frozen=True, slots=True)
class BenchCall:
    """The options of every benchmark: its settings and the form of its report."""

    settings: Settings
    as_json: bool


def _options(
    config: ConfigOption = None,
    set_: SetOption = None,
    bootstrap_servers: BrokerOption = None,
    redis_url: RedisOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only its parameters are used: they are the options of benchmarks."""


_OPTIONS = parameters_of(_options)


def bench_options(
    *servers: Literal["bootstrap_servers", "redis_url"],
) -> Callable[[Callable[Concatenate[BenchCall, ...], None]], Callable[..., None]]:
    """Makes a command of a function: one with its parameters after its `BenchCall`, and the options that make one.

    It can be pointed at these servers.
    """

    def with_options(measure: Callable[Concatenate[BenchCall, ...], None]) -> Callable[..., None]:
        def command(config: Path | None, set_: list[str] | None, as_json: bool, **given: Any) -> None:
            broker, store = given.pop("bootstrap_servers", None), given.pop("redis_url", None)
            measure(BenchCall(_settings(config, set_, broker, store), as_json), **given)

        *first, broker, store, as_json = _OPTIONS
        asked_for = [option for option in (broker, store) if option.name in servers]
        _, *own = parameters_of(measure)
        return as_called(command, measure, [*first, *asked_for, *own, as_json])

    return with_options


@bench.command("pipeline")
@bench_options("bootstrap_servers", "redis_url")
def pipeline(
    call: BenchCall,
    only: Annotated[
        list[PipelinePart] | None, typer.Option("--only", help="Measure this part alone. May be repeated.")
    ] = None,
    precomputed: Annotated[
        bool, typer.Option("--precomputed", help="No part with a model: vectors are made up beforehand.")
    ] = False,
    questions: Annotated[int, typer.Option(min=256, help="Measured questions of each part without a model.")] = 20_000,
    warm_up: Annotated[int, typer.Option(min=256, help="Questions before the clock starts.")] = 4_000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of the encoder alone and of the pipeline.")] = 3,
    round_questions: Annotated[int, typer.Option(min=256, help="Questions of one turn.")] = _ROUND_QUESTIONS,
    texts: FileOption = None,
    workers: Annotated[str, typer.Option(metavar="N,...", help="Numbers of workers to compare.")] = "1,2,4",
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Questions per second for the latency; default: half the most.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long the latency is measured.")] = 20.0,
    dimensions: DimensionsOption = "384",
    cluster_counts: CountsOption = "0,1000,10000,100000",
    runs: RunsOption = 20,
) -> None:
    """Measure the whole path, on the servers that the settings name or on embedded ones, and remove all traces.

    Example: questream bench pipeline --bootstrap-servers 127.0.0.1:9092 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.questions import real_texts
    from questream.lab.bench.suite import PARTS, Plan

    parts: Sequence[Part] = [part.value for part in only] if only else PARTS
    if precomputed:
        parts = [part for part in parts if part != "model"]
    counts = numbers("--clusters", cluster_counts)
    plan = Plan(
        parts=parts,
        model_texts=real_texts(round_questions, texts) if "model" in parts else [],
        questions=questions,
        warm_up=warm_up,
        rounds=rounds,
        workers=numbers("--workers", workers, least=1),
        rate=rate,
        latency_seconds=seconds,
        dimensions=numbers("--dimensions", dimensions, least=2),
        cluster_counts=counts,
        memory_counts=_ends_and_middle(counts),
        runs=runs,
    )
    _measure(call.settings, plan, call.as_json)


@bench.command("assign")
@bench_options("bootstrap_servers", "redis_url")
def assign(
    call: BenchCall,
    dimensions: DimensionsOption = "384",
    cluster_counts: CountsOption = "0,1000,10000,100000",
    runs: RunsOption = 20,
    exemplars: Annotated[
        int, typer.Option(min=0, help="Measure what so many rejected questions cost, and operations.")
    ] = 0,
) -> None:
    """Measure assignment and commit of 256 questions against many clusters, and a worker's memory with them.

    100,000 clusters of 384 dimensions take about 0.3 GB of the store while it runs.
    Example: questream bench assign --dimensions 384,768
    """
    from questream.lab.bench.suite import Plan

    counts = numbers("--clusters", cluster_counts)
    plan = Plan(
        parts=["assign", "exemplars", "memory"] if exemplars else ["assign", "memory"],
        model_texts=[],
        exemplars=exemplars,
        dimensions=numbers("--dimensions", dimensions, least=2),
        cluster_counts=counts,
        memory_counts=_ends_and_middle(counts),
        runs=runs,
    )
    _measure(call.settings, plan, call.as_json)


@bench.command("encoder")
@bench_options()
def encoder(
    call: BenchCall,
    texts: FileOption = None,
    count: Annotated[int, typer.Option(min=1, help="How many texts to embed.")] = _ENCODER_TEXTS,
) -> None:
    """Measure the model alone against sentence-transformers itself, and compare their vectors.

    Example: questream bench encoder --model.name sentence-transformers/all-mpnet-base-v2
    """
    from questream.encoder import load_encoder
    from questream.lab.bench.encoder import bench_encoder
    from questream.lab.bench.questions import real_texts

    settings = call.settings
    with progress() as announce:
        announce(f"encoder: {count:,} texts")
        figures = bench_encoder(load_encoder(settings.model), real_texts(count, texts))
    if call.as_json:
        print_json(figures)
        return
    print_figures(figures, ",.6g")


@bench.command("recovery")
@bench_options("bootstrap_servers", "redis_url")
def recovery(
    call: BenchCall,
    clusters: Annotated[int, typer.Option(min=1, help="How many clusters Redis has lost.")] = 100_000,
    dimension: Annotated[int, typer.Option(min=2, help="Dimension of the made-up vectors.")] = 768,
) -> None:
    """Measure how long it takes to restore the clusters of an emptied Redis, and to load them in a worker.

    It needs a Kafka: the embedded broker does not give back all that was sent to it. 100,000 clusters of 768 dimensions
    take about 0.5 GB of Redis, and as much of Kafka, while it runs.
    Example: questream bench recovery --bootstrap-servers 127.0.0.1:9092 --clusters 1000000 --dimension 64
    """
    from dataclasses import asdict

    from questream.lab.bench.recovery import measure_recovery
    from questream.lab.bench.servers import bench_servers

    settings = call.settings
    if "bootstrap_servers" not in settings.kafka.model_fields_set:
        raise typer.BadParameter("name a Kafka to recover from with --bootstrap-servers")
    with progress() as announce, bench_servers(settings) as servers:
        figures = asdict(measure_recovery(servers.settings, clusters, dimension, announce))
    if call.as_json:
        print_json(figures)
        return
    print_figures(figures, ",.1f")


@bench.command("soak")
@bench_options("bootstrap_servers", "redis_url")
def soak(
    call: BenchCall,
    questions: Annotated[int, typer.Option(min=1000, help="Questions to send.")] = 10_000_000,
    hours: Annotated[float, typer.Option(min=1, help="Hours of stream time that they are spread over.")] = 24.0,
    workers: Annotated[int, typer.Option(min=1, help="How many workers share them.")] = 2,
    dimension: Annotated[int, typer.Option(min=2, help="Dimension of the made-up vectors.")] = 384,
    warm_up: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the questions before the window of the verdict.")
    ] = 0.4,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two samples.")] = 5.0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw all figures into this file, such as soak.png; needs matplotlib.")
    ] = None,
) -> None:
    """Run a day of a drifting stream as fast as it goes; exit code 1 if memory or anything else grows.

    Clusters retire after 2 hours of stream time, single questions after 1, merged ids after 4, or as settings say.
    Ctrl-C ends it with the figures that it has by then.
    Example: questream bench soak --questions 1000000 --plot soak.png
    """
    from dataclasses import asdict

    from questream.lab.bench.drift import DriftingQuestions
    from questream.lab.bench.servers import bench_servers
    from questream.lab.bench.soak import SoakPlan, measure_soak
    from questream.lab.bench.soak_plot import draw

    settings = _retiring(call.settings)
    plan = SoakPlan(DriftingQuestions(questions, dimension, hours), workers, warm_up, every)
    with progress() as announce, bench_servers(settings) as servers:
        result = measure_soak(servers.settings, plan, announce)
    if plot is not None:
        draw(result, plot)
    if call.as_json:
        print_json({**asdict(result), "flat": result.is_flat})
    else:
        print_line(
            f"{result.decided:,} questions in {result.seconds:,.0f} s, {result.questions_per_second:,.0f}/s;"
            f" {result.opened:,} clusters opened, {result.retired:,} retired (merged ids among them);"
            f" {result.gaps} looks without an answer, {result.restarts} workers started again"
        )
        print_table(
            ["figure", "median#", "rise#", "allowed#", "verdict"],
            [
                [name, f"{t.median:,.1f}", f"{t.rise:+,.1f}", f"{t.allowed:,.1f}", "flat" if t.is_flat else "GROWS"]
                for name, t in result.trends.items()
            ],
        )
    if not result.is_flat:
        raise typer.Exit(1)


def _retiring(settings: Settings) -> Settings:
    """Settings by which clusters retire within a soak, where they do not say so themselves."""
    hours = {"retention_seconds": 2, "singleton_retention_seconds": 1, "alias_retention_seconds": 4}
    chosen = {name: count * 3600.0 for name, count in hours.items()}
    own = {name: value for name, value in chosen.items() if name not in settings.clusters.model_fields_set}
    return settings.model_copy(update={"clusters": settings.clusters.model_copy(update=own)})


def _measure(settings: Settings, plan: Plan, as_json: bool) -> None:
    from questream.lab.bench.report import print_results
    from questream.lab.bench.servers import bench_servers
    from questream.lab.bench.suite import as_document, run_suite

    with progress() as announce, bench_servers(settings) as servers:
        results = run_suite(servers, plan, announce)
    if as_json:
        print_json(as_document(results))
    else:
        print_results(results, print_line, print_table)


def _settings(
    config: Path | None, assignments: list[str] | None, bootstrap_servers: str | None, redis_url: str | None
) -> Settings:
    """Settings as of `run`; with the small model that the package embedded brings where none is named."""
    own = list(assignments or [])
    if bootstrap_servers is not None:
        own.append(f"kafka.bootstrap_servers={bootstrap_servers}")
    if redis_url is not None:
        own.append(f"redis.url={redis_url}")
    settings = load(config, own)
    if "name" in settings.model.model_fields_set:
        return settings
    from questream.embedded import bundled_model

    model = settings.model.model_copy(update={"name": str(bundled_model())})
    return settings.model_copy(update={"model": model})


def print_figures(figures: Mapping[str, object], form: str) -> None:
    """Figures by their names, those that are no whole numbers in this form."""
    rows = [[name, format(value, form) if isinstance(value, float) else str(value)] for name, value in figures.items()]
    print_table(["figure", "value#"], rows)


def numbers(option: str, text: str, least: int = 0) -> list[int]:
    """The numbers that an option lists. Raises BadParameter for anything but whole numbers from `least` up."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= least for part in parts):
        raise typer.BadParameter(f"{option} takes whole numbers from {least} up, with commas between them")
    return [int(part) for part in parts]


def _ends_and_middle(counts: Sequence[int]) -> list[int]:
    """The counts of clusters at which a worker's memory is measured: 0 and the two largest."""
    return sorted({0, *sorted(counts)[-2:]})


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Progress on stderr: one line that is rewritten on a terminal, elsewhere a line for each step."""
    if not sys.stderr.isatty():
        yield remark
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("starting") as status:
        # As a text: the name of a file must not be read as markup.
        yield lambda what: status.update(Text(printable(what)))
