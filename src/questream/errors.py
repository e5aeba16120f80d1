"""Every error that questream raises on purpose, and what is done about each: `POLICIES`, at the end.

    QuestreamError
    ├── SettingsError, ModelError, ModelOwnerGone, MissingExtra
    ├── BadRecord
    │   └── PassedOver
    ├── DeserializerUnavailable
    ├── StoreUnavailable
    │   └── NamespaceHeld
    ├── StoreRefused
    │   ├── AnotherStore, StoreDamaged, StoreOutdated
    │   └── NamespaceRefused
    │       └── IdentityMismatch, NamespaceOfAnotherStream, NamespaceDamaged
    ├── RecoveryNeeded
    │   └── LostMemory
    ├── Contended, NamingsDiffer, OperationRefused, Superseded
    ├── KafkaUnavailable
    │   └── KafkaTimeout
    └── KafkaRefused
        └── ClusterTopicDamaged, RecordsTooLarge, KafkaHungUp

No message carries question text, a credential or a URL with a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum, unique
from typing import NamedTuple


class Problem(NamedTuple):
    """A fault and its remedy. Both name the setting that they are about by its key."""

    what: str
    remedy: str | None = None

    def __str__(self) -> str:
        return self.what if self.remedy is None else f"{self.what}; {self.remedy}"


class QuestreamError(Exception):
    """Base of all errors that questream raises on purpose. As text it is a line for each of its `problems`."""

    def __init__(self, what: str, remedy: str | None = None) -> None:
        super().__init__(what)
        self.problems: tuple[Problem, ...] = (Problem(what, remedy),)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class SettingsError(QuestreamError):
    """A setting is missing, unknown or out of range; the message names the key and what is allowed."""

    @classmethod
    def of_each(cls, problems: Sequence[Problem]) -> SettingsError:
        """One error of all settings that are wrong."""
        error = cls(problems[0].what)
        error.problems = tuple(problems)
        return error


class ModelError(QuestreamError):
    """The model cannot be loaded, or its licence has not been accepted."""


class ModelOwnerGone(QuestreamError):
    """The process that has the model for this one has ended."""

    def __init__(self) -> None:
        super().__init__("the process that has the model has ended", "start questream run again")


class MissingExtra(QuestreamError):
    """Packages that only some commands need are not installed; the message says how they are put in."""

    def __init__(self, what: str, packages: str, extra: str) -> None:
        super().__init__(f"{what} needs {packages}", f"put it in with: make setup EXTRAS={extra}")


class BadRecord(QuestreamError):
    """A record that can never be processed.

    `stage` is where it failed (`decode`, `prepare`, `recall`, `tokenise`, `embed`, `decide`); `reason` is a short
    stable code of a fixed vocabulary, used as metric label and dead-letter header; the message is for people and never
    quotes the record.
    """

    def __init__(self, stage: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason


class PassedOver(BadRecord):
    """A record that its sender does not mean as a question, such as a tombstone: nothing is published for it."""


class DeserializerUnavailable(QuestreamError):
    """A service of a record format, such as a schema registry, did not answer; the record may be read later."""


class StoreUnavailable(QuestreamError):
    """The store did not answer in time; the same call may succeed later."""


class NamespaceHeld(StoreUnavailable):
    """Somebody holds the namespace to move it to another model; it is free again within a minute."""


class StoreRefused(QuestreamError):
    """The store answered that it will not do this: out of memory, no rights, read-only."""


class NamespaceRefused(StoreRefused):
    """The store serves other namespaces and will not serve this one: the rights of the login end at its keys.

    `reason` is the code of the dead letters that its records become.
    """

    reason = "namespace_refused"


class IdentityMismatch(NamespaceRefused):
    """The namespace was built with another model, revision or dimension than this worker has."""

    reason = "namespace_of_another_model"


class AnotherStore(StoreRefused):
    """The namespace is served by another store than the one that the settings lead to."""


class StoreOutdated(StoreRefused):
    """The store was restored from a copy so old that the clusters retired since are not known."""


class NamespaceOfAnotherStream(NamespaceRefused):
    """The namespace belongs to a stream with other topics, which would mix with this one."""

    reason = "namespace_of_another_stream"


class NamespaceDamaged(NamespaceRefused):
    """A part of the namespace is gone for good, or cannot be read: somebody has to restore it or give it up."""

    reason = "namespace_damaged"


class StoreDamaged(StoreRefused):
    """A part of a namespace is gone from the store, and the cluster topic cannot give it back."""


class RecoveryNeeded(QuestreamError):
    """The store was restarted, failed over to, emptied or restored: nothing is decided before it has been compared
    with the cluster topic, since it may have forgotten writes that it had acknowledged."""


class LostMemory(RecoveryNeeded):
    """Data of a namespace are missing in the store, cut short, of another type or older than they were seen."""


class Contended(QuestreamError):
    """Other workers kept committing first; the batch was not applied."""


class NamingsDiffer(QuestreamError):
    """Two clusters whose labels or routes differ cannot merge unless somebody gives up those of one."""


class OperationRefused(QuestreamError):
    """The requested operation contradicts one in force, or there is none to undo."""


class KafkaUnavailable(QuestreamError):
    """The broker failed a call or did not answer; the same may succeed with new clients."""


class KafkaTimeout(KafkaUnavailable):
    """The broker did not answer in time."""


class KafkaRefused(QuestreamError):
    """The broker answered that it will not: no rights, or a record larger than its topic takes."""


class ClusterTopicDamaged(KafkaRefused):
    """A record of the cluster topic is no state of its cluster; the message names it."""


class RecordsTooLarge(KafkaRefused):
    """Nothing was published, since this topic takes no record as large as these; `indices` are their places."""

    REMEDY = "raise its max.message.bytes to 64 KiB above the input topic's"

    def __init__(self, indices: Sequence[int], topic: str) -> None:
        super().__init__(f"topic {topic} takes no record of this size", self.REMEDY)
        self.indices = list(indices)
        self.topic = topic


class KafkaHungUp(KafkaRefused):
    """The broker closed the connection before it answered: another protocol, a refused login, or its own end."""


class Superseded(QuestreamError):
    """The batch's partitions have gone to another worker; its offsets were not committed and nothing was published."""


