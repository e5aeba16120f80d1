"""A request for an operation: what would be committed now, and a fingerprint of what was asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec

from questream.operations.binding import KnownQuestion
from questream.store.protocol import ProposedOperation

# Values that were looked up or made for a request: another time they may be others.
_FOUND = frozenset({"joined", "of", "may_drop", "leaves", "changes"})
Given = ParamSpec("Given")


@dataclass(frozen=True, slots=True)
class Propose:
    """Called, it says what the operation would change now. `asked` is the fingerprint of what was asked for."""

    asked: str | None
    look: Callable[[], ProposedOperation]

    def __call__(self) -> ProposedOperation:
        return replace(self.look(), asked=self.asked)

    def provided(self, require: Callable[[], None]) -> Propose:
        """The same, as long as `require` does not raise."""

        def look() -> ProposedOperation:
            try:
                return self.look()
            finally:
                # Last: what it rests on was read before, and the commit is refused where that changes later.
                require()

        return replace(self, look=look)


def request(
    method: Callable[Concatenate[Any, Given], Callable[[], ProposedOperation]],
) -> Callable[Concatenate[Any, Given], Propose]:
    """The method with the fingerprint of its name and arguments."""
    parameters = signature(method)

    @wraps(method)
    def asked(self: Any, /, *args: Given.args, **named: Given.kwargs) -> Propose:
        _, *given = parameters.bind(self, *args, **named).arguments.items()
        arguments = {name: value for name, value in given if name not in _FOUND}
        return Propose(fingerprint(method.__name__, arguments), method(self, *args, **named))

    return asked


def fingerprint(what: str, arguments: Mapping[str, Any]) -> str:
    """16 hex digits of the name of an operation and of its arguments; one that is None is as if it were not given."""
    given = {name: value for name, value in arguments.items() if value is not None}
    # Not orjson: an id may be a number of any length.
    text = json.dumps([what, given], default=_place_of, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _place_of(question: object) -> object:
    if isinstance(question, KnownQuestion):
        return question.place or question.text
    raise TypeError
