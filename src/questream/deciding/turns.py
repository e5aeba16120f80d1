"""Turns to move a namespace's log: who is refused again and again asks for one before it sends what it proposes.

Two workers that open clusters in one namespace refuse each other's commits: each must have seen what the other opened.
A worker that others came before asks for its turn first, learns with it what it has missed, decides again what that
comes near to and then sends its proposal once. In a namespace where nobody comes first nothing is asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from questream.clustering.mirror import Mirror
from questream.store.protocol import AskedTurn, Store, StoreError, Turn

# So many more refusals than batches for which nothing of the log was missed.
_REFUSALS_BEFORE_A_TURN = 2
_REFUSALS_NOTED = 6
# So many times as long a turn may get for a worker whose turns end before it is through. One that dies holds up the
# others for that time.
_LONGEST_STRETCH = 8


class Turns:
    """Requests for turns, by the namespaces' last commits. They belong to one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._token = uuid.uuid4().hex[:12]
        self._refusals: dict[str, int] = {}
        self._stretches: dict[str, int] = {}

    def forget(self, namespace: str) -> None:
        """Forget how often others came first."""
        self._refusals.pop(namespace, None)
        self._stretches.pop(namespace, None)

    def note_refused(self, namespace: str) -> None:
        """Others came first."""
        self._refusals[namespace] = min(_REFUSALS_NOTED, self._refusals.get(namespace, 0) + 1)

    def note_lapsed(self, namespace: str) -> None:
        """Others came first in a turn of this worker, which ended before its batch was there: the next is longer."""
        self._stretches[namespace] = min(_LONGEST_STRETCH, 2 * self.stretch(namespace))

    def note_committed(self, namespace: str, missed_changes: int) -> None:
        """A batch was committed, for which so much of the log had been missed."""
        if not missed_changes and namespace in self._refusals:
            self._refusals[namespace] -= 1
            if not self._refusals[namespace]:
                self.forget(namespace)

    def token(self, namespace: str) -> str:
        """The token of a proposal's request for a turn; empty where none is needed."""
        return self._token if self._refusals.get(namespace, 0) >= _REFUSALS_BEFORE_A_TURN else ""

    def stretch(self, namespace: str) -> int:
        """The length of a turn, in TURN_SECONDS."""
        return self._stretches.get(namespace, 1)

    def ask(self, mirrors: Sequence[tuple[str, Mirror]]) -> Mapping[str, Turn | StoreError]:
        """Wait in line in these namespaces, which are as their mirrors have them, in one round trip."""
        if not mirrors:
            return {}
        asked = {
            namespace: AskedTurn(mirror.store_epoch, mirror.seq, self._token, self.stretch(namespace))
            for namespace, mirror in mirrors
        }
        return self._store.ask_turns(asked)
