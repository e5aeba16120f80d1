"""Operations on questions, as changes of rulings: exemplars that bind the questions that come later."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from questream.clustering.constraints import pack_vector
from questream.domain import EXEMPLARS_KEPT, ConstraintKind, Exemplar, Ruling, Vector, joint_exemplars
from questream.errors import OperationRefused

Change = Callable[[Ruling], Ruling]


@dataclass(frozen=True, slots=True, eq=False)
class KnownQuestion:
    """A question in a cluster: its unit vector (d,), its position in Kafka, and its text where texts are kept.

    `question_id` and `key` are those of its decision. `would_join` has the clusters that would take it now, the best
    first, as far as that was looked for. Where none takes it that is turned away, it opens one of its own with the
    others of the same `opens`; None where it opens none, or nobody looked for what takes it.
    """

    cluster_id: int
    vector: Vector
    place: tuple[str, int, int] | None = None
    text: str | None = None
    question_id: str | None = None
    key: bytes | None = None
    would_join: tuple[int, ...] = ()
    opens: int | None = None


def new_names(count: int) -> list[str]:
    """Names for the exemplars of one operation; those of a later one sort behind."""
    stem = f"{time.time_ns() // 1_000_000:012x}{uuid.uuid4().hex[:6]}"
    return [f"{stem}-{at:02x}" for at in range(count)]


def turned_away(questions: Sequence[KnownQuestion], names: Sequence[str], live: Mapping[int, int]) -> dict[int, Change]:
    """Each question's cluster turns away what is near it; `live` says what the clusters of the questions are today."""
    given = list(zip(exemplars_of("cannot", names, questions), questions, strict=True))
    owners = {live[one.cluster_id] for one in questions}
    return {
        owner: adding([exemplar for exemplar, one in given if live[one.cluster_id] == owner])
        for owner in sorted(owners)
    }


def moved_to(
    target: int, questions: Sequence[KnownQuestion], names: Sequence[str], live: Mapping[int, int]
) -> dict[int, Change]:
    """The target takes what is near the questions, and the clusters that they are in turn it away."""
    elsewhere = [(name, one) for name, one in zip(names, questions, strict=True) if live[one.cluster_id] != target]
    changes = turned_away([one for _, one in elsewhere], [f"{name}x" for name, _ in elsewhere], live)
    return {target: adding(exemplars_of("must", names, questions)), **changes}


def without(ruling: Ruling, before: Ruling, after: Ruling) -> tuple[Exemplar, ...]:
    """The exemplars of a ruling, without those that an operation brought and with those that it took."""
    known, was = {one.name for one in before.exemplars}, {one.name for one in after.exemplars}
    kept = [one for one in ruling.exemplars if one.name in known or one.name not in was]
    return joint_exemplars(kept, [one for one in before.exemplars if one.name not in was])


def adding(exemplars: Sequence[Exemplar]) -> Change:
    """The change that leaves these with a cluster; what said the opposite of the same question goes."""
    if len(exemplars) > EXEMPLARS_KEPT:
        raise OperationRefused(
            f"a cluster keeps {EXEMPLARS_KEPT} exemplars, these are {len(exemplars)} questions",
            "name those that differ most",
        )

    def change(ruling: Ruling) -> Ruling:
        kept = [one for one in ruling.exemplars if not any(_is_same(one, other) for other in exemplars)]
        return replace(ruling, exemplars=joint_exemplars(kept, exemplars))

    return change


def _is_same(one: Exemplar, other: Exemplar) -> bool:
    return one.vector == other.vector or (one.place is not None and one.place == other.place)


def exemplars_of(kind: ConstraintKind, names: Iterable[str], questions: Iterable[KnownQuestion]) -> list[Exemplar]:
    """The questions as exemplars of these names."""
    return [
        Exemplar(name, kind, pack_vector(one.vector), one.place, one.text)
        for name, one in zip(names, questions, strict=True)
    ]
