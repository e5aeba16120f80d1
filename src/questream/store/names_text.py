"""A made name as the store keeps it: JSON, additive by release."""

from __future__ import annotations

import orjson

from questream.store.protocol.names import MadeName

VERSION = 1


def name_text(made: MadeName) -> bytes:
    """The fields of MadeName, and v, the version of the format."""
    return orjson.dumps({"v": VERSION, **made._asdict()})


def parse_name(text: bytes) -> MadeName | None:
    """The inverse of `name_text`; None for what cannot be read, and for what a later release means otherwise."""
    try:
        found = orjson.loads(text)
        if found["v"] != VERSION:
            return None
        made = MadeName(*(found[field] for field in MadeName._fields))
    except (ValueError, TypeError, LookupError):
        return None
    texts, numbers = (made.name, made.model, made.place), (made.made_at, made.size)
    is_one = all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)
    return made if is_one and isinstance(made.former, str | None) else None
