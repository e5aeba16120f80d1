"""Run every check, each within its time, whatever the others found."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

from questream.errors import QuestreamError
from questream.settings import Settings
from questream.tools.doctor.findings import Check, CheckContext, Finding, failures
from questream.tools.doctor.kafka_checks import KAFKA_CHECKS
from questream.tools.doctor.model_checks import MODEL_CHECKS
from questream.tools.doctor.redis_checks import REDIS_CHECKS
from questream.tools.doctor.stream_checks import STREAM_CHECKS

CHECKS: Sequence[Check] = (*KAFKA_CHECKS, *REDIS_CHECKS, *STREAM_CHECKS, *MODEL_CHECKS)


def diagnose(settings: Settings, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """The findings of all checks, one by one as they come. Never raises for what it finds."""
    context = CheckContext(settings)
    failed: set[str] = set()
    try:
        for check in checks:
            hindrance = next((name for name in check.needs if name in failed), None)
            if hindrance is not None:
                failed.add(check.name)
                yield Finding(check.name, "skipped", f"needs {hindrance}")
                continue
            for finding in _within_its_time(check, context):
                if finding.status == "fail":
                    failed.add(check.name)
                yield finding
    finally:
        context.opened.close()


def _within_its_time(check: Check, context: CheckContext) -> Iterator[Finding]:
    """The check's findings; one that says so if it takes too long. What hangs is left behind in its thread."""
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def examine() -> None:
        try:
            for finding in check.run(context):
                found.put(finding)
        except QuestreamError as error:
            for finding in failures(check.name, error):
                found.put(finding)
        except Exception as error:
            # Its text is not shown: a client's error may quote what it sent.
            found.put(Finding(check.name, "fail", f"the check failed: {type(error).__name__}"))
        found.put(None)

    threading.Thread(target=examine, name=f"doctor-{check.name}", daemon=True).start()
    while True:
        try:
            finding = found.get(timeout=check.limit_seconds)
        except queue.Empty:
            yield Finding(
                check.name, "fail", f"no answer within {check.limit_seconds:g} s", "is the server overloaded?"
            )
            return
        if finding is None:
            return
        yield finding
