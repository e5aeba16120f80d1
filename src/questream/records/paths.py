"""Places in a JSON document: a dotted path such as `payload.questions.0.text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ABSENT: Any = object()


def find(document: Any, path: Sequence[str]) -> Any:
    """The value at the path, or ABSENT.

    A part names a key of an object or, in digits, a place in an array, from 0. Where the parts lead nowhere, several of
    them may be one key with dots in its name, as flattened documents have them: `customer.question`.
    """
    if not path:
        return document
    if type(document) is list:
        return _find_in_array(document, path)
    if type(document) is not dict:
        return ABSENT
    for parts in range(1, len(path) + 1):
        name = ".".join(path[:parts])
        if name in document:
            found = find(document[name], path[parts:])
            if found is not ABSENT:
                return found
    return ABSENT


def _find_in_array(document: list[Any], path: Sequence[str]) -> Any:
    place = path[0]
    # Longer numbers are no places, and int() takes other digits than these.
    if not (place.isascii() and place.isdigit() and len(place) < 10) or int(place) >= len(document):
        return ABSENT
    return find(document[int(place)], path[1:])
