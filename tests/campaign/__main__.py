"""`python -m tests.campaign --faults 200 --seed 7 --json report.json`: a campaign from the command line."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.campaign.campaign import RoundOutcome, describe, run_schedule
from tests.campaign.faults import KINDS
from tests.campaign.report import summary, table
from tests.campaign.schedule import draw_schedule


def main() -> int:
    """0 if every fault was survived and every promise kept, else 1."""
    arguments = _arguments()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    chosen = [kind for kind in KINDS if not arguments.kind or kind.kind in arguments.kind]
    schedule = draw_schedule(seed, arguments.faults, chosen)
    if arguments.round:
        schedule = [plan for plan in schedule if plan.number in arguments.round]
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"SEED={seed} FAULTS={arguments.faults}", markup=False)
    for plan in schedule:
        console.print(str(plan), markup=False)
        for blow in plan.blows:
            console.print(f"  {describe(blow)}", markup=False)
    folder = Path(tempfile.mkdtemp(prefix="questream-faults-"))
    console.print(f"what servers and workers log is in {folder}\n", markup=False)
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - started:7.1f} {line}", markup=False)

    rounds: list[RoundOutcome] = []
    try:
        run_schedule(schedule, folder, say, rounds)
    except KeyboardInterrupt:
        console.print("interrupted; what was seen so far:")
    told = summary(seed, rounds)
    console.print(table(told))
    for trouble in told["troubles"]:
        console.print(f"round {trouble['round']}: {', '.join(trouble['blow'])}: {trouble['trouble']}", markup=False)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(told, indent=2) + "\n")
    return 1 if told["troubles"] or not rounds else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    environment = os.environ.get
    parser.add_argument("--faults", type=int, default=int(environment("FAULTS") or 20), help="how many (FAULTS)")
    seed = environment("SEED")
    parser.add_argument("--seed", type=int, default=int(seed) if seed else None, help="what is drawn follows it (SEED)")
    parser.add_argument("--json", default=environment("REPORT"), help="a file for the report (REPORT)")
    parser.add_argument("--kind", action="append", help="only this kind of fault, as the report names it; repeatable")
    parser.add_argument("--round", action="append", type=int, help="only this round of the schedule; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
