"""The condition of a worker for the probes and the metrics page."""

from __future__ import annotations

import time

from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.recover import Progress, StoreRecovery
from questream.stream.intake import Intake
from questream.stream.retry import Retry
from questream.stream.session import Session
from questream.stream.settings_in_use import SettingsInUse


class WorkerCondition:
    """The condition of a worker and its session. `begin` and `end` are for the worker's thread, the rest for any.

    A session that neither polls nor finishes a batch for `stall_seconds` stalls.
    """

    def __init__(
        self,
        recovery: StoreRecovery,
        cluster_topic: ClusterTopic,
        settings_in_use: SettingsInUse,
        retry: Retry,
        stall_seconds: float,
    ) -> None:
        self._recovery = recovery
        self._cluster_topic = cluster_topic
        self._settings_in_use = settings_in_use
        self._stall_seconds = stall_seconds
        self._retry = retry
        self._intake: Intake | None = None
        self._session: Session | None = None

    def try_with(self, retry: Retry) -> None:
        """From now on calls to the servers are made by `retry`."""
        self._retry = retry

    def begin(self, intake: Intake, session: Session) -> None:
        """A session begins."""
        self._intake, self._session = intake, session

    def end(self) -> None:
        """The session has ended."""
        self._intake = self._session = None

    @property
    def in_session(self) -> bool:
        """True if there is a session."""
        return self._session is not None

    def live(self) -> str | None:
        """None while the loop turns, else what stalls."""
        session = self._session
        # A store that does not answer is no reason to start the worker again: it would only wait anew.
        if session is None or not self._retry.available:
            return None
        now = time.monotonic()
        if now - session.polled_at > self._stall_seconds:
            return "the intake has not polled for longer than kafka.max_poll_interval_seconds"
        for since in (session.embedding_since, session.deciding_since):
            if since is not None and now - since > self._stall_seconds:
                return "a batch has been in work for longer than kafka.max_poll_interval_seconds"
        return None

    def ready(self) -> str | None:
        """None while Kafka, Redis and the model are there, else what is missing."""
        intake, progress, unanswered = self._intake, self._recovery.progress, self._retry.trouble
        if progress is not None:
            reading = self._cluster_topic.reading
            return str(progress) if reading is None else f"{progress} ({reading[0]:,} of {reading[1]:,} offsets read)"
        if unanswered is not None:
            return str(unanswered)
        if intake is None or not intake.assigned:
            return "not a member of the consumer group yet"
        return None if intake.answered else "Kafka does not answer"

    def remark(self) -> str | None:
        """The remark of `/readyz` on a worker that is ready."""
        intake = self._intake
        held = intake.held_namespaces if intake is not None else []
        waiting = f"partitions wait for namespaces that are being moved: {', '.join(held)}" if held else None
        return "; ".join(text for text in (waiting, self._settings_in_use.remark()) if text) or None

    def recovering(self) -> tuple[int, int]:
        """Note how many clusters of the present namespace are restored, of how many."""
        progress = self._recovery.progress
        return (progress.done, progress.of or 0) if isinstance(progress, Progress) else (0, 0)
