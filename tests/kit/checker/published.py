"""What was published, read anew from the forms that the README documents."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.kit.checker.evidence import Entry, Evidence, Place
from tests.kit.checker.rules import Floats, Rules
from tests.kit.checker.stored import to_floats


@dataclass(frozen=True, slots=True)
class Decision:
    """A record of the output topic. `number` is None where a replayed question is near no cluster."""

    entry: Entry
    topic: str
    place: Place
    namespace: str
    number: int | None
    outcome: str
    similarity: float | None
    size: int
    runner_up: tuple[int, float] | None
    threshold: float
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """A record of the cluster topic about a cluster; a tombstone has nothing but its number."""

    entry: Entry
    number: int
    retired: bool = True
    size: int = 0
    revision: int = 0
    members: int = 0
    vector_sum: Floats | None = None
    merged_into: int | None = None
    label: str | None = None
    route: str | None = None
    representative: str | None = None
    created: int = 0
    seen: int = 0
    pinned: bool = False
    muted: bool = False
    resolved_size: int | None = None
    dismissed: frozenset[str] = frozenset()
    # The ends of separations, and the names of exemplars.
    bound: frozenset[str] = frozenset()
    # The last operation on it; the question that people chose to represent it, and the representative before.
    operation: int = 0
    represented: str | None = None
    own: str | None = None
    # The one that it has of its own.
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class NamespaceRecord:
    """A record of the cluster topic about its namespace."""

    entry: Entry
    model: str
    model_revision: str
    next_number: int
    mean_questions: int
    mean_sum: Floats
    seq: int
    rules: dict[str, Any] = field(default_factory=dict)
    rules_operation: int = 0

    @property
    def revision(self) -> int:
        """Grows with the mean, with every cluster that is opened and with every change of rules."""
        return self.mean_questions + self.next_number + self.rules_operation


@dataclass(slots=True)
class ClusterTopic:
    """The records of the cluster topic of one namespace, in its order."""

    states: dict[int, list[State]] = field(default_factory=dict)
    whole: list[NamespaceRecord] = field(default_factory=list)
    # The parts of each version of intents and topics; `levels_gone` once any was deleted.
    levels: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)
    levels_gone: bool = False

    def newest(self, number: int) -> State | None:
        """The record of a cluster with the highest revision; its tombstone once that came last."""
        states = self.states.get(number)
        if not states or states[-1].retired:
            return states[-1] if states else None
        return max(states, key=lambda state: state.revision)

    def is_retired(self, number: int) -> bool:
        """True if the cluster's last record is its tombstone."""
        states = self.states.get(number)
        return bool(states) and states[-1].retired if states else False


@dataclass(slots=True)
class Run:
    """The evidence, read: records by their place on the input topic.

    `decided` holds the one decision of each question, the first where it was published again, the last where it may
    have been decided anew; outcome `replayed` is none, since it neither counts nor learns.
    """

    evidence: Evidence
    asked: dict[Place, Entry]
    decisions: list[Decision]
    decided: dict[Place, Decision]
    letters: dict[Place, list[Entry]]
    cluster_topics: dict[str, ClusterTopic]

    @property
    def namespaces(self) -> list[str]:
        """All namespaces that any record names."""
        named = {decision.namespace for decision in self.decisions}
        return sorted(named | self.cluster_topics.keys() | self.evidence.stored.keys())

    def decided_in(self, namespace: str) -> list[Decision]:
        """The decisions of one namespace, in order of their places."""
        return [decision for _, decision in sorted(self.decided.items()) if decision.namespace == namespace]

    def text(self, place: Place) -> str:
        """The text of a question: that of a JSON object's `text`, else the value itself."""
        value = (self.asked[place].value or b"").decode()
        if value.lstrip()[:1] != "{":
            return value
        text: str = json.loads(value)["text"]
        return text


def read_run(evidence: Evidence, rules: Rules) -> Run:
    """Read all records. Raises ValueError or KeyError where one has not the documented form."""
    decisions = [_decision(entry) for entry in evidence.output]
    decided: dict[Place, Decision] = {}
    for decision in decisions:
        if decision.topic == evidence.input_topic and decision.outcome != "replayed":
            if rules.may_decide_anew(decision.place):
                decided[decision.place] = decision
            decided.setdefault(decision.place, decision)
    return Run(
        evidence=evidence,
        asked={entry.place: entry for entry in evidence.input},
        decisions=decisions,
        decided=decided,
        letters=_letters(evidence),
        cluster_topics=_cluster_topics(evidence.cluster_states),
    )


