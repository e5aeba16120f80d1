"""What each finished round gave, kept in a file for each run, so that a campaign resumes and runs add up."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.kit.campaign.campaign import RoundOutcome, describe
from tests.kit.campaign.faults import Fault
from tests.kit.campaign.schedule import Round

FOLDER = Path(".cache/campaign")
# Of a tree with changes that no commit has: two runs of it need not be of the same code.
UNCOMMITTED = "+"
_FORMAT = 1

# A finished round as JSON takes it.
Record = dict[str, Any]


def digest(kinds: Iterable[type[Fault]]) -> str:
    """How many kinds a schedule was drawn from, and which: a seed draws another schedule from others."""
    names = [kind.kind for kind in kinds]
    return f"{len(names)}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:6]}"


def commit() -> str:
    """The commit of the tree, with `UNCOMMITTED` behind it where files differ; `unknown` without git."""
    try:
        head, changed = (
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return f"unknown{UNCOMMITTED}"
    return head + UNCOMMITTED * bool(changed)


class Run:
    """The rounds of one seed, of one commit, drawn from the same kinds; those that are finished are in its file."""

    def __init__(self, folder: Path, seed: int, commit: str, kinds: Iterable[type[Fault]]) -> None:
        self._described = {"version": _FORMAT, "seed": seed, "commit": commit, "kinds": digest(kinds)}
        self._file = folder / f"{seed}-{commit}-{self._described['kinds']}.jsonl"
        if commit.endswith(UNCOMMITTED):
            self._file.unlink(missing_ok=True)
        self.records = _read(self._file)

    def missing(self, schedule: Sequence[Round]) -> list[Round]:
        """The rounds of the schedule that have not been finished yet, all of their blows included."""
        finished = {json.dumps(record["plan"]) for record in self.records}
        return [plan for plan in schedule if json.dumps(_plan(plan)) not in finished]

    def add(self, result: RoundOutcome) -> None:
        """Keep what a finished round gave."""
        record = self._described | record_of(result)
        self.records.append(record)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            # A run that was killed while it wrote has left a line without an end.
            file.write("\n" * self._is_torn() + json.dumps(record) + "\n")

    def _is_torn(self) -> bool:
        text = self._file.read_text() if self._file.exists() else ""
        return bool(text) and not text.endswith("\n")


def record_of(result: RoundOutcome) -> Record:
    """What a round gave, as a run keeps and a report reads it."""
    broken: dict[str, int] = {}
    for violation in result.violations:
        broken[violation.promise.name] = broken.get(violation.promise.name, 0) + 1
    return {
        "round": result.plan.number,
        "plan": _plan(result.plan),
        "outcomes": [
            {
                "kinds": [fault.kind for fault in outcome.blow],
                "blow": list(map(str, outcome.blow)),
                "seconds": outcome.seconds,
                "trouble": outcome.trouble,
            }
            for outcome in result.outcomes
            if outcome.ended
        ],
        "questions": result.verdict.asked,
        "published": dict(result.verdict.published),
        "broken": broken,
        "exits": {str(code): count for code, count in result.exits.items()},
    }


def all_runs(folder: Path) -> list[list[Record]]:
    """The records of every run that is kept in the folder, by seed."""
    runs = [records for records in map(_read, folder.glob("*.jsonl")) if records]
    return sorted(runs, key=lambda records: (records[0]["seed"], records[0]["commit"], records[0]["kinds"]))


def _plan(plan: Round) -> list[str]:
    return [str(plan), *map(describe, plan.blows)]


def _read(file: Path) -> list[Record]:
    if not file.exists():
        return []
    records = []
    for line in file.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # torn: its round is run again
    return records
