"""The protocol of a record format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from questream.domain import Headers

Content = str | dict[str, Any] | list[Any]


class Event(NamedTuple):
    """An event: its data, a JSON object or the question itself, its id and its attributes.

    `attribute` gives one by its name, in text as a header has it, or ABSENT; anything else is a mistake of the sender.
    """

    content: Content
    id: str
    attribute: Callable[[str], Any]


class Read(NamedTuple):
    """A value as its format has it: the question itself or the document that it is in, and the event around it.

    `element` reads a message inside, an object or a text: an element of a list, the payload of an envelope. `is_batch`
    says that the elements of a list are messages of their own, into which no path leads.
    """

    content: Content
    event: Event | None = None
    is_batch: bool = False
    element: Callable[[str | dict[str, Any]], Read] | None = None


class Deserializer(Protocol):
    """Reads the values of a record format. Safe from any thread."""

    def __call__(self, value: bytes, headers: Headers, /) -> Read:
        """The content of a value.

        Raises BadRecord with stage `decode` and a `Reason`, whatever the bytes, and DeserializerUnavailable where what
        it needs does not answer: the same record is read again later.
        """
