"""The present clusters of questions that operations name, and the changes of these by an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from questream.domain import Correction, Operation
from questream.operations.binding import KnownQuestion

# A topic that was made anew has other questions at the places of those before.
Asked = tuple[tuple[str, int, int] | None, str | None]
Latest = Mapping[Asked, tuple[int, int | None]]


def latest(operations: Iterable[Operation]) -> Latest:
    """The last correction of each question, as the number of its operation and the cluster that it led to.

    `operations` are those that are kept, the newest first.
    """
    found: dict[Asked, tuple[int, int | None]] = {}
    for operation in operations:
        for one in operation.corrections:
            found.setdefault(_asked(one), (operation.number, one.after))
    return found


def corrected(questions: Sequence[KnownQuestion], known: Latest) -> list[KnownQuestion]:
    """The questions, each in the cluster that its last correction led to; one that is in none stays in its last."""

    def now(question: KnownQuestion) -> KnownQuestion:
        _, cluster_id = known.get(_asked(question), (0, None))
        return question if cluster_id is None else replace(question, cluster_id=cluster_id)

    return [now(one) for one in questions]


def moved(
    questions: Iterable[KnownQuestion],
    known: Latest,
    live: Mapping[int, int],
    target_of: Callable[[KnownQuestion], int | None],
) -> tuple[Correction, ...]:
    """The questions belong to their targets, None for no cluster: those in Kafka that are elsewhere so far.

    `live` says what the clusters of the questions are today.
    """
    found: dict[Asked, Correction] = {}
    for one in questions:
        if one.place is None:
            continue
        is_in_none = known.get(_asked(one), (0, one.cluster_id))[1] is None
        before = None if is_in_none else live[one.cluster_id]
        target = target_of(one)
        if before != target:
            found[_asked(one)] = Correction(one.place, before, target, one.question_id, one.key)
    return tuple(found.values())


def undone_corrections(undone: Operation, known: Latest, live: Callable[[int], int]) -> tuple[Correction, ...]:
    """The questions that an operation moved are back, but for those that a later one has moved again."""

    def now(cluster_id: int | None) -> int | None:
        return None if cluster_id is None else live(cluster_id)

    in_force = [one for one in undone.corrections if known.get(_asked(one), (0, None))[0] == undone.number]
    back = [replace(one, before=now(one.after), after=now(one.before)) for one in in_force]
    return tuple(one for one in back if one.before != one.after)


def _asked(one: KnownQuestion | Correction) -> Asked:
    return one.place, one.question_id
