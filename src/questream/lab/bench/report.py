"""Results as tables for people. Every figure is of that run; nothing here knows what it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from questream.lab.bench.machine import Machine
from questream.lab.bench.pipeline import Latency, ModelRatio, Throughput
from questream.lab.bench.suite import Results
from questream.metrics import STAGES

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], None]
Line = Callable[[str], None]

_UNKNOWN = "?"


def print_results(results: Results, line: Line, table: Table) -> None:
    """Print what was measured by `line(text)` and `table(columns, rows)`; `#` ends the name of a column of numbers."""
    _print_machine(results.machine, results.broker, results.store, line)
    if results.model is not None:
        _print_model(results.model, line, table)
    if results.precomputed:
        line("\nEnd to end with precomputed vectors (no encoder), one worker")
        table(*_parted(map(_throughput, results.precomputed)))
        _print_stages(results.precomputed, line, table)
    if results.workers:
        line("\nSeveral workers on the same clusters, precomputed vectors")
        _print_workers(results.workers, table)
    if results.latency:
        line("\nFrom the moment a question is due until a reader has its decision, ms")
        table(_LATENCY_COLUMNS, [_latency_row(figures) for figures in results.latency])
    if results.assignment:
        _print_assignment(results, line, table)
    if results.exemplars:
        _print_exemplars(results, line, table)
    if results.operations:
        _print_operations(results, line, table)
    if results.memory:
        _print_memory(results, line, table)


def _print_machine(machine: Machine, broker: str, store: str, line: Line) -> None:
    avx512 = "AVX-512" if machine["avx512"] else "no AVX-512"
    line(
        f"{machine['processor']}, {machine['cores']} cores, {avx512}, {machine['memory_gib']:.0f} GiB;"
        f" {machine['system']}"
    )
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    line(f"Python {machine['python']}; {packages}")
    line(f"Broker: {broker}. Store: {store}. Load average at the start: {_number(machine['load_average'], 1)}")


def _print_model(figures: ModelRatio, line: Line, table: Table) -> None:
    line(
        f"\nEnd to end against the encoder alone: {figures.model} on {figures.device} in {figures.dtype},"
        f" {figures.questions_per_round:,} questions a round, {figures.tokens_per_question:.1f} tokens each"
    )
    rows = [
        [str(number), f"{turn.alone:,.0f}", f"{turn.pipeline:,.0f}", f"{turn.ratio:.3f}"]
        for number, turn in enumerate(figures.rounds, start=1)
    ]
    median = ["median", f"{figures.alone_per_second:,.0f}", f"{figures.pipeline_per_second:,.0f}"]
    table(["round", "encoder alone/s#", "end to end/s#", "ratio#"], [*rows, [*median, f"{figures.ratio:.3f}"]])
    table(*_parted([_throughput(figures.throughput)]))


def _parted(rows: Iterable[Sequence[tuple[str, str]]]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Columns and rows, one at least, of cells that each follow their heading."""
    parted = [tuple(zip(*row, strict=True)) for row in rows]
    return parted[0][0], [cells for _, cells in parted]


def _throughput(figures: Throughput) -> list[tuple[str, str]]:
    return [
        ("delivery", figures.delivery),
        ("questions#", f"{figures.questions:,}"),
        ("seconds#", f"{figures.seconds:.1f}"),
        ("questions/s#", f"{figures.questions_per_second:,.0f}"),
        ("duplicates#", f"{figures.duplicates:,}"),
        ("per batch#", f"{figures.questions_per_batch:.0f}"),
        ("clusters#", f"{figures.clusters:,}"),
        ("merges#", f"{figures.merges:,}"),
        ("CPU us/question#", _number(figures.cpu_microseconds)),
        ("MiB before#", _number(figures.resident_mib_before)),
        ("MiB after#", _number(figures.resident_mib_after)),
        ("load#", _number(figures.load_average, 1)),
    ]


def _print_stages(throughputs: Sequence[Throughput], line: Line, table: Table) -> None:
    line("Where the time goes, us per question; the stages overlap, and `queue` is waiting")
    rows = [[t.delivery, *(f"{t.stage_microseconds[stage]:,.0f}" for stage in STAGES)] for t in throughputs]
    table(["delivery", *(f"{stage}#" for stage in STAGES)], rows)


