"""The data of questream: a record becomes a question, a question gets a decision, clusters change state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from questream.marks import MarkKind

Vector = NDArray[np.float32]
Matrix = NDArray[np.float32]
Headers = tuple[tuple[str, bytes | None], ...]
# Label and route, None where there is none.
Naming = tuple[str | None, str | None]
UNNAMED: Naming = (None, None)
Outcome = Literal["joined", "created", "replayed", "unmatched"]
# `open`: a question that joins no cluster opens one.
Mode = Literal["open", "known-only"]
CheckedBy = Literal["features", "judge"]
ClusterEvent = Literal["created", "updated", "merged", "retired", "labelled"]

_NAMED = 5
# Of the representative of a cluster, so much is kept.
REPRESENTATIVE_CHARACTERS = 500
# Decisions and states carry both, each time.
LABEL_OR_ROUTE_CHARACTERS = 256


class Unread(bytes):
    """The placeholder of a value that was not read: it would take more memory than a consumer may use.

    Its batch unpacks to more than the budget, or it has headers by the ten thousand.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Source:
    """The position of a record in Kafka; `timestamp` in milliseconds since the epoch, as the record carries it.

    `stream` is the name of the topic in the store's ledgers where that is another than its own: see `Store.stream`.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    stream: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """The partition as the store's ledgers name it."""
        return self.stream or self.topic, self.partition


