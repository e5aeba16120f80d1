"""Run the product's code one outside call at a time.

A run is repeated from its beginning with the answers that it got so far; the first call that has no answer yet ends it.
So a worker can stop between any two calls, and its state there is plain data.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from questream.broker.port import Offsets, OnDelivery, Outgoing, Place
from questream.clustering.mirror import Mirror

from .values import digest

T = TypeVar("T")


class Paused(BaseException):
    """The run waits for an answer. Not an Exception: the product must not handle it."""


@dataclass(frozen=True)
class Call:
    """A call that leaves the worker: to `store`, `kafka` or `topic`, which is Kafka as it is read."""

    server: str
    name: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.server}.{self.name}"

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for equal calls."""
        return digest((self.server, self.name, self.arguments))


@dataclass(frozen=True)
class Answer:
    """What a call came to."""

    value: Any = None
    error: Exception | None = None
    meaning: bytes = field(default=b"")

    @classmethod
    def of(cls, value: Any = None, error: Exception | None = None) -> Answer:
        """An answer that is compared by its content."""
        return cls(value, error and forgetful(error), digest((value, error)))


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How far a run came: to its next `call`, or to its end with a `value` or an `error`."""

    call: Call | None = None
    value: T | None = None
    error: Exception | None = None


class _Script:
    """The answers of the run in progress. There is one run at a time."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []
        self.waiting: Call | None = None

    def begin(self, answers: tuple[Answer, ...]) -> None:
        self._answers = list(reversed(answers))
        self.waiting = None

    def call(self, call: Call) -> Any:
        if not self._answers:
            self.waiting = call
            raise Paused
        answer = self._answers.pop()
        if answer.error is not None:
            raise answer.error
        # Its owner moves a mirror on; the answer must be the same the next time.
        return copy.deepcopy(answer.value) if isinstance(answer.value, Mirror) else answer.value


_SCRIPT = _Script()


def run(work: Callable[[], T], answers: tuple[Answer, ...]) -> Outcome[T]:
    """Run `work` with these answers to its outside calls."""
    _SCRIPT.begin(answers)
    try:
        return Outcome(value=work())
    except Paused:
        return Outcome(call=_SCRIPT.waiting)
    except Exception as error:  # whatever it is, it is the worker's outcome
        return Outcome(error=forgetful(error))
    finally:
        for answer in answers:
            if answer.error is not None:
                forgetful(answer.error)


def forgetful(error: Exception) -> Exception:
    """The error without the frames that it passed: with them it would keep each state that it was raised in."""
    error.__context__ = None
    return error.with_traceback(None)


class StorePort:
    """The store as a worker sees it: every call leaves the worker."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: _SCRIPT.call(Call("store", name, arguments))

    def verify_before_commit(self, published: Any, confirmations: Any = ()) -> Any:
        """Scripts of one round trip, between which those of others run."""
        unconfirmed = [failed for one in confirmations for failed in _SCRIPT.call(Call("store", "confirm", ([one],)))]
        verified = _SCRIPT.call(Call("store", "verify_before_commit", (published,)))
        return replace(verified, unconfirmed=unconfirmed)


class TopicPort:
    """The cluster topic and the group's offsets as a recovery sees them."""

    def namespaces(self) -> Any:
        return _SCRIPT.call(Call("topic", "namespaces"))

    named = namespaces

    def published(self) -> Any:
        return _SCRIPT.call(Call("topic", "published"))

    def states(self, namespace: str, cluster_ids: Any) -> Any:
        return _SCRIPT.call(Call("topic", "states", (namespace, frozenset(cluster_ids))))

    def newest_states(self, namespace: str, revisions: Any) -> Any:
        return iter(self.states(namespace, revisions.keys()).values())

    def committed(self, streams: Any) -> Any:  # noqa: ARG002 - there is one
        return _SCRIPT.call(Call("topic", "offsets"))


class ProducerPort:
    """The broker's producer as a worker sees it; `ready` where an earlier run has initialised its transactions."""

    def __init__(self, ready: bool) -> None:
        self._ready = ready
        self._buffer: list[tuple[str, bytes | None, bytes | None]] = []

    def init_transactions(self) -> None:
        if not self._ready:
            _SCRIPT.call(Call("kafka", "init"))

    def begin_transaction(self) -> None:
        self._buffer = []

    def send(self, record: Outgoing, on_delivery: OnDelivery) -> None:
        self._buffer.append((record.topic, record.key, record.value))
        # No record of the model is refused for itself; whether all of them are there shows when they are flushed.
        on_delivery(Place(0, 0))

    def send_offsets(self, offsets: Offsets, membership: int) -> None:
        plain = tuple(sorted((partition, int(offset)) for (_, partition), offset in offsets.items()))
        _SCRIPT.call(Call("kafka", "send_offsets", (membership, plain)))

    def flush(self, timeout: float | None = None) -> None:  # noqa: ARG002 - the port's signature
        if self._buffer:
            buffer, self._buffer = self._buffer, []
            _SCRIPT.call(Call("kafka", "append", (tuple(buffer),)))

    def commit_transaction(self) -> None:
        self.flush()
        _SCRIPT.call(Call("kafka", "commit"))

    def close(self) -> None:
        """What it left open, its successor's start aborts."""
