"""A soak as a picture: each figure over stream time, the window of the verdict shaded."""

from __future__ import annotations

from pathlib import Path

from questream.lab.bench.pictures import picture
from questream.lab.bench.soak import Soak

_TITLES = {
    "worker_mib": "Worker, resident MiB",
    "redis_mib": "Redis, used MiB",
    "clusters": "Live clusters in Redis",
    "mirrored": "Live clusters in a mirror",
    "aliases": "Aliases",
    "outbox": "Outbox entries",
    "log_entries": "Log entries",
    "ledger_entries": "Ledger entries",
    "threads": "Threads of a worker",
    "open_files": "Open files of a worker",
}
_COLUMNS = 2


def draw(soak: Soak, path: Path) -> None:
    """Write the picture; the suffix of `path` says its format, such as .png or .svg.

    Raises QuestreamError without matplotlib, or where the format is not one of its.
    """
    rows = -(-len(_TITLES) // _COLUMNS)
    hours = [sample.stream_hours for sample in soak.samples]
    first = next(s.stream_hours for s in soak.samples if s.seconds >= soak.seconds - soak.window_seconds)
    with picture(path, 2.4 * rows) as figure:
        figure.suptitle(
            f"{soak.decided:,} questions over {soak.samples[-1].stream_hours:.0f} h of stream time"
            f" in {soak.seconds / 60:.0f} min: {'flat' if soak.is_flat else 'NOT FLAT'}"
        )
        for axes, (name, title) in zip(figure.subplots(rows, _COLUMNS).flat, _TITLES.items(), strict=True):
            axes.plot(hours, [sample.figures[name] for sample in soak.samples], linewidth=1)
            axes.axvspan(first, hours[-1], alpha=0.08)
            verdict = soak.trends[name]
            mark = "flat" if verdict.is_flat else "GROWS"
            axes.set_title(f"{title}: median {verdict.median:,.0f}, {verdict.rise:+,.1f}, {mark}", fontsize=9)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("hours of the stream", fontsize=8)
            axes.tick_params(labelsize=8)
