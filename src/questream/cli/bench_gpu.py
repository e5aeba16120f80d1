"""`questream bench gpu`: workers around one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.bench import BenchCall, FileOption, bench, bench_options, numbers, progress
from questream.cli.output import print_cells, print_json, print_line, print_table

if TYPE_CHECKING:
    from questream.lab.bench.gpu import DeviceFigures, HostFigures, Needed, ProcessFigures

_DIMENSION = 384


@bench.command("gpu")
@bench_options("bootstrap_servers", "redis_url")
def bench_gpu(
    call: BenchCall,
    texts: FileOption = None,
    processes: Annotated[str, typer.Option(metavar="N,...", help="Numbers of workers around one model.")] = "1,2",
    questions: Annotated[int, typer.Option(min=256, help="Questions of a turn of the whole path.")] = 10_000,
    topics: Annotated[int, typer.Option(min=1, help="How many subjects they are about.")] = 300,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each number of workers.")] = 3,
    rate: Annotated[int, typer.Option(min=1, help="Questions a second to work the processes out for.")] = 100_000,
) -> None:
    """Measure workers around one model: the device, the host's cost of a question, and one worker beside several.

    Example: questream bench gpu --bootstrap-servers 127.0.0.1:9092 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.gpu import measure_device, measure_host, measure_processes, needed
    from questream.lab.bench.questions import SyntheticQuestions, real_texts
    from questream.lab.bench.servers import bench_servers

    settings = call.settings
    counts = numbers("--processes", processes, least=1)
    asked = real_texts(settings.batch_questions, texts)
    report: dict[str, Any] = {}
    with progress() as announce, bench_servers(settings) as servers:
        announce("the model on its device")
        device = list(measure_device(settings, asked))
        report |= {"gpu": device[0].on_gpu, "device": [asdict(one) for one in device]}
        if not call.as_json:
            _show_device(device)
        announce("the host beside the model")
        host = measure_host(settings, asked)
        report["host"] = asdict(host)
        if not call.as_json:
            _show_host(host)
        announce("one worker beside several around one model")
        made_up = SyntheticQuestions(questions, _DIMENSION, topics)
        figures = list(measure_processes(servers.settings, made_up, counts, turns))
    wanted = needed(rate, host, figures)
    report |= {"processes": [asdict(one) for one in figures], "needed": asdict(wanted)}
    if call.as_json:
        print_json(report)
        return
    _show_processes(figures)
    _show_needed(wanted)


def _show_device(figures: Sequence[DeviceFigures]) -> None:
    first = figures[0]
    print_line(
        f"{first.model} on {first.device} in {first.dtype}, {first.tokens_per_question:.1f} tokens a question"
        f"{'' if first.on_gpu else '. THERE IS NO GPU HERE: what one does is not measured'}"
    )
    print_cells(
        [
            ("micro-batches together#", str(one.requests)),
            ("questions#", f"{one.questions:,}"),
            ("questions/s#", f"{one.questions_per_second:,.0f}"),
            ("CPU us/question#", f"{one.cpu_microseconds:,.1f}"),
        ]
        for one in figures
    )


def _show_host(figures: HostFigures) -> None:
    print_line("Host, us of processor time for a question")
    print_table(
        ["tokenise#", "hand over, worker#", "hand over, owner#"],
        [[f"{value:,.2f}" for value in (figures.tokenise, figures.hand_over_by_worker, figures.hand_over_by_owner)]],
    )


def _show_processes(figures: Sequence[ProcessFigures]) -> None:
    print_line("Kafka to Kafka with vectors made up beforehand, as by a device that takes no time")
    print_cells(
        [
            ("workers#", str(one.workers)),
            ("model", "an owner's" if one.owner else "its own"),
            ("questions/s#", f"{one.questions_per_second:,.0f}"),
            ("ratio#", f"{one.rate_ratio:.2f}"),
            ("worker us#", f"{one.worker_microseconds:,.0f}"),
            ("owner us#", f"{one.owner_microseconds:,.1f}"),
            ("us ratio#", f"{one.cpu_ratio:.2f}"),
            ("twice#", f"{one.duplicates:,}"),
            ("load#", f"{one.load_average or 0:.1f}"),
        ]
        for one in figures
    )


def _show_needed(wanted: Needed) -> None:
    print_line(
        f"Computed: {wanted.questions_per_second:,} questions/s at {wanted.worker_microseconds:,.0f} us each are"
        f" {wanted.processes} worker processes that use a core to the full, beside an owner that hands over for"
        f" {wanted.owner_cores:.2f} of its core"
    )
