"""The report of a campaign: tables for people, JSON for programs."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from tests.kit.campaign.runs import Record
from tests.kit.checker import Promise

# What a reader asks first, and the promises that answer it.
BROKEN = {
    "lost": (Promise.NOTHING_LOST, Promise.OFFSETS),
    "duplicated": (Promise.ONCE,),
    "changed ids": (Promise.ONE_ID, Promise.KNOWN_ID, Promise.UNIQUE_ID),
    "double counts": (Promise.SIZES, Promise.SIZE_SEQUENCE),
}
OTHERS = "other promises broken"
_ROW = "| {} | {} | {} | {:,} | {:,} | {:,} | {} | {} |"


def summary(seed: int, rounds: Sequence[Record]) -> dict[str, Any]:
    """Everything that the table says, and more, as JSON takes it. A fault of a pair counts for its own kind."""
    outcomes = [outcome for one in rounds for outcome in one["outcomes"]]
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for outcome in outcomes:
        for kind in outcome["kinds"]:
            by_kind[kind].append(outcome)
    seen: Counter[str] = sum((Counter(one["published"]) for one in rounds), Counter())
    broken: Counter[str] = sum((Counter(one["broken"]) for one in rounds), Counter())
    counts = {name: sum(broken[promise.name] for promise in promises) for name, promises in BROKEN.items()}
    return {
        "seed": seed,
        "rounds": len(rounds),
        "faults": sum(len(outcome["kinds"]) for outcome in outcomes),
        "survived": sum(len(outcome["kinds"]) for outcome in outcomes if _survived(outcome)),
        "questions": sum(one["questions"] for one in rounds),
        **dict(sorted(seen.items())),
        **counts,
        OTHERS: broken.total() - sum(counts.values()),
        "kinds": {kind: _kind(of_kind) for kind, of_kind in sorted(by_kind.items())},
        "unasked exits": dict(sum((Counter(one["exits"]) for one in rounds), Counter())),
        "troubles": [
            {"round": one["round"], "blow": outcome["blow"], "trouble": outcome["trouble"]}
            for one in rounds
            for outcome in one["outcomes"]
            if not _survived(outcome)
        ],
    }


def table(found: dict[str, Any]) -> Table:
    """The summary as a table."""
    # A long kind and a narrow terminal must not cost the figures.
    result = Table(
        title=f"seed {found['seed']}: {found['survived']} of {found['faults']} faults survived", title_justify="left"
    )
    result.add_column("fault", no_wrap=True)
    for name in ("times", "survived", "median s", "worst s"):
        result.add_column(name, justify="right")
    for kind, of_kind in found["kinds"].items():
        median, worst = (_figure(of_kind[name]) for name in ("median seconds", "worst seconds"))
        result.add_row(kind, str(of_kind["times"]), str(of_kind["survived"]), median, worst)
    broken = ", ".join(f"{name} {found[name]}" for name in (*BROKEN, OTHERS))
    result.caption = (
        f"{broken}\n{found['questions']} questions, {found.get('clusters', 0)} clusters, "
        f"{found.get('merged', 0)} merged, {found.get('dead_letters', 0)} dead letters\n"
        "seconds: from the end of the fault until every partition has a decision of a question that was asked after it"
    )
    result.caption_justify = "left"
    return result


def added_up(runs: Sequence[Sequence[Record]]) -> list[str]:
    """The lines of the table in docs/guarantees.md: a row for each commit and its kinds of faults, and one for all."""
    by_code: dict[tuple[str, str], list[Sequence[Record]]] = defaultdict(list)
    for run in runs:
        by_code[run[0]["commit"], run[0]["kinds"]].append(run)
    commits, kinds, seeds = (len({run[0][name] for run in runs}) for name in ("commit", "kinds", "seed"))
    return [
        "| Commit | Kinds | Seeds | Faults | Survived | Questions | Lost, doubled, changed, miscounted | Other |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            _row([*code, ", ".join(str(run[0]["seed"]) for run in of_code)], of_code)
            for code, of_code in by_code.items()
        ),
        _row([f"{commits} commits", f"{kinds} sets", f"{seeds} seeds, {len(runs)} runs"], runs),
    ]


def _row(names: list[str], runs: Sequence[Sequence[Record]]) -> str:
    found = summary(0, [record for run in runs for record in run])
    broken = ", ".join(str(found[name]) for name in BROKEN)
    return _ROW.format(*names, found["faults"], found["survived"], found["questions"], broken, found[OTHERS])


def _survived(outcome: dict[str, Any]) -> bool:
    return outcome["seconds"] is not None and outcome["trouble"] is None


def _kind(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = [outcome["seconds"] for outcome in outcomes if outcome["seconds"] is not None]
    return {
        "times": len(outcomes),
        "survived": sum(map(_survived, outcomes)),
        "median seconds": round(statistics.median(seconds), 1) if seconds else None,
        "worst seconds": round(max(seconds), 1) if seconds else None,
    }


def _figure(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
