"""What the command's exit codes mean."""

from __future__ import annotations

from enum import IntEnum

from questream.errors import (
    IdentityMismatch,
    KafkaRefused,
    KafkaUnavailable,
    ModelError,
    QuestreamError,
    RecoveryNeeded,
    SettingsError,
    StoreRefused,
    StoreUnavailable,
)


class ExitCode(IntEnum):
    """The one table of exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    MODEL = 5
    STUCK = 75
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """In words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed, or a check found something wrong",
    ExitCode.USAGE: "wrong arguments or settings",
    ExitCode.UNREACHABLE: "Kafka or Redis did not answer",
    ExitCode.REFUSED: "Kafka or Redis refused: login, rights, or a namespace of another model",
    ExitCode.MODEL: "the model cannot be loaded, or its licence is not accepted",
    ExitCode.STUCK: "a call to Kafka outlasted its deadline; start the worker again",
    ExitCode.INTERRUPTED: "interrupted",
}
_CODES: tuple[tuple[type[QuestreamError], ExitCode], ...] = (
    (SettingsError, ExitCode.USAGE),
    (ModelError, ExitCode.MODEL),
    (StoreUnavailable, ExitCode.UNREACHABLE),
    (RecoveryNeeded, ExitCode.FAILED),
    (KafkaUnavailable, ExitCode.UNREACHABLE),
    (StoreRefused, ExitCode.REFUSED),
    (KafkaRefused, ExitCode.REFUSED),
    (IdentityMismatch, ExitCode.REFUSED),
)


def exit_code_of(error: QuestreamError) -> ExitCode:
    """The exit code that an error ends the command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
