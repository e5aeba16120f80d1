"""The clients for Kafka beside each other: the same questions with made-up vectors, in turns, exactly once.

Each client has a worker of its own on a stream of its own; while one answers, the others wait. The questions are sent,
and their answers read, by the same client whichever worker answers them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

from questream.lab.bench.machine import load_average
from questream.lab.bench.pipeline import WarmStream, warm_stream
from questream.lab.bench.questions import SyntheticQuestions
from questream.lab.bench.worker_process import Counts
from questream.settings import Settings
from questream.settings.tree import Client


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """The figures of a worker with one client for Kafka; medians of its turns.

    `cpu_microseconds` is the worker's processor time for a question, `publish_milliseconds` how long a micro-batch
    waits for its transaction. `rate_ratio` and `cpu_ratio` compare with the first client: medians of the turns' ratios.
    """

    client: Client
    turns: int
    questions: int
    questions_per_second: float
    rate_ratio: float
    cpu_microseconds: float | None
    cpu_ratio: float | None
    questions_per_batch: float
    publish_milliseconds: float
    duplicates: int
    clusters: int
    load_average: float | None


class _Turn(NamedTuple):
    rate: float
    spent: Counts


def installed_clients() -> list[Client]:
    """The clients that are installed here, kafka-python first."""
    found: list[Client] = ["kafka-python"]
    return [*found, "confluent"] if find_spec("confluent_kafka") else found


def measure_clients(
    settings: Settings,
    clients: Sequence[Client],
    outside: Client,
    questions: SyntheticQuestions,
    turns: int,
    announce: Callable[[str], None],
) -> list[ClientFigures]:
    """Have a worker by each of `clients` answer `questions` in each of so many turns, after one that is not counted.

    `outside` is the client that sends questions and reads decisions. Those of the first turn open clusters, which those
    of the others join.
    Raises QuestreamError if a worker ends.
    """
    texts = questions.texts()
    with ExitStack() as opened:
        streams: dict[Client, WarmStream] = {}
        for client in clients:
            own = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"client": client})})
            announce(f"{client}: {len(texts):,} questions before the first turn")
            streams[client] = opened.enter_context(warm_stream(own, [questions], texts, outside))
        found: dict[Client, list[_Turn]] = {client: [] for client in clients}
        for number in range(turns):
            # Turns swap places, so that a drift of the machine favours no client.
            for client in list(clients)[:: 1 if number % 2 == 0 else -1]:
                announce(f"turn {number + 1} of {turns}, {client}")
                found[client].append(_turn(streams[client], texts))
        first = found[clients[0]]
        return [_figures(client, found[client], first, len(texts), streams[client]) for client in clients]


def _turn(stream: WarmStream, texts: Sequence[str]) -> _Turn:
    before = stream.counts()
    questions, seconds = stream.answer_all(texts)
    return _Turn(questions / seconds, stream.counts().since(before))


def _figures(
    client: Client, turns: Sequence[_Turn], first: Sequence[_Turn], questions: int, stream: WarmStream
) -> ClientFigures:
    batches = sum(max(1, turn.spent.batches) for turn in turns)
    costs = [turn.spent.cpu_microseconds for turn in turns if turn.spent.cpu_microseconds is not None]
    pairs = ((one.spent.cpu_microseconds, of.spent.cpu_microseconds) for one, of in zip(turns, first, strict=True))
    cost_ratios = [one / other for one, other in pairs if one is not None and other]
    return ClientFigures(
        client=client,
        turns=len(turns),
        questions=questions,
        questions_per_second=statistics.median(turn.rate for turn in turns),
        rate_ratio=statistics.median(one.rate / other.rate for one, other in zip(turns, first, strict=True)),
        cpu_microseconds=statistics.median(costs) if costs else None,
        cpu_ratio=statistics.median(cost_ratios) if cost_ratios else None,
        questions_per_batch=sum(turn.spent.decided for turn in turns) / batches,
        publish_milliseconds=1000 * sum(turn.spent.stage_seconds["publish"] for turn in turns) / batches,
        duplicates=stream.duplicates,
        clusters=stream.counts().clusters,
        load_average=load_average(),
    )
