"""Operations by the operation topic, and whether each was published once, in its order."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from tests.kit.checker.evidence import Evidence
from tests.kit.checker.published import Run
from tests.kit.checker.rules import Floats, Operated, Rules
from tests.kit.checker.stored import Stored
from tests.kit.checker.violation import Promise, Violation

# As many of a namespace stay in the store.
_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A question that people put into a cluster (`must`) or turned away from it (`cannot`); `vector` is of length 1."""

    kind: str
    vector: Floats


@dataclass(frozen=True, slots=True)
class Ruled:
    """A cluster before or after an operation; of exemplars, those of this time alone."""

    label: str | None
    route: str | None
    pinned: bool
    separations: frozenset[str]
    exemplars: Mapping[str, Exemplar]
    muted: bool = False
    resolved_size: int | None = None
    # Suggestions about it that people dismissed.
    dismissed: frozenset[str] = frozenset()
    # The name of the question that people chose to represent it.
    represented: str | None = None
    threshold: float | None = None
    # The intent and the topic that people keep it in.
    kept_in: frozenset[str] = frozenset()

    @property
    def bound(self) -> frozenset[str]:
        """The ends of separations, and the names of exemplars."""
        return self.separations | self.exemplars.keys()


@dataclass(frozen=True, slots=True)
class Published:
    """A record of the operation topic."""

    number: int
    id: str
    kind: str
    undoes: int | None
    survivor: int | None
    before: Mapping[int, Ruled]
    after: Mapping[int, Ruled]
    rules: Mapping[str, Any] | None = field(default=None)
    # Of a merge that is taken back, the cluster that is live again; and from where to where questions moved.
    parted: int | None = None
    moves: Sequence[tuple[int | None, int | None]] = ()
    # Where clusters and intents were put that people moved.
    places: Mapping[str, str | None] = field(default_factory=dict)


def published_operations(evidence: Evidence) -> dict[str, list[Published]]:
    """The operations by namespace, in the order of the topic. Raises ValueError or KeyError where one is none."""
    found: dict[str, list[Published]] = {}
    for entry in evidence.operations or ():
        found.setdefault((entry.key or b"").decode(), []).append(_published(json.loads(entry.value or b"")))
    return found


def forgotten(known: Iterable[Operated], operations: Sequence[Published]) -> list[Operated]:
    """Those of a namespace that were not published, or got another number after a loss than was answered."""
    numbers = {one.id: one.number for one in operations}
    return [one for one in known if one.id not in numbers or one.number not in (0, numbers[one.id])]


def opened_by_people(operations: Iterable[Published]) -> set[int]:
    """The clusters that operations may have opened before any question came: those that they gave examples."""
    return {
        number
        for one in operations
        if one.kind in ("intents", "reject", "split")
        for number, after in one.after.items()
        if any(exemplar.kind == "must" for exemplar in after.exemplars.values())
    }


def parted_by_people(operations: Iterable[Published]) -> set[int]:
    """The clusters of operations that take a merge back: what each was merged into, and itself."""
    return {number for one in operations if one.parted is not None for number in one.after}


def names_given(operations: Sequence[Published]) -> set[tuple[str | None, str | None]]:
    """Each label with its route that clusters had before or after one of these operations."""
    rulings = [ruled for one in operations for ruled in (*one.before.values(), *one.after.values())]
    return {(ruled.label, ruled.route) for ruled in rulings}


def check_operations(run: Run, rules: Rules) -> Iterator[Violation]:
    """Each operation that the store answered is published once, under its number, behind those before it."""
    if run.evidence.operations is None:
        return
    published = published_operations(run.evidence)
    for namespace, operations in published.items():
        for one, other in pairwise(operations):
            if other.number <= one.number:
                yield _broken(namespace, other.number, f"was published behind operation {one.number}")
        ids = [operation.id for operation in operations]
        if len(ids) > len(set(ids)):
            yield Violation(Promise.OPERATIONS, namespace, "an operation was published twice")
    for known in rules.operated:
        numbers = [one.number for one in published.get(known.namespace, ()) if one.id == known.id]
        if not numbers and known.number and not known.forgettable:
            yield _broken(known.namespace, known.number, "was not published")
        elif numbers and known.number not in (0, numbers[0]) and not known.renumbered:
            yield _broken(known.namespace, known.number, f"was published as operation {numbers[0]}")
    for namespace in run.namespaces:
        stored = (run.evidence.stored.get(namespace) or Stored()).operations
        of_topic = {one.number: one.id for one in published.get(namespace, ())[-_KEPT:]}
        for number in sorted(of_topic.keys() - stored.keys()):
            yield Violation(Promise.RULINGS, f"{namespace} {number}", "the store has forgotten the operation")
        for number in sorted(stored.keys()):
            if number not in of_topic and number > max(of_topic, default=0) - _KEPT:
                yield _broken(namespace, number, "is in the store and was not published")
            elif number in of_topic and of_topic[number] != stored[number]:
                yield _broken(namespace, number, "is another one in the store")


def _broken(namespace: str, number: int, detail: str) -> Violation:
    return Violation(Promise.OPERATIONS, f"{namespace} {number}", detail)


def _published(value: Mapping[str, Any]) -> Published:
    return Published(
        number=value["operation"],
        id=value["id"],
        kind=value["kind"],
        undoes=value["undoes"],
        survivor=_number(value["survivor"]),
        before={int(cluster_id[1:]): _ruled(one) for cluster_id, one in value["before"].items()},
        after={int(cluster_id[1:]): _ruled(one) for cluster_id, one in value["after"].items()},
        rules=value["rules"] and value["rules"]["after"],
        parted=_number(value["parted"]),
        places={name: one["after"] for name, one in ((value.get("levels") or {}).get("places") or {}).items()},
        moves=[(_number(one["from"]), _number(one["to"])) for one in value.get("corrections") or ()],
    )


def _number(name: str | None) -> int | None:
    return None if name is None else int(name[1:])


def _ruled(value: Mapping[str, Any]) -> Ruled:
    return Ruled(
        label=value["label"],
        route=value["route"],
        pinned=value["pinned"],
        separations=frozenset(value["separations"]),
        exemplars={
            one["name"]: Exemplar(one["kind"], unit(base64.b64decode(one["vector"]))) for one in value["exemplars"]
        },
        muted=value.get("muted", False),
        resolved_size=value.get("resolved_size"),
        dismissed=frozenset(value.get("dismissed") or ()),
        represented=(value.get("represented_by") or {}).get("name"),
        threshold=value.get("threshold"),
        kept_in=frozenset(end[:-1] for end in value.get("ends") or () if end.endswith("=")),
    )


def unit(packed: bytes) -> Floats:
    """The unit vector (d,) of an exemplar, which is kept in half precision."""
    vector = np.frombuffer(packed, np.dtype("<f2")).astype(np.float64)
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def numbers_in_force(operations: Sequence[Published]) -> set[int]:
    """The numbers of those that nobody has undone."""
    undone: set[int] = set()
    for one in operations:
        if one.undoes is not None:
            undone.add(one.undoes)
            undone -= {known.undoes for known in operations if known.number == one.undoes and known.undoes is not None}
    return {one.number for one in operations} - undone
