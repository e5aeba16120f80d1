"""The parts of `questream bench pipeline` and `questream bench assign`, run one after the other on the same servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from questream.lab.bench.clusters import (
    AssignmentFigures,
    ExemplarFigures,
    MemoryFigures,
    MirrorLoad,
    bytes_per_cluster,
    measure_assignment,
    measure_exemplars,
    measure_memory,
)
from questream.lab.bench.machine import Machine, describe_machine
from questream.lab.bench.operations import OperationFigures, measure_operations
from questream.lab.bench.pipeline import (
    Latency,
    ModelRatio,
    Throughput,
    measure_against_encoder,
    measure_latency,
    measure_throughput,
)
from questream.lab.bench.questions import EncoderSource, ModelSource, SyntheticQuestions
from questream.lab.bench.servers import Servers
from questream.settings import Settings
from questream.settings.tree import Delivery

Part = Literal["model", "precomputed", "workers", "latency", "assign", "exemplars", "memory"]
PARTS: tuple[Part, ...] = ("model", "precomputed", "workers", "latency", "assign", "exemplars", "memory")

# Where a rate is asked of a stream, it must not be one that the stream cannot keep up with.
_EASY_SHARE = 0.5

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts to measure, and their sizes. `model_texts` are real questions for the parts with a model.

    `rate` is in questions per second; None takes half of the rate that was measured before.
    """

    parts: Sequence[Part]
    model_texts: Sequence[str]
    questions: int = 20_000
    warm_up: int = 4_000
    rounds: int = 3
    deliveries: Sequence[Delivery] = ("exactly-once", "at-least-once")
    workers: Sequence[int] = (1, 2, 4)
    rate: float | None = None
    latency_seconds: float = 20.0
    dimensions: Sequence[int] = (384,)
    cluster_counts: Sequence[int] = (0, 1_000, 10_000, 100_000)
    memory_counts: Sequence[int] = (0, 10_000, 100_000)
    exemplars: int = 1_000
    runs: int = 20


@dataclass(slots=True)
class Results:
    """The figures, and the machine; lists are empty where a part was not asked for."""

    machine: Machine
    broker: str
    store: str
    model: ModelRatio | None = None
    precomputed: list[Throughput] = field(default_factory=list)
    workers: list[Throughput] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    assignment: list[AssignmentFigures] = field(default_factory=list)
    mirror_loads: list[MirrorLoad] = field(default_factory=list)
    exemplars: list[ExemplarFigures] = field(default_factory=list)
    operations: list[OperationFigures] = field(default_factory=list)
    memory: list[MemoryFigures] = field(default_factory=list)

    @property
    def memory_bytes_per_cluster(self) -> float | None:
        """The memory that each further cluster takes in a worker, by the first dimension; None if not known."""
        return bytes_per_cluster([f for f in self.memory if f.dimension == self.memory[0].dimension])


def run_suite(servers: Servers, plan: Plan, announce: Announce) -> Results:
    """Measure the parts of the plan, in a fixed order; `announce` gets the present step.

    Raises QuestreamError if servers or workers fail.
    """
    results = Results(describe_machine(), servers.broker, servers.store)
    for part in PARTS:
        if part in plan.parts:
            _MEASURES[part](servers.settings, plan, results, announce)
    return results


def _measure_model(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    announce(f"model: {plan.rounds} rounds of {len(plan.model_texts):,} questions, the encoder alone and end to end")
    source = ModelSource(settings.model)
    results.model = measure_against_encoder(settings, source, plan.model_texts, plan.rounds)


def _measure_precomputed(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    source = _synthetic(plan)
    for delivery in plan.deliveries:
        announce(f"precomputed vectors, {delivery}: {plan.questions:,} questions")
        with_delivery = settings.model_copy(update={"delivery": delivery})
        results.precomputed.append(measure_throughput(with_delivery, source, source.texts(), plan.warm_up))


def _measure_workers(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    source = _synthetic(plan)
    for count in plan.workers:
        announce(f"precomputed vectors, {count} worker{'s' * (count != 1)}: {plan.questions:,} questions")
        results.workers.append(measure_throughput(settings, source, source.texts(), plan.warm_up, count))


def _measure_latency(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    for source, texts, rate in _latency_cases(settings, plan, results):
        announce(f"latency at {rate:.0f} questions/s for {plan.latency_seconds:.0f} s")
        results.latency.append(measure_latency(settings, source, texts, rate, plan.latency_seconds))


def _latency_cases(
    settings: Settings, plan: Plan, results: Results
) -> Iterator[tuple[EncoderSource, Sequence[str], float]]:
    """With the model where it was measured too, with vectors otherwise."""
    if results.model is not None:
        rate = plan.rate or _EASY_SHARE * results.model.pipeline_per_second
        yield ModelSource(settings.model), plan.model_texts, rate
        return
    source = SyntheticQuestions(plan.warm_up, plan.dimensions[0])
    yield source, source.texts(), plan.rate or _EASY_SHARE * _rate_without_model(settings, plan, results)


def _rate_without_model(settings: Settings, plan: Plan, results: Results) -> float:
    """The former figures, or new ones."""
    before = [*results.precomputed, *results.workers]
    if before:
        return before[0].questions_per_second
    source = _synthetic(plan)
    return measure_throughput(settings, source, source.texts(), plan.warm_up).questions_per_second


def _measure_assignment(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    for dimension in plan.dimensions:
        for clusters in plan.cluster_counts:
            announce(f"assignment against {clusters:,} clusters of {dimension} dimensions: {plan.runs} batches")
            figures, load = measure_assignment(settings, dimension, clusters, plan.runs)
            results.assignment += figures
            results.mirror_loads.append(load)


def _measure_exemplars(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    for dimension in plan.dimensions:
        for clusters in filter(None, plan.cluster_counts):
            announce(f"{plan.exemplars:,} exemplars in {clusters:,} clusters of {dimension} dimensions")
            figures = measure_exemplars(settings, dimension, clusters, plan.exemplars, plan.runs)
            results.exemplars.append(figures)
            announce(f"operations in {clusters:,} clusters of {dimension} dimensions")
            results.operations += measure_operations(settings, dimension, clusters)


def _measure_memory(settings: Settings, plan: Plan, results: Results, announce: Announce) -> None:
    for dimension in plan.dimensions:
        for clusters in plan.memory_counts:
            announce(f"a worker's memory at {clusters:,} clusters of {dimension} dimensions")
            results.memory.append(measure_memory(settings, dimension, clusters))


def _synthetic(plan: Plan) -> SyntheticQuestions:
    return SyntheticQuestions(plan.warm_up + plan.questions, plan.dimensions[0])


_MEASURES: dict[Part, Callable[[Settings, Plan, Results, Announce], None]] = {
    "model": _measure_model,
    "precomputed": _measure_precomputed,
    "workers": _measure_workers,
    "latency": _measure_latency,
    "assign": _measure_assignment,
    "exemplars": _measure_exemplars,
    "memory": _measure_memory,
}


def as_document(results: Results) -> dict[str, Any]:
    """The results as JSON takes them."""
    document = asdict(results)
    document["memory_bytes_per_cluster"] = results.memory_bytes_per_cluster if results.memory else None
    return document
