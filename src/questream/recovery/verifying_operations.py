"""Compare the operations that a store keeps with those of the operation topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from questream.domain import Operation
from questream.recovery.differences import Difference
from questream.recovery.operation_topic import PublishedOperations
from questream.store.protocol import OPERATIONS_KEPT, Store

_NAMED = 5


def compare_operations(
    store: Store, namespace: str, held: Sequence[Operation], up_to: int | None, of_topic: PublishedOperations
) -> Iterator[Difference]:
    """The differences of the kept operations; `held` are those that the store had before the topic was read.

    Up to the number `up_to` they were published by then. Where that is None nobody has compared the two since the store
    lost its memory, or the namespace was deleted: a worker does so before it publishes the next one.
    """
    if up_to is None:
        return

    def differs(promise: str, numbers: list[int], words: str, remedy: str) -> Iterator[Difference]:
        if numbers:
            yield Difference(namespace, promise, f"{len(numbers)} {words}: {_named(numbers)}", remedy)

    yield from differs(
        "the store has all that was published",
        missing_operations(store, namespace, of_topic),
        "operations of the topic are missing in the store",
        "questream restore",
    )
    yield from differs(
        "every change is published",
        [one.number for one in held if one.number <= up_to and one.number not in of_topic.by_number],
        "operations of the store are missing in the topic, and do not wait to be published",
        "their rulings are in the cluster topic; keep the operation topic's records: questream topics create",
    )
    yield from differs(
        "the topic has what the store holds",
        [one.number for one in held if _disagree(one, of_topic.by_number)],
        "operations are others in the topic",
        "stop the workers, set the store aside, and run: questream restore",
    )


def missing_operations(store: Store, namespace: str, of_topic: PublishedOperations) -> list[int]:
    """The numbers of those of the topic that a store would keep and has not.

    None are missing where nobody has compared the two since the store lost its memory, or the namespace was deleted.
    """
    if store.published_operations(namespace) is None:
        return []
    known = {one.number for one in store.operations(namespace, OPERATIONS_KEPT)}
    oldest = max(max(known, default=0), of_topic.newest) - OPERATIONS_KEPT
    return [number for number in of_topic.by_number if number > oldest and number not in known]


def _disagree(held: Operation, published: Mapping[int, Operation]) -> bool:
    """True if the topic has another operation of this number, by the fields that all releases publish."""
    other = published.get(held.number)
    return other is not None and _published_fields(other) != _published_fields(held)


def _published_fields(operation: Operation) -> tuple[object, ...]:
    named = operation.before.keys() | operation.after.keys()
    one = operation
    return one.id, one.kind, one.actor, one.reason, one.time_ms, one.undoes, one.survivor, one.parted, named


def _named(numbers: list[int]) -> str:
    return ", ".join([*map(str, sorted(numbers)[:_NAMED]), *["..."] * (len(numbers) > _NAMED)])
