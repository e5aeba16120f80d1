"""Items of a question for the second look: numbers of 32 bits, four of them the kind, the others a hash.

No text can be read from them: hundreds of words have the same hash of 28 bits or less.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

PAYLOAD_BITS = 28
PAYLOAD = (1 << PAYLOAD_BITS) - 1


class Kind(IntEnum):
    """The kind of an item; its payload is a hash, but for the parts that are named.

    WORD: a word's stem, in the order of the text. NEGATED: a stem that is negated. NUMBER: category (4 bits), variant
    (4) and value (20). CODE, NAME, QUOTED: its text. ALIAS: another word for a name. ROLE: a preposition
    (4) and a word that it leads. POLE: an axis (16) and one of its poles (12). FRAME: the small words in order.
    FLAGS: bits of `Flag`. PREFIXED: a stem that a prefix turns around. STATE: a stem in a participle.
    """

    FLAGS = 0
    FRAME = 1
    WORD = 2
    NEGATED = 3
    NUMBER = 4
    CODE = 5
    NAME = 6
    QUOTED = 7
    ALIAS = 8
    ROLE = 9
    POLE = 10
    PREFIXED = 11
    STATE = 12


class Flag(IntEnum):
    """HELP: it asks how, where or when. FAILING: its negation reports a failure. SYMMETRIC: sides may change places.
    EXCHANGE: one thing is given for another. RECIPROCAL: from one to another. NEGATES: there is a negation."""

    HELP = 1
    FAILING = 2
    SYMMETRIC = 4
    EXCHANGE = 8
    RECIPROCAL = 16
    NEGATES = 32


def item(kind: Kind, payload: int) -> int:
    """An item of a kind."""
    return kind << PAYLOAD_BITS | payload


def hashed(text: str, bits: int = PAYLOAD_BITS) -> int:
    """A hash of so many bits, the same in every process and release."""
    return zlib.crc32(text.encode()) >> (32 - bits)


class Role(IntEnum):
    """The role that a preposition gives to the words that it leads."""

    FROM = 1
    TO = 2
    BEFORE = 3
    AFTER = 4
    WITH = 5
    WITHOUT = 6
    ABOVE = 7
    BELOW = 8
    FOR = 9
    AGENT = 10
    THAN = 11
    OBJECT = 12
