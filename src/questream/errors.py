"""Every error that questream raises on purpose, and what each means for the stream.

    QuestreamError
    ├── SettingsError        stop: a setting is wrong; names its key and the allowed range
    ├── MissingExtra         stop: packages of an extra are not installed
    ├── ModelError           stop: the model cannot be loaded or must not be
    ├── BadRecord            dead-letter: this record can never be processed
    │   └── PassedOver           count: the record is no question and was never meant as one
    ├── StoreUnavailable     retry: Redis did not answer
    │   └── NamespaceHeld    retry: the namespace is being moved to another model
    ├── StoreRefused         stop: Redis answered that it will not (memory, rights)
    │   ├── AnotherStore     stop: the cluster topic says that another store serves the namespace
    │   ├── StoreDamaged     stop: Redis and the cluster topic have both lost a cluster
    │   └── NamespaceRefused     dead-letter: one namespace cannot be served here; stop where it is the worker's own
    │       ├── IdentityMismatch     the same: the namespace was built with another model
    │       ├── NamespaceOfAnotherStream     the same: it belongs to a stream with other topics
    │       └── NamespaceDamaged     the same: a part of it is gone for good
    ├── RecoveryNeeded       recover: Redis may have forgotten what was published; recover the namespace, decide again
    │   └── LostMemory       recover: Redis has forgotten, or was changed by another hand
    ├── Contended            retry: other workers kept winning
    ├── NamingsDiffer        refuse the command: a merge would drop a label or a route, and nobody agreed
    ├── KafkaUnavailable     retry: the broker failed a call; consumer and producer are built anew
    ├── KafkaRefused         stop: the broker will not (login, rights, record size)
    │   ├── ClusterTopicDamaged  stop: a state in the cluster topic cannot be read, and its cluster would be lost
    │   ├── RecordsTooLarge  dead-letter by reference: a topic does not take these records
    │   └── KafkaHungUp      retry in a worker: the broker closed the connection and did not say why
    └── Superseded           drop: the partitions went to another worker, which publishes what is recorded

No message carries question text, a credential or a URL with a password.
"""

from __future__ import annotations

from collections.abc import Sequence


class QuestreamError(Exception):
    """Base of all errors that questream raises on purpose."""


class SettingsError(QuestreamError):
    """A setting is missing, unknown or out of range; the message names the key and what is allowed."""


class ModelError(QuestreamError):
    """The model cannot be loaded, or its licence has not been accepted."""


class MissingExtra(QuestreamError):
    """Packages that only some commands need are not installed; the message says how they are put in."""

    def __init__(self, what: str, packages: str, extra: str) -> None:
        super().__init__(f"{what} needs {packages}; put it in with: make setup EXTRAS={extra}")


class BadRecord(QuestreamError):
    """A record that can never be processed.

    `stage` is where it failed (`decode`, `recall`, `tokenise`, `embed`, `decide`); `reason` is a short stable code of a
    fixed vocabulary, used as metric label and dead-letter header; the message is for people and never quotes the
    record.
    """

    def __init__(self, stage: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason


class PassedOver(BadRecord):
    """A record that its sender does not mean as a question, such as a tombstone: nothing is published for it."""


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


class NamespaceOfAnotherStream(NamespaceRefused):
    """The namespace belongs to a stream with other topics, which would mix with this one."""

    reason = "namespace_of_another_stream"


class NamespaceDamaged(NamespaceRefused):
    """A part of the namespace is gone for good, or cannot be read: somebody has to put it back or give it up."""

    reason = "namespace_damaged"


class StoreDamaged(StoreRefused):
    """A part of a namespace is gone from the store, and the cluster topic cannot give it back."""


class RecoveryNeeded(QuestreamError):
    """The store was restarted, failed over to, emptied or restored: nothing is decided before it has been compared
    with the cluster topic, since it may have forgotten writes that it had acknowledged."""


class LostMemory(RecoveryNeeded):
    """What a namespace must have is missing in the store, cut short, of another type or older than it was seen."""


class Contended(QuestreamError):
    """Other workers kept committing first; the batch was not applied."""


class NamingsDiffer(QuestreamError):
    """Two clusters whose labels or routes differ cannot merge unless somebody gives up those of one."""


class KafkaUnavailable(QuestreamError):
    """The broker failed a call or did not answer; the same may succeed with new clients."""


class KafkaRefused(QuestreamError):
    """The broker answered that it will not: no rights, or a record larger than its topic takes."""


class ClusterTopicDamaged(KafkaRefused):
    """A record of the cluster topic is no state of its cluster; the message names it."""


class RecordsTooLarge(KafkaRefused):
    """Nothing was published, since a topic takes no record as large as these; `indices` are their places."""

    def __init__(self, indices: Sequence[int]) -> None:
        super().__init__(
            "the broker refused to publish a record of this size: check that max.message.bytes of the output, cluster"
            " and dead-letter topics is at least the input topic's"
        )
        self.indices = list(indices)


class KafkaHungUp(KafkaRefused):
    """The broker closed the connection before it answered: another protocol, a refused login, or its own end."""


class Superseded(QuestreamError):
    """The batch's partitions have gone to another worker; its offsets were not committed and nothing was published."""
