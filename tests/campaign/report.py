"""The report of a campaign: a table for people, JSON for programs."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from tests.campaign.campaign import Outcome, RoundOutcome
from tests.checker import Promise

# What a reader asks first, and the promises that answer it.
BROKEN = {
    "lost": (Promise.NOTHING_LOST, Promise.OFFSETS),
    "duplicated": (Promise.ONCE,),
    "changed ids": (Promise.ONE_ID, Promise.KNOWN_ID, Promise.UNIQUE_ID),
    "double counts": (Promise.SIZES, Promise.SIZE_SEQUENCE),
}


def summary(seed: int, rounds: Sequence[RoundOutcome]) -> dict[str, Any]:
    """Everything that the table says, and more, as JSON takes it. A fault of a pair counts for its own kind."""
    outcomes = [outcome for one in rounds for outcome in one.outcomes if outcome.ended]
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for fault in outcome.blow:
            by_kind[fault.kind].append(outcome)
    seen = sum((one.verdict.published for one in rounds), Counter())
    broken = Counter(violation.promise for one in rounds for violation in one.violations)
    counts = {name: sum(broken[promise] for promise in promises) for name, promises in BROKEN.items()}
    return {
        "seed": seed,
        "rounds": len(rounds),
        "faults": sum(len(outcome.blow) for outcome in outcomes),
        "survived": sum(len(outcome.blow) for outcome in outcomes if outcome.survived),
        "questions": sum(one.verdict.asked for one in rounds),
        **dict(sorted(seen.items())),
        **counts,
        "other promises broken": broken.total() - sum(counts.values()),
        "kinds": {kind: _kind(of_kind) for kind, of_kind in sorted(by_kind.items())},
        "unasked exits": dict(sum((one.exits for one in rounds), Counter())),
        "troubles": [
            {"round": one.plan.number, "blow": list(map(str, outcome.blow)), "trouble": outcome.trouble}
            for one in rounds
            for outcome in one.outcomes
            if outcome.ended and not outcome.survived
        ],
    }


def table(told: dict[str, Any]) -> Table:
    """The summary as a table."""
    # A long kind and a narrow terminal must not cost the figures.
    result = Table(
        title=f"seed {told['seed']}: {told['survived']} of {told['faults']} faults survived", title_justify="left"
    )
    result.add_column("fault", no_wrap=True)
    for name in ("times", "survived", "median s", "worst s"):
        result.add_column(name, justify="right")
    for kind, of_kind in told["kinds"].items():
        median, worst = (_figure(of_kind[name]) for name in ("median seconds", "worst seconds"))
        result.add_row(kind, str(of_kind["times"]), str(of_kind["survived"]), median, worst)
    broken = ", ".join(f"{name} {told[name]}" for name in (*BROKEN, "other promises broken"))
    result.caption = (
        f"{broken}\n{told['questions']} questions, {told.get('clusters', 0)} clusters, {told.get('merged', 0)} merged, "
        f"{told.get('dead_letters', 0)} dead letters\nseconds: from the end of the fault until every partition has a "
        "decision of a question that was asked after it"
    )
    result.caption_justify = "left"
    return result


def _kind(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    seconds = [outcome.seconds for outcome in outcomes if outcome.seconds is not None]
    return {
        "times": len(outcomes),
        "survived": sum(outcome.survived for outcome in outcomes),
        "median seconds": round(statistics.median(seconds), 1) if seconds else None,
        "worst seconds": round(max(seconds), 1) if seconds else None,
    }


def _figure(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