@unique
class Recourse(Enum):
    """The reaction of the worker to an error."""

    RETRY = "the call is made again, until it succeeds or the session ends"
    WAIT = "the partitions that came to the namespace wait until it is free; all others go on"
    SKIP = "the record's offset moves, and nothing is published for it"
    DEAD_LETTER = "the record becomes a dead letter, by reference where no topic takes it whole"
    SET_ASIDE = "the namespace's records become dead letters, and all others go on; its own namespace stops a worker"
    DROP = "the batch is given up: another worker publishes it out of the ledger"
    RESTART = "the session ends; the next one has new clients, and compares the store with the cluster topic first"
    STOP = "the worker or command ends"

    @property
    def may_pass(self) -> bool:
        """True if a new session may succeed where one has ended with such an error."""
        return self in (Recourse.RETRY, Recourse.WAIT, Recourse.RESTART)


@unique
class ExitCode(IntEnum):
    """The exit codes of the command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    MODEL = 5
    # EX_TEMPFAIL of sysexits.h: try again later.
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


class Policy(NamedTuple):
    """The reaction of a worker to an error, and the exit code of the command that ends with it."""

    recourse: Recourse
    exit_code: ExitCode = ExitCode.FAILED


# The one place where errors become policy. An error that is not listed has the policy of its base.
POLICIES: dict[type[QuestreamError], Policy] = {
    QuestreamError: Policy(Recourse.STOP),
    SettingsError: Policy(Recourse.STOP, ExitCode.USAGE),
    ModelError: Policy(Recourse.STOP, ExitCode.MODEL),
    BadRecord: Policy(Recourse.DEAD_LETTER),
    PassedOver: Policy(Recourse.SKIP),
    DeserializerUnavailable: Policy(Recourse.RETRY, ExitCode.UNREACHABLE),
    StoreUnavailable: Policy(Recourse.RETRY, ExitCode.UNREACHABLE),
    NamespaceHeld: Policy(Recourse.WAIT, ExitCode.UNREACHABLE),
    StoreRefused: Policy(Recourse.STOP, ExitCode.REFUSED),
    StoreDamaged: Policy(Recourse.SET_ASIDE, ExitCode.REFUSED),
    NamespaceRefused: Policy(Recourse.SET_ASIDE, ExitCode.REFUSED),
    RecoveryNeeded: Policy(Recourse.RESTART),
    Contended: Policy(Recourse.RETRY),
    Superseded: Policy(Recourse.DROP),
    KafkaUnavailable: Policy(Recourse.RESTART, ExitCode.UNREACHABLE),
    KafkaRefused: Policy(Recourse.STOP, ExitCode.REFUSED),
    ClusterTopicDamaged: Policy(Recourse.SET_ASIDE, ExitCode.REFUSED),
    RecordsTooLarge: Policy(Recourse.DEAD_LETTER, ExitCode.REFUSED),
    KafkaHungUp: Policy(Recourse.RESTART, ExitCode.REFUSED),
}


def policy_of(error: BaseException) -> Policy:
    """The policy of an error; one that is none of questream's own stops the worker."""
    return next((POLICIES[kind] for kind in type(error).__mro__ if kind in POLICIES), POLICIES[QuestreamError])


def recourse_of(error: BaseException) -> Recourse:
    """The reaction of the worker to an error."""
    return policy_of(error).recourse