def header(entry: Entry, name: str) -> bytes | None:
    """The last header of that name."""
    return next((value for known, value in reversed(entry.headers) if known == name), None)


def _decision(entry: Entry) -> Decision:
    value = json.loads(entry.value or b"")
    runner_up = value["runner_up"]
    source = value["source"]
    return Decision(
        entry=entry,
        topic=source["topic"],
        place=(source["partition"], source["offset"]),
        namespace=value["namespace"],
        number=None if value["cluster_id"] is None else _number(value["cluster_id"]),
        outcome=value["outcome"],
        similarity=value["similarity"],
        size=value["cluster_size"],
        runner_up=None if runner_up is None else (_number(runner_up["cluster_id"]), runner_up["similarity"]),
        threshold=value["threshold"],
        value=value,
    )


def _letters(evidence: Evidence) -> dict[Place, list[Entry]]:
    letters: dict[Place, list[Entry]] = {}
    for entry in evidence.dead_letters:
        topic, partition, offset = (header(entry, f"questream-{name}") for name in ("topic", "partition", "offset"))
        if topic is not None and topic.decode() == evidence.input_topic:
            letters.setdefault((int(partition or b""), int(offset or b"")), []).append(entry)
    return letters


def _cluster_topics(entries: Iterable[Entry]) -> dict[str, ClusterTopic]:
    topics: dict[str, ClusterTopic] = {}
    for entry in entries:
        namespace, slash, name = (entry.key or b"").decode().partition("/")
        of_namespace = topics.setdefault(namespace, ClusterTopic())
        if slash and name.startswith("levels/"):
            of_namespace.levels_gone |= entry.value is None
            if entry.value is not None:
                part = json.loads(entry.value)
                of_namespace.levels.setdefault(part["version"], {})[part["part"]] = part
            continue
        if slash:
            number = _number(name)
            of_namespace.states.setdefault(number, []).append(_state(entry, number))
        elif entry.value is not None:
            of_namespace.whole.append(_whole(entry))
    return topics


def _state(entry: Entry, number: int) -> State:
    if entry.value is None:
        return State(entry, number)
    value = json.loads(entry.value)
    vector, merged_into, ruled = value["vector"], value["merged_into"], value.get("ruled") or {}
    chosen = ruled.get("represented_by")
    return State(
        entry=entry,
        number=number,
        retired=False,
        size=value["size"],
        revision=value["revision"],
        members=0 if vector is None else vector["members"],
        vector_sum=None if vector is None else to_floats(base64.b64decode(vector["sum"])),
        merged_into=None if merged_into is None else _number(merged_into),
        label=value["label"],
        route=value["route"],
        representative=value["representative"],
        created=milliseconds(value["created_at"]),
        seen=milliseconds(value["last_seen_at"]),
        pinned=ruled.get("pinned", False),
        muted=ruled.get("muted", False),
        resolved_size=ruled.get("resolved_size"),
        dismissed=frozenset(ruled.get("dismissed") or ()),
        bound=frozenset([*ruled.get("separations", ()), *(one["name"] for one in ruled.get("exemplars", ()))]),
        operation=ruled.get("operation", 0),
        represented=chosen and chosen["name"],
        own=chosen["instead_of"] if chosen else value["representative"],
        threshold=ruled.get("threshold"),
    )


def _whole(entry: Entry) -> NamespaceRecord:
    value = json.loads(entry.value or b"")
    rules = value.get("rules") or {"operation": 0, "set": {}}
    return NamespaceRecord(
        entry=entry,
        model=value["model"],
        model_revision=value["model_revision"],
        next_number=value["next_cluster"],
        mean_questions=value["mean"]["questions"],
        mean_sum=to_floats(base64.b64decode(value["mean"]["sum"])),
        seq=value["seq"],
        rules=rules["set"],
        rules_operation=rules["operation"],
    )


def _number(cluster_id: str) -> int:
    if cluster_id[:1] != "c":
        raise ValueError("a cluster id is the letter c and a number")
    return int(cluster_id[1:])


def milliseconds(text: str) -> int:
    """RFC 3339 to ms since the epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
