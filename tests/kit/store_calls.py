"""Calls on a store that concern one namespace: what fails raises, as the reply of one among several does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from questream.store.protocol import Committed, Confirmation, OutboxPosition, Proposal, Replayed, Stale, Store


def commit_one(store: Store, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
    """Commit in one namespace. Raises what it fails with."""
    reply = store.commit({namespace: proposal})[namespace]
    if isinstance(reply, Exception):
        raise reply
    return reply


def confirm_one(
    store: Store,
    namespace: str,
    published: Iterable[tuple[int, int]],
    committed: Mapping[tuple[str, int], int],
    position: OutboxPosition,
) -> None:
    """Confirm in one namespace. Raises what it fails with."""
    for _, error in store.confirm([Confirmation(namespace, dict(published), committed, position)]):
        raise error


def verify_one(store: Store, namespace: str, published: Iterable[tuple[int, int]]) -> str | None:
    """The store epoch of one namespace, or None."""
    position = store.verify_before_commit({namespace: dict(published)}).positions[namespace]
    return None if position is None else position.store_epoch