def count_bytes(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Bytes of a record's key, value and header values."""
    return len(key or b"") + len(value or b"") + sum(len(header or b"") for _, header in headers)


@dataclass(frozen=True, slots=True)
class Record:
    """A consumed Kafka record; key, value and headers are the bytes that were read, untouched."""

    source: Source
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def byte_count(self) -> int:
        """Bytes of key, value and header values."""
        return count_bytes(self.key, self.value, self.headers)


@dataclass(frozen=True, slots=True)
class Question:
    """A decoded record: something to cluster. `prepared_by` says what made its text another than was sent, if any."""

    id: str
    text: str
    namespace: str
    record: Record
    prepared_by: str = ""


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The second nearest cluster of a question; for a created cluster the nearest one that was not near enough."""

    cluster_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The one decision a question ever gets. Similarities are cosines in [-1, 1]; `decided_at` in ms since the epoch.

    `cluster_id` is None for outcome `unmatched`, in a namespace where questions open no clusters, and for `replayed`
    with no cluster near enough. `similarity` is that to the cluster; for `unmatched` to the runner-up, the best that
    there was, if any. `unknown_share` is the share of the text's words, in [0, 1], that the model's tokenizer does not
    know. `checked_by` says what gave a
    near cluster a second look, None where nothing did; where one was passed over, it is the runner-up, and `reason`
    says what differs: number, code, name, antonym, negation or direction. `path` has the ids of the topic and the
    intent that the cluster was in, and its own; None where that was not known. `confidence` is how likely a person
    would put the question into its cluster, in [0, 1]; None where nothing is fitted, and for a cluster that it opened.
    Where that is too little for a route, `suggested_route` is what it would have been.
    """

    cluster_id: int | None
    similarity: float | None
    outcome: Outcome
    cluster_size: int
    runner_up: RunnerUp | None
    label: str | None
    route: str | None
    model: str
    threshold: float
    truncated: bool
    decided_at: int
    unknown_share: float = 0.0
    checked_by: CheckedBy | None = None
    reason: str | None = None
    path: tuple[str, str, str] | None = None
    confidence: float | None = None
    suggested_route: str | None = None

    @property
    def margin(self) -> float | None:
        """Similarity minus the runner-up's, or None where there is no runner-up or no cluster."""
        if self.runner_up is None or self.similarity is None or self.cluster_id is None:
            return None
        return self.similarity - self.runner_up.similarity

    def __repr__(self) -> str:
        """A line that says what was decided."""
        where = "no cluster" if self.cluster_id is None else format_cluster_id(self.cluster_id)
        similarity = "" if self.similarity is None else f", similarity={self.similarity:.3f}"
        return f"Decision({where}, {self.outcome}{similarity}, size={self.cluster_size})"


@dataclass(frozen=True, slots=True)
class InFlight:
    """The questions of a cluster that may not have been published yet when its state was written.

    `joins` holds the offsets of its questions by (topic, partition), `absorbed` the clusters that were merged into it.
    """

    joins: Mapping[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    absorbed: tuple[int, ...] = ()


ConstraintKind = Literal["must", "cannot"]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A question that people put into a cluster (`must`) or turned away from it (`cannot`), as its vector.

    `name` is of the operation that left it; later ones sort behind. `vector` is a unit vector as little-endian
    half-precision floats. `place` is the question's position in Kafka, if it is there: topic, partition, offset.
    There is a `text` only where texts are kept.
    """

    name: str
    kind: ConstraintKind
    vector: bytes
    place: tuple[str, int, int] | None = None
    text: str | None = None

    def __repr__(self) -> str:
        """A line without the text."""
        return f"Exemplar({self.name}, {self.kind}, {self.place})"


# Of a threshold that is a cluster's own.
THRESHOLD_DIGITS = 6
# Of one cluster, must and cannot together; of more the oldest go.
EXEMPLARS_KEPT = 32


def joint_exemplars(kept: Iterable[Exemplar], others: Iterable[Exemplar]) -> tuple[Exemplar, ...]:
    """The exemplars of two clusters together: the last `EXEMPLARS_KEPT` by name, in order."""
    by_name = {exemplar.name: exemplar for exemplar in (*others, *kept)}
    return tuple(by_name[name] for name in sorted(by_name))[-EXEMPLARS_KEPT:]


@dataclass(frozen=True, slots=True)
class ChosenQuestion:
    """A question that people chose as a cluster's representative; `name` is of the operation that did.

    `place` is the question's position in Kafka, if it is there: topic, partition, offset. There is no `text` where only
    the operation topic has it.
    """

    name: str
    text: str | None
    place: tuple[str, int, int] | None = None

    def __repr__(self) -> str:
        """A line without the text."""
        return f"ChosenQuestion({self.name}, {self.place})"


# Suggestions about one cluster: that people name it, and that they split it.
Dismissible = Literal["name", "split"]
DISMISSIBLE: tuple[Dismissible, ...] = get_args(Dismissible)

# The first letters of ids of intents and topics, like i5 and t2. No separation of clusters begins so: these are in hex.
LEVEL_LETTERS = "it"


def opposite_end(end: str) -> str:
    """The other end of a separation, which what is different bears."""
    return end[:-1] + ("-" if end.endswith("+") else "+")


@dataclass(frozen=True, slots=True)
class Ruling:
    """The ruling of a cluster. Label and route are one decision; a pinned cluster never merges automatically.

    Each separation of two clusters has a name; the one bears it with `+`, the other with `-`. What either becomes
    inherits it, and clusters with both ends of one never merge. Beside these ends are those of levels, which begin
    with their letter: `i5=` where people keep the cluster in an intent, and the ends of a separation of two intents.
    Clusters that are kept in two intents never merge. `exemplars` are questions that people put into the
    cluster or turned away from it, in the order of their names. A muted cluster raises no events. `resolved_size` is
    how many questions it had when somebody said that it is dealt with; with more it has returned. `represented_by` is
    its representative in place of the one that opened it. Questions join it at `threshold` in place of the
    namespace's: a cosine above 0 with `THRESHOLD_DIGITS` digits. `dismissed` are the suggestions about it that nobody
    wants any more, in the order of `DISMISSIBLE`. What it absorbs leaves it these as they are.
    """

    label: str | None = None
    route: str | None = None
    pinned: bool = False
    separations: tuple[str, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    muted: bool = False
    resolved_size: int | None = None
    represented_by: ChosenQuestion | None = None
    threshold: float | None = None
    dismissed: tuple[Dismissible, ...] = ()

    def is_separate_from(self, other: Ruling) -> bool:
        """True if people said that these two are different, or are of different intents or topics."""
        if not {opposite_end(end) for end in self.separations}.isdisjoint(other.separations):
            return True
        here, there = ({name[0]: name for name in ruling.kept_in} for ruling in (self, other))
        return any(there.get(level, name) != name for level, name in here.items())

    @property
    def kept_in(self) -> tuple[str, ...]:
        """The intent and the topic that people keep it in, as far as they do: `i5`, `t2`."""
        return tuple(end[:-1] for end in self.separations if end.endswith("="))

    @property
    def ends_of_clusters(self) -> tuple[str, ...]:
        """Its separations from other clusters."""
        return tuple(end for end in self.separations if end[0] not in LEVEL_LETTERS)

    @property
    def ends_of_levels(self) -> tuple[str, ...]:
        """The intents and topics that people put it in."""
        return ends_of_levels(self.separations)

    def without_texts(self) -> Ruling:
        """The same without any text of a question."""
        chosen = self.represented_by
        return replace(
            self,
            exemplars=tuple(replace(one, text=None) for one in self.exemplars),
            represented_by=None if chosen is None else replace(chosen, text=None),
        )

    def with_constraints_of(self, absorbed: Ruling) -> Ruling:
        """This ruling for both clusters: what forbids a merge of either forbids it to what they become."""
        ends = dict.fromkeys((*self.separations, *absorbed.separations))
        return replace(
            self,
            pinned=self.pinned or absorbed.pinned,
            separations=tuple(ends),
            exemplars=joint_exemplars(self.exemplars, absorbed.exemplars),
            represented_by=self.represented_by or absorbed.represented_by,
        )


UNRULED = Ruling()


@dataclass(frozen=True, slots=True)
class NamespaceRules:
    """The rules that people set for a namespace, in place of its workers' settings; None leaves a rule to these.

    Thresholds are cosines; a retention is in seconds of stream time, 0 for ever; `max_clusters` 0 is without limit. By
    `mode` questions open clusters, or join those that are known alone. `confidence` is the text of a `Confidence`. A
    question is routed at a confidence of `routing_precision` and above alone, with 0 at any. The higher the resolution
    of intents or topics, the finer they are.
    `operation` is the number of the last one that set any, 0 where none has.
    """

    threshold: float | None = None
    merge_threshold: float | None = None
    linkage: str | None = None
    retention_seconds: float | None = None
    singleton_retention_seconds: float | None = None
    alias_retention_seconds: float | None = None
    max_clusters: int | None = None
    mode: str | None = None
    confidence: str | None = None
    routing_precision: float | None = None
    intent_resolution: float | None = None
    topic_resolution: float | None = None
    operation: int = field(default=0, compare=False)

    def values(self) -> dict[str, float | int | str]:
        """The rules that are set, by name."""
        return {name: value for name in NAMES_OF_RULES if (value := getattr(self, name)) is not None}

    @classmethod
    def of(cls, values: Mapping[str, Any], operation: int = 0) -> NamespaceRules:
        """The inverse of `values`; a rule that this release does not know is left out. Raises ValueError."""
        known = {name: values[name] for name in NAMES_OF_RULES if values.get(name) is not None}
        for name, value in known.items():
            if not isinstance(value, str) if name in _RULES_OF_TEXT else type(value) not in (int, float):
                raise ValueError(f"a rule is a number, or a text: {', '.join(sorted(_RULES_OF_TEXT))}")
        return cls(**known, operation=operation)


NAMES_OF_RULES = (
    *("threshold", "merge_threshold", "linkage", "retention_seconds", "singleton_retention_seconds"),
    *("alias_retention_seconds", "max_clusters", "mode", "confidence", "routing_precision"),
    *("intent_resolution", "topic_resolution"),
)
_RULES_OF_TEXT = frozenset({"linkage", "mode", "confidence"})


@dataclass(frozen=True, slots=True)
class RulesChange:
    """The changes of an operation to the rules of a namespace."""

    before: NamespaceRules
    after: NamespaceRules

    def document(self) -> dict[str, Any]:
        """It in JSON."""
        return {"before": self.before.values(), "after": self.after.values()}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RulesChange:
        """The inverse of `document`. Raises ValueError, KeyError, TypeError or AttributeError."""
        return cls(NamespaceRules.of(document["before"]), NamespaceRules.of(document["after"]))


@dataclass(frozen=True, slots=True)
class LevelsChange:
    """The changes of an operation to intents and topics: labels and routes by id, `i5`, `t2`, and their members.

    `places` has, for each node that people moved, a cluster or an intent, its parents before and after; None where
    it had none. Names are of the nodes before it as well: they are what an operation is on.
    """

    before: Mapping[str, Naming]
    after: Mapping[str, Naming]
    places: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """It in JSON."""
        places = {name: {"before": before, "after": after} for name, (before, after) in self.places.items()}
        return {"before": _namings(self.before), "after": _namings(self.after)} | ({"places": places} if places else {})

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> LevelsChange:
        """The inverse of `document`. Raises KeyError, TypeError or AttributeError."""
        before, after = (
            {name: (one["label"], one["route"]) for name, one in document[time].items()} for time in ("before", "after")
        )
        places = document.get("places") or {}
        return cls(before, after, {name: (one["before"], one["after"]) for name, one in places.items()})


def _namings(namings: Mapping[str, Naming]) -> dict[str, dict[str, str | None]]:
    return {name: {"label": label, "route": route} for name, (label, route) in namings.items()}


OperationKind = Literal[
    "label",
    MarkKind,
    "separate",
    "move",
    "reject",
    "split",
    "merge",
    "unmerge",
    "dismiss",
    "represent",
    "forget",
    "rules",
    "intents",
    "delete",
    "undo",
]


@dataclass(frozen=True, slots=True)
class Correction:
    """The move of a question by an operation: from cluster `before` to `after`.

    None means no cluster, or an unknown one: later questions are decided anew. `place` is the place of the
    question in Kafka, `question_id` and `key` are those of its decision, None where it has none or they are not
    known.
    """

    place: tuple[str, int, int]
    before: int | None
    after: int | None
    question_id: str | None = None
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """A decision of a person about clusters; `time_ms` since the epoch, by the store's clock.

    `number` counts the operations of a namespace. `before` and `after` have the ruling of each cluster that it changed,
    `rules` its changes of the namespace's, `levels` its changes of intents and topics. `undoes` is the number
    of the operation that it undoes, `undone_by` of the one that undid it. Of a merge, `survivor` is the one of
    its two clusters that both are by now; of the undo of a merge, `parted` is the cluster that is live
    again. `corrections` are the questions that are known by name and belong elsewhere since. `asked` is a
    fingerprint of the request, where the id is the caller's own.
    """

    id: str
    number: int
    kind: OperationKind
    actor: str
    reason: str
    time_ms: int
    before: Mapping[int, Ruling]
    after: Mapping[int, Ruling]
    undoes: int | None = None
    undone_by: int | None = None
    survivor: int | None = None
    rules: RulesChange | None = None
    parted: int | None = None
    levels: LevelsChange | None = None
    corrections: tuple[Correction, ...] = ()
    asked: str | None = None


ClusterStatus = Literal["open", "resolved", "returned"]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """A cluster as a record of the cluster topic; `vector_sum` is the raw sum (d,) of its `members` centroid members.

    `created_at` and `last_seen_at` are stream time in ms since the epoch. A merged cluster has no vector of its own.
    `in_flight` is what its size has to be corrected by when it is restored from the topic. `ruling` is what people
    decided of it, `operation` the number of the last one that ruled it or what it absorbed, 0 where none has.
    `features` are hashes of a few of its questions that a second look compares with, packed
    (`clustering/second_look/kept.py`), `kept_members` references to a few of its questions, as text
    (`clustering/kept_members.py`). `representative` is the text that is shown for it: that of `ruling.represented_by`,
    in whose place `own_representative` is shown again once people undo their choice.
    """

    cluster_id: int
    namespace: str
    event: ClusterEvent
    size: int
    members: int
    vector_sum: Vector | None
    merged_into: int | None
    representative: str | None
    created_at: int
    last_seen_at: int
    model: str
    revision: int
    in_flight: InFlight = field(default_factory=InFlight)
    ruling: Ruling = UNRULED
    operation: int = 0
    features: bytes = b""
    kept_members: str = ""
    own_representative: str | None = None

    @property
    def label(self) -> str | None:
        """Its name, where people gave it one."""
        return self.ruling.label

    @property
    def route(self) -> str | None:
        """The route of its questions, if people set one."""
        return self.ruling.route

    @property
    def status(self) -> ClusterStatus:
        """The status of a cluster: open, resolved by people, or returned with questions since."""
        resolved_size = self.ruling.resolved_size
        if resolved_size is None:
            return "open"
        return "returned" if self.size > resolved_size else "resolved"

    def __repr__(self) -> str:
        """A line that says which cluster this is; neither its vector nor a text of its questions."""
        merged = "" if self.merged_into is None else f" into {format_cluster_id(self.merged_into)}"
        shown = f"{format_cluster_id(self.cluster_id)} of {self.namespace!r}, {self.event}{merged}"
        return f"ClusterState({shown}, size={self.size}, revision={self.revision})"


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """A namespace as a record of the cluster topic: what it was built with, and how far it has come.

    `mean_sum` is the raw sum (d,) of the embeddings of its first `mean_questions` questions, zeros before the first.
    `next_cluster` is the number the next cluster gets, `seq` the head of its log. `generation` counts how often it was
    moved to another model; of two states the one of the later generation is newer, then that of the later revision.
    Threshold and linkage are those in force: `rules` has what people set.
    """

    namespace: str
    model: str
    model_revision: str
    similarity: str
    linkage: str
    threshold: float
    next_cluster: int
    mean_questions: int
    mean_sum: Vector
    seq: int
    generation: int = 0
    rules: NamespaceRules = field(default_factory=NamespaceRules)

    @property
    def dimension(self) -> int:
        """The model's dimension d."""
        return int(self.mean_sum.shape[0])

    @property
    def revision(self) -> int:
        """Grows whenever the mean learns, a cluster is opened or rules are set, within a generation."""
        return self.mean_questions + self.next_cluster + self.rules.operation


def ends_of_levels(separations: Sequence[str]) -> tuple[str, ...]:
    """Of a cluster's separations what people decided of the intents and topics that it is in."""
    return tuple(end for end in separations if end[0] in LEVEL_LETTERS)


def retired_cluster(namespace: str, cluster_id: int) -> ClusterState:
    """All that is known of a cluster whose tombstone was read."""
    return ClusterState(cluster_id, namespace, "retired", 0, 0, None, None, None, 0, 0, "", 0)


def format_cluster_id(number: int) -> str:
    """The public form of a cluster number: `c17`. Lower numbers are older clusters."""
    return f"c{number}"


def name_some(cluster_ids: Sequence[int]) -> str:
    """The public ids of the first five, and dots for the others."""
    return ", ".join([*map(format_cluster_id, cluster_ids[:_NAMED]), *["..."] * (len(cluster_ids) > _NAMED)])


def parse_cluster_id(text: str) -> int:
    """The number behind a public cluster id.

    Raises ValueError if `text` is not the letter c and a positive number.
    """
    if text[:1] != "c" or not (text.isascii() and text[1:].isdigit()) or int(text[1:]) < 1:
        raise ValueError("a cluster id is the letter c and a positive number, like c17")
    return int(text[1:])
