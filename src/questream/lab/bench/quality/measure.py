"""Run the methods one after the other and score what they answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from questream.lab.bench.quality.anew import anew_methods
from questream.lab.bench.quality.method import Method
from questream.lab.bench.quality.offline import offline_methods
from questream.lab.bench.quality.others import other_methods
from questream.lab.bench.quality.ours import our_methods, simpler_methods
from questream.lab.bench.quality.runs import Run, runs_of
from questream.lab.evaluation.agreement import Agreement, mean_agreement
from questream.lab.evaluation.stream import Stream
from questream.settings import Granularity

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one method on one data set at its best setting.

    `settings_tried` and `orders` count what the figures rest on. `spread` is the standard deviation over the orders of
    BCubed F1 after the stream. `seconds` are the processor's for one order at that setting. `peak_mib` is the most
    that the process grew by in any run, what the method's packages take not included. `remark` says why there are no
    scores, or why they rest on fewer runs than they should.
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
    remark: str | None = None


def all_methods(granularity: Granularity) -> list[Method]:
    """In the order of the table: questream, what is simpler, the references, other libraries."""
    return [
        *our_methods(granularity),
        *simpler_methods(),
        *offline_methods(),
        *anew_methods(),
        *other_methods(granularity),
    ]


def measure_quality(
    streams: Sequence[Stream],
    granularity: Granularity,
    names: Sequence[str],
    limit_seconds: float,
    announce: Callable[[str], None],
) -> list[Figures]:
    """The methods of these names on the same questions in the same orders, each for at most `limit_seconds`.

    A package that is not there, a method that fails or one that is stopped is said in its row.
    """
    figures = []
    for name in names:
        announce(name)
        runs, reason = runs_of(partial(_method, name, granularity), streams, limit_seconds)
        figures.append(_figures(name, _method(name, granularity), runs, reason))
    return figures


def _method(name: str, granularity: Granularity) -> Method:
    return next(method for method in all_methods(granularity) if method.name == name)


def _figures(name: str, method: Method, runs: Sequence[Run], reason: str | None) -> Figures:
    tried = comparable(runs, len(method.settings))
    if not tried:
        return Figures(name, "", 0, 0, None, None, 0.0, 0.0, None, reason)
    best = max(tried, key=lambda setting: np.mean([run.after.bcubed_f1 for run in tried[setting]]))
    published = [run.published for run in tried[best] if run.published is not None]
    grown = [run.grown_bytes for of_setting in tried.values() for run in of_setting if run.grown_bytes is not None]
    orders = len(tried[best])
    if reason is not None:
        reason += f": {len(tried)} of {len(method.settings)} settings in {orders} order{'s' * (orders > 1)}"
    return Figures(
        method=name,
        setting=best + "*" * (len(tried) > 1),
        settings_tried=len(tried),
        orders=orders,
        published=mean_agreement(published) if published else None,
        after=mean_agreement([run.after for run in tried[best]]),
        spread=float(np.std([run.after.bcubed_f1 for run in tried[best]])),
        seconds=float(np.mean([run.seconds for run in tried[best]])),
        peak_mib=max(grown) / _MIB if grown else None,
        remark=reason,
    )


def comparable(runs: Sequence[Run], settings: int) -> dict[str, list[Run]]:
    """By setting, the runs of orders in which every setting ran; of the first order, if there is none such."""
    by_order: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_order[run.order].append(run)
    whole = [of_order for of_order in by_order.values() if len(of_order) == settings] or list(by_order.values())[:1]
    by_setting: dict[str, list[Run]] = defaultdict(list)
    for run in (run for of_order in whole for run in of_order):
        by_setting[run.setting].append(run)
    return by_setting
