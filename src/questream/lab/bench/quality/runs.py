"""One method in a process of its own: each run is sent as it ends, so that a method that is stopped keeps its runs."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection

from threadpoolctl import threadpool_limits

from questream.interrupts import kept_from_children
from questream.lab.bench.machine import forget_peak, peak_resident_bytes
from questream.lab.bench.quality.method import Method
from questream.lab.evaluation.agreement import Agreement, agreement
from questream.lab.evaluation.stream import Stream

# Enough for every method to run, so that what it imports and compiles is neither in its seconds nor in its memory.
_WARM_UP_QUESTIONS = 300
# Time to clean up behind itself; a package's threads may not end.
_LEAVING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """A setting on the questions in one order. `seconds` are of the processor, which others on the machine do not slow.

    `grown_bytes` is what the process took beyond what it held before.
    """

    setting: str
    order: int
    published: Agreement | None
    after: Agreement
    seconds: float
    grown_bytes: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A method runs no more: all is done, or `reason` says why not."""

    reason: str | None = None


def runs_of(
    find: Callable[[], Method], streams: Sequence[Stream], limit_seconds: float
) -> tuple[list[Run], str | None]:
    """Every setting in every order, or what was done of it in the time; and why not all of it was.

    The settings of one order come before those of the next. `find` is called in the other process.
    """
    # spawn: memory is what the method took, not what was here before.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(find, streams, sender), daemon=True)
    with kept_from_children():
        process.start()
    sender.close()  # or the end of the process would not be seen
    deadline = time.monotonic() + limit_seconds
    runs: list[Run] = []
    try:
        while receiver.poll(max(0.0, deadline - time.monotonic())):
            match receiver.recv():
                case Run() as run:
                    runs.append(run)
                case Ended(reason):
                    process.join(_LEAVING_SECONDS)
                    return runs, reason
        return runs, f"stopped after {limit_seconds:,.0f} s"
    except EOFError:
        return runs, "its process died"
    finally:
        process.kill()
        process.join()
        receiver.close()


def _work(find: Callable[[], Method], streams: Sequence[Stream], sender: Connection) -> None:
    method = find()
    if method.needs is not None and find_spec(method.needs) is None:
        sender.send(Ended(f"absent: {method.needs}"))
        return
    try:
        with threadpool_limits(1):
            for run in _runs(method, streams):
                sender.send(run)
    except Exception as error:  # another library's failure is a result, not an end
        sender.send(Ended(f"failed: {type(error).__name__}"))
    else:
        sender.send(Ended())


def _runs(method: Method, streams: Sequence[Stream]) -> Iterator[Run]:
    agreement([0, 0], [0, 0])
    method.run(method.prepare(streams[0].first(_WARM_UP_QUESTIONS)), method.settings[0])
    gc.collect()
    forget_peak()
    held = peak_resident_bytes(os.getpid())
    for order, stream in enumerate(streams if method.order_matters else streams[:1]):
        started = time.process_time()
        prepared = method.prepare(stream)
        preparing = time.process_time() - started
        gold = stream.gold.tolist()
        for setting in method.settings:
            started = time.process_time()
            clustering = method.run(prepared, setting)
            seconds = preparing + time.process_time() - started
            peak = peak_resident_bytes(os.getpid())
            yield Run(
                setting=written(setting),
                order=order,
                published=None if clustering.published is None else agreement(clustering.published.tolist(), gold),
                after=agreement(clustering.after.tolist(), gold),
                seconds=seconds,
                grown_bytes=None if held is None or peak is None else peak - held,
            )
            # Stores and models refer to themselves: what one run leaves must not count for the next.
            gc.collect()


def written(setting: object) -> str:
    """A setting for people."""
    return ", ".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)
