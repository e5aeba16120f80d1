"""`python -m tests.kit.campaign --faults 200 --seed 7 --json report.json`: a campaign from the command line.

Each finished round is kept by seed, commit and kinds: the same seed goes on with the rounds that are missing, and
`--report` adds all runs up. `--round` repeats rounds and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from tests.kit.campaign.campaign import RoundOutcome, describe, run_schedule
from tests.kit.campaign.faults import KINDS
from tests.kit.campaign.report import added_up, summary, table
from tests.kit.campaign.runs import FOLDER, Record, Run, all_runs, commit, digest, record_of
from tests.kit.campaign.schedule import Round, draw_schedule

# The second needs an extra.
CLIENTS = ["kafka-python", *(["confluent"] if find_spec("confluent_kafka") else [])]


def main() -> int:
    """0 if every fault was survived and every promise kept, else 1."""
    arguments = _arguments()
    console = Console(highlight=False, soft_wrap=True)
    if arguments.report:
        for line in added_up(all_runs(arguments.runs)):
            console.print(line, markup=False)
        return 0
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    chosen = [kind for kind in KINDS[: arguments.first_kinds] if not arguments.kind or kind.kind in arguments.kind]
    schedule = draw_schedule(seed, arguments.faults, chosen, arguments.client or CLIENTS)
    console.print(f"SEED={seed} FAULTS={arguments.faults} of the kinds {digest(chosen)}", markup=False)
    finished: list[Record] = []
    keep: Callable[[RoundOutcome], object] = record_of
    if arguments.round:
        schedule = [plan for plan in schedule if plan.number in arguments.round]
    else:
        run = Run(arguments.runs, seed, commit(), chosen)
        finished, keep = run.records.copy(), run.add
        schedule = run.missing(schedule)
    if finished:
        console.print(f"{len(finished)} rounds were finished before", markup=False)
    records = finished + _run(schedule, console, keep)
    found = summary(seed, records)
    console.print(table(found))
    for trouble in found["troubles"]:
        console.print(f"round {trouble['round']}: {', '.join(trouble['blow'])}: {trouble['trouble']}", markup=False)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=2) + "\n")
    return 1 if found["troubles"] or not records else 0


def _run(schedule: Sequence[Round], console: Console, keep: Callable[[RoundOutcome], object]) -> list[Record]:
    """What the rounds gave, the one that was interrupted included."""
    for plan in schedule:
        console.print(str(plan), markup=False)
        for blow in plan.blows:
            console.print(f"  {describe(blow)}", markup=False)
    if not schedule:
        return []
    results: list[RoundOutcome] = []
    folder = Path(tempfile.mkdtemp(prefix="questream-faults-"))
    console.print(f"what servers and workers log is in {folder}\n", markup=False)
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - started:7.1f} {line}", markup=False)

    try:
        run_schedule(schedule, folder, say, results, keep)
    except KeyboardInterrupt:
        console.print("interrupted; what was seen so far:")
    return list(map(record_of, results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    environment = os.environ.get
    parser.add_argument("--faults", type=int, default=int(environment("FAULTS") or 20), help="how many (FAULTS)")
    seed = environment("SEED")
    parser.add_argument("--seed", type=int, default=int(seed) if seed else None, help="what is drawn follows it (SEED)")
    parser.add_argument("--json", default=environment("REPORT"), help="a file for the report (REPORT)")
    parser.add_argument("--kind", action="append", help="only this kind of fault, as the report names it; repeatable")
    parser.add_argument("--client", action="append", help="workers with this kafka.client; repeatable, any by default")
    parser.add_argument("--report", action="store_true", help="run nothing, and add up what all runs gave")
    parser.add_argument("--runs", type=Path, default=FOLDER, help="the folder that keeps what finished rounds gave")
    parser.add_argument("--first-kinds", type=int, help="only so many kinds, as runs drew from before more were added")
    parser.add_argument("--round", action="append", type=int, help="only this round of the schedule; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
