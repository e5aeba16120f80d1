"""The dead letters of the stream: the newest of them, how many there are for each reason, and sending them back."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from http import HTTPStatus

from questream.broker.dead_letters import DeadLetter, ReplayCount
from questream.server.problems import Refused
from questream.server.snapshot import Found, Snapshot
from questream.settings import Settings
from questream.tools.dead_letters import count_replayable, dead_letters, replay

MOST_SHOWN = 500
_MAX_AGE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ReadDeadLetters:
    """The newest 500, newest first, each with whether it needs no replay; and all counted, by reason."""

    newest: list[tuple[DeadLetter, bool]]
    by_reason: Counter[str]
    open_by_reason: Counter[str]


class DeadLetters:
    """Reads the dead-letter topic when somebody asks, and sends letters back, one replay at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._replaying = threading.Lock()
        self._letters = Snapshot("the dead letters", self._read, _MAX_AGE_SECONDS)

    def letters(self) -> Found[ReadDeadLetters]:
        """The dead letters. Raises Refused while they are being read, KafkaUnavailable, KafkaRefused."""
        return self._letters.get()

    def count(self, reason: str | None) -> ReplayCount:
        """The dead letters that a replay would send."""
        return count_replayable(self._settings, reason)

    def replay(self, reason: str | None) -> ReplayCount:
        """Send letters back, each once. Raises Refused where a replay runs here already."""
        if not self._replaying.acquire(blocking=False):
            raise Refused(HTTPStatus.CONFLICT, "a replay is running", "wait for its end")
        try:
            return replay(self._settings, reason)
        finally:
            self._replaying.release()
            self._letters.forget()

    def _read(self) -> ReadDeadLetters:
        newest: deque[tuple[DeadLetter, bool]] = deque(maxlen=MOST_SHOWN)
        by_reason: Counter[str] = Counter()
        open_by_reason: Counter[str] = Counter()
        for letter, settled in dead_letters(self._settings):
            newest.append((letter, settled))
            by_reason[letter.reason] += 1
            open_by_reason[letter.reason] += not settled
        return ReadDeadLetters(sorted(newest, key=lambda one: -one[0].timestamp), by_reason, open_by_reason)
