"""What a check answers: the promise that was broken, and what broke it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Promise(StrEnum):
    """What questream promises, invariant by invariant."""

    NOTHING_LOST = "every record is decided or dead-lettered"
    ONCE = "every record is published exactly once"
    ONE_ID = "a question has one decision, repeated as often as it is published"
    PASSED_THROUGH = "a decision carries the key and the headers of its question"
    OFFSETS = "offsets move only past what is published"
    REMEMBERED = "the ledger holds what was published"
    DEAD_LETTERS = "a dead letter is the record untouched, with its error headers"
    KNOWN_ID = "a published id is a cluster or an alias of one"
    UNIQUE_ID = "an id names one cluster for ever"
    SIZES = "a cluster's size is the number of its questions"
    SIZE_SEQUENCE = "the published sizes of a cluster have no gap and no repeat"
    CENTROIDS = "a centroid is the sum of the cluster's members, the mean that of the first questions"
    NAMES = "a cluster keeps the label and the route that it was given, whatever merges"
    OPERATIONS = "an operation is published once, in the order of the numbers that the store gave"
    CORRECTIONS = "each question that an operation moved has one correction, and corrections lead from its decision on"
    RULINGS = "what people decided stays in force, whatever is lost, and nothing that comes later contradicts it"
    LEVELS = "an id of an intent or topic is given once and keeps its clusters, and a path is one that was published"
    NO_TWINS = "no older cluster was within the threshold of one that was opened"
    CLUSTER_TOPIC = "the cluster topic rebuilds what the store holds"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise. `subject` names the record, cluster or namespace; neither text quotes a question."""

    promise: Promise
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.promise.name}: {self.subject}: {self.detail}"