def _print_workers(throughputs: Sequence[Throughput], table: Table) -> None:
    table(
        ["workers#", "questions/s#", "duplicates#", "decisions#", "commit retries#", "decisions/retry#", "load#"],
        [
            [
                str(t.workers),
                f"{t.questions_per_second:,.0f}",
                f"{t.duplicates:,}",
                f"{t.decisions:,}",
                f"{t.stale_retries:,}",
                "no retry" if t.decisions_per_retry is None else f"{t.decisions_per_retry:,.0f}",
                _number(t.load_average, 1),
            ]
            for t in throughputs
        ],
    )


_LATENCY_COLUMNS = ("delivery", "asked/s#", "answered/s#", "questions#", "p50#", "p95#", "p99#", "longest#", "load#")


def _latency_row(figures: Latency) -> list[str]:
    return [
        figures.delivery,
        f"{figures.asked_per_second:,.0f}",
        f"{figures.answered_per_second:,.0f}",
        f"{figures.questions:,}",
        *(f"{value:,.0f}" for value in (figures.p50, figures.p95, figures.p99, figures.longest)),
        _number(figures.load_average, 1),
    ]


def _print_assignment(results: Results, line: Line, table: Table) -> None:
    first = results.assignment[0]
    line(f"\nAssignment of {first.questions} questions and its commit, ms, {first.runs} batches each")
    columns = ["clusters#", "dimension#", "BLAS threads#", "assign p50#", "p95#", "CPU p50#", "commit p50#", "p95#"]
    table(
        [*columns, "opened a batch#", "load#"],
        [
            [
                f"{f.clusters:,}",
                str(f.dimension),
                str(f.blas_threads),
                *(f"{value:,.1f}" for value in (f.assign_median, f.assign_p95, f.assign_cpu_median)),
                *(f"{value:,.1f}" for value in (f.commit_median, f.commit_p95)),
                f"{f.opened_per_run:.0f}",
                _number(f.load_average, 1),
            ]
            for f in results.assignment
        ],
    )
    line("A worker's start: all clusters read from the store")
    table(
        ["clusters#", "dimension#", "seconds#"],
        [[f"{load.clusters:,}", str(load.dimension), f"{load.seconds:.2f}"] for load in results.mirror_loads],
    )


def _print_exemplars(results: Results, line: Line, table: Table) -> None:
    first = results.exemplars[0]
    line(f"\nWhat {first.exemplars:,} questions that people turned away cost {first.questions}, ms of processor time")
    table(
        ["clusters#", "dimension#", "without p50#", "with p50#", "ratio#"],
        [
            [
                f"{f.clusters:,}",
                str(f.dimension),
                *(f"{value:,.1f}" for value in (f.without_cpu_median, f.cpu_median)),
                f"{f.cpu_median / f.without_cpu_median:.3f}",
            ]
            for f in results.exemplars
        ],
    )


def _print_operations(results: Results, line: Line, table: Table) -> None:
    line("\nWhat an operation costs, mean ms of processor time of who asks for it and of the store")
    table(
        ["operation", "clusters#", "dimension#", "who asks#", "store#"],
        [
            [f.kind, f"{f.clusters:,}", str(f.dimension), f"{f.cpu_mean:.2f}", _number(f.store_cpu_mean, 2)]
            for f in results.operations
        ],
    )


def _print_memory(results: Results, line: Line, table: Table) -> None:
    line("\nMemory of a worker without a model, MiB in RAM after some questions, and the most it ever had")
    table(
        ["clusters#", "dimension#", "MiB#", "peak MiB#"],
        [[f"{f.clusters:,}", str(f.dimension), _number(f.resident_mib), _number(f.peak_mib)] for f in results.memory],
    )
    grown = results.memory_bytes_per_cluster
    if grown is not None:
        dimension = results.memory[0].dimension
        line(f"{grown:,.0f} bytes for each further cluster of {dimension} dimensions; its vector is {4 * dimension:,}")


def _number(value: float | None, digits: int = 0) -> str:
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"
