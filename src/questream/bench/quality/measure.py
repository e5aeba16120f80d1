"""Run the methods one after the other, each in a process of its own, and score what they answer."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from threadpoolctl import threadpool_limits

from questream.bench.machine import peak_resident_bytes
from questream.bench.quality.method import Method
from questream.bench.quality.offline import offline_methods
from questream.bench.quality.others import other_methods
from questream.bench.quality.ours import our_methods, simpler_methods
from questream.evaluation.agreement import Agreement, agreement, mean_agreement
from questream.evaluation.stream import Clustering, Stream
from questream.settings import Granularity

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Figures:
    """What one method did on one data set at its best setting; `seconds` and `peak_mib` are of one order.

    `spread` is the standard deviation over the orders of BCubed F1 after the stream; `peak_mib` is what the process
    grew by, the method's packages included. `absent` tells why there are no scores.
    """

    method: str
    setting: str
    settings_tried: int
    orders: int
    published: Agreement | None
    after: Agreement | None
    spread: float
    seconds: float
    peak_mib: float | None
    absent: str | None = None


def all_methods(granularity: Granularity) -> list[Method]:
    """In the order of the table: questream, what is simpler, the references, other libraries."""
    return [*our_methods(granularity), *simpler_methods(), *offline_methods(), *other_methods()]


def measure_quality(
    streams: Sequence[Stream],
    granularity: Granularity,
    names: Sequence[str],
    announce: Callable[[str], None],
) -> list[Figures]:
    """The methods of these names on the same questions in several orders.

    A package that is not there, or a method that fails, is said in its row.
    """
    figures = []
    for name in names:
        announce(name)
        # spawn: memory is what the method took, not what was here before.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            try:
                figures.append(process.submit(_measure, name, streams, granularity).result())
            except BrokenProcessPool:
                figures.append(_nothing(name, "its process died"))
    return figures


def _measure(name: str, streams: Sequence[Stream], granularity: Granularity) -> Figures:
    method = next(method for method in all_methods(granularity) if method.name == name)
    if method.needs is not None and find_spec(method.needs) is None:
        return _nothing(name, f"absent: {method.needs}")
    agreement([0, 0], [0, 0])  # what scoring imports is not the method's
    before = peak_resident_bytes(os.getpid())
    started = time.perf_counter()
    try:
        with threadpool_limits(1):
            tried = {str(setting): _run_orders(method, setting, streams) for setting in method.settings}
    except Exception as error:  # another library's failure is a result, not an end
        return _nothing(name, f"failed: {type(error).__name__}")
    seconds = time.perf_counter() - started
    peak = peak_resident_bytes(os.getpid())
    orders = len(next(iter(tried.values())))
    best = max(tried, key=lambda setting: np.mean([after.bcubed_f1 for _, after in tried[setting]]))
    published = [scores for scores, _ in tried[best] if scores is not None]
    return Figures(
        method=name,
        setting=best,
        settings_tried=len(tried),
        orders=orders,
        published=mean_agreement(published) if published else None,
        after=mean_agreement([after for _, after in tried[best]]),
        spread=float(np.std([after.bcubed_f1 for _, after in tried[best]])),
        seconds=seconds / orders / len(tried),
        peak_mib=None if before is None or peak is None else (peak - before) / _MIB,
    )


def _run_orders(method: Method, setting: object, streams: Sequence[Stream]) -> list[tuple[Agreement | None, Agreement]]:
    scored = []
    for stream in streams[: method.orders]:
        clustering: Clustering = method.run(stream, setting)
        published, gold = clustering.published, stream.gold.tolist()
        scored.append(
            (
                None if published is None else agreement(published.tolist(), gold),
                agreement(clustering.after.tolist(), gold),
            )
        )
    return scored


def _nothing(name: str, why: str) -> Figures:
    return Figures(name, "", 0, 0, None, None, 0.0, 0.0, None, why)
