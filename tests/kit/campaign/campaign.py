"""Runs a schedule: blow after blow, each survived, judged and timed."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.campaign.bed import Bed
from tests.kit.campaign.faults import Fault
from tests.kit.campaign.schedule import Round
from tests.kit.campaign.verdict import Verdict, judge
from tests.kit.checker import Violation, Window
from tests.kit.servers import KafkaServer, Link
from tests.kit.servers.kafka import SHORT_SESSION
from tests.kit.servers.process import free_port

MOST_WORKERS = 4
RECOVERY_SECONDS = 150.0
# kafka-python's can quote the metadata of the whole cluster.
MESSAGE_CHARACTERS = 500

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of one blow. `seconds` to recover is None if decisions did not flow again."""

    blow: tuple[Fault, ...]
    seconds: float | None = None
    trouble: str | None = None

    @property
    def ended(self) -> bool:
        """True if it came to its end: a campaign can be interrupted."""
        return self.seconds is not None or self.trouble is not None

    @property
    def survived(self) -> bool:
        """True if decisions flowed again and every promise was kept."""
        return self.seconds is not None and self.trouble is None


@dataclass
class RoundOutcome:
    """What became of one round: of each blow, what the last check saw, and every broken promise that any check saw."""

    plan: Round
    outcomes: list[Outcome] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    violations: list[Violation] = field(default_factory=list)
    exits: Counter[int] = field(default_factory=Counter)


@contextmanager
def broker(folder: Path) -> Iterator[tuple[KafkaServer, list[Link]]]:
    """A Kafka that can be reached on a path of its own by each of `MOST_WORKERS` workers, and directly."""
    with ExitStack() as started:
        paths = [started.enter_context(Link(free_port())) for _ in range(MOST_WORKERS)]
        yield started.enter_context(KafkaServer(folder, SHORT_SESSION, paths)), paths


def run_schedule(
    schedule: Sequence[Round],
    folder: Path,
    say: Say,
    results: list[RoundOutcome],
    keep: Callable[[RoundOutcome], object],
) -> None:
    """Round by round; one whose decisions do not flow again ends there, and the next begins with everything anew.

    A round is in `results` from its beginning, in case of an interrupt; `keep` is called when it is finished.
    """
    with broker(folder / "kafka") as (kafka, paths):
        for plan in schedule:
            results.append(RoundOutcome(plan))
            run_round(results[-1], folder / f"round-{plan.number}", kafka, paths, say)
            keep(results[-1])


def run_round(result: RoundOutcome, folder: Path, kafka: KafkaServer, paths: list[Link], say: Say) -> None:
    """One round, from fresh topics and an empty store to its last verdict."""
    plan = result.plan
    folder.mkdir(parents=True, exist_ok=True)
    say(str(plan))
    losses: list[tuple[int, Window]] = []
    try:
        with Bed(folder, kafka, paths, plan) as bed:
            for number, blow in enumerate(plan.blows, 1):
                bed.wait_for_owner()
                outcome = Outcome(blow)
                result.outcomes.append(outcome)
                say(f"  {describe(blow)}")
                losses += _strike(bed, outcome)
                if outcome.survived:
                    result.verdict = judge(bed, plan, losses, f"evidence-{number}.pickle")
                    broken = [one for one in result.verdict.violations if one not in result.violations]
                    result.violations += broken
                    if broken:
                        outcome.trouble = f"{len(broken)} promises broken: {broken[0]}"
                say(f"    {_summary(outcome)}")
                result.exits = sum((worker.exits for worker in bed.workers), Counter())
                if outcome.seconds is None:
                    break
    except Exception as error:  # a round that fails must not take the others with it
        trouble = f"broken off: {type(error).__name__}: {str(error)[:MESSAGE_CHARACTERS]}"
        say(f"    {trouble}")
        if not result.outcomes:
            result.outcomes.append(Outcome((), None, trouble))
        else:
            result.outcomes[-1].trouble = trouble
    for violation in result.violations[:20]:
        say(f"    {violation}")


def describe(blow: tuple[Fault, ...]) -> str:
    """A blow in words."""
    return " and ".join(map(str, blow))


def _strike(bed: Bed, outcome: Outcome) -> list[tuple[int, Window]]:
    """Have it happen, and measure how long decisions take to flow again in every partition once it is over.

    Returns the places that the store may have forgotten while they were published and not committed, with the number
    of the input topic's life that they are of.
    """
    era = len(bed.eras)
    loses = any(fault.loses_memory for fault in outcome.blow)
    committed = bed.stream.committed() if loses else {}
    _inflict(bed, outcome.blow)
    if loses:
        bed.operator.memory_lost()
    ended = time.monotonic()
    asked = bed.watch.asked()
    seconds = bed.watch.seconds_until_decided(asked, RECOVERY_SECONDS)
    if seconds is None:
        outcome.trouble = f"no decisions for {RECOVERY_SECONDS:.0f} s after its end"
    else:
        outcome.seconds = time.monotonic() - ended
    if not loses:
        return []
    bed.operator.memory_found()
    if len(bed.eras) == era:
        return [(era, {at: (committed.get(at, 0), end) for at, end in asked.items()})]
    # The topic was made anew meanwhile: some of the old one was lost, or of the new one, or both.
    return [
        (era, {at: (offset, sys.maxsize) for at, offset in committed.items()}),
        (len(bed.eras), {at: (0, end) for at, end in asked.items()}),
    ]


def _inflict(bed: Bed, blow: tuple[Fault, ...]) -> None:
    failures: list[BaseException] = []

    def inflict(fault: Fault) -> None:
        try:
            fault.inflict(bed)
        except BaseException as error:  # raised again in the campaign's own thread
            failures.append(error)

    threads = [threading.Thread(target=inflict, args=(fault,), name=fault.kind) for fault in blow]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _summary(outcome: Outcome) -> str:
    if outcome.survived:
        return f"survived, decisions after {outcome.seconds:.1f} s"
    return f"NOT SURVIVED: {outcome.trouble}"
