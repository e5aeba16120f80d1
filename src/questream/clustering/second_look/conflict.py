"""Conflicts between two questions with near vectors: they ask for different things, by the items that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from questream.clustering.second_look.features import Features
from questream.clustering.second_look.items import PAYLOAD, PAYLOAD_BITS, Flag, Kind, Role
from questream.clustering.second_look.numbers import (
    BARE,
    MONTHS,
    TIME,
    category_of,
    is_about,
    is_year_beside_count,
    value_of,
    variant_of,
)

Reason = Literal["number", "code", "quoted", "name", "antonym", "negation", "direction", "judge"]

_OPPOSITE: dict[int, int] = {
    Role.FROM: Role.TO,
    Role.TO: Role.FROM,
    Role.BEFORE: Role.AFTER,
    Role.AFTER: Role.BEFORE,
    Role.WITH: Role.WITHOUT,
    Role.WITHOUT: Role.WITH,
}
_OPPOSITE |= {Role.ABOVE: Role.BELOW, Role.BELOW: Role.ABOVE}
_SWAPPED = frozenset((Role.FROM, Role.TO, Role.BEFORE, Role.AFTER, Role.FOR, Role.AGENT, Role.THAN, Role.OBJECT))
_RECIPROCAL = frozenset((Role.FROM, Role.TO))
_CALENDAR = frozenset((TIME, MONTHS))
_MEASURED = frozenset((4, 6))
_FEWEST_WORDS = 3
# Of several numbers, these words decide which belongs to which.
_NUMBERS_OVERLAP = 0.4


@dataclass(frozen=True, slots=True)
class _Read:
    """Items by kind: payloads, words in order; `plain` are the words that are in no name."""

    words: tuple[int, ...]
    plain: frozenset[int]
    present: frozenset[int]
    negated: frozenset[int]
    numbers: frozenset[int]
    codes: frozenset[int]
    names: frozenset[int]
    quoted: frozenset[int]
    aliases: frozenset[int]
    roles: dict[int, frozenset[int]]
    poles: dict[int, frozenset[int]]
    prefixed: frozenset[int]
    states: frozenset[int]
    frame: int
    flags: int


@lru_cache(maxsize=8192)
def _read(features: Features) -> _Read:
    of: dict[int, list[int]] = {kind: [] for kind in Kind}
    for found in features:
        of[found >> PAYLOAD_BITS].append(found & PAYLOAD)
    codes = frozenset(of[Kind.CODE])
    numbers = frozenset(of[Kind.NUMBER])
    roles: dict[int, set[int]] = {}
    for role in of[Kind.ROLE]:
        roles.setdefault(role >> 24, set()).add(role & 0xFFFFFF)
    poles: dict[int, set[int]] = {}
    for pole in of[Kind.POLE]:
        poles.setdefault(pole >> 12, set()).add(pole & 0xFFF)
    return _Read(
        words=tuple(of[Kind.WORD]),
        plain=frozenset(of[Kind.WORD]) - frozenset(of[Kind.NAME]),
        present=frozenset(payload & 0xFFFFFF for payload in (*of[Kind.WORD], *codes, *numbers)),
        # A word that is said both ways is not negated: "no investment or little investment".
        negated=frozenset(w for w in of[Kind.NEGATED] if of[Kind.WORD].count(w) <= of[Kind.NEGATED].count(w)),
        numbers=numbers,
        codes=codes,
        names=frozenset(of[Kind.NAME]),
        quoted=frozenset(of[Kind.QUOTED]),
        aliases=frozenset(of[Kind.ALIAS]),
        roles={role: frozenset(those) for role, those in roles.items()},
        poles={axis: frozenset(those) for axis, those in poles.items()},
        prefixed=frozenset(of[Kind.PREFIXED]),
        states=frozenset(of[Kind.STATE]),
        frame=of[Kind.FRAME][0] if of[Kind.FRAME] else 0,
        flags=of[Kind.FLAGS][0] if of[Kind.FLAGS] else 0,
    )


def conflict(question: Features, other: Features) -> Reason | None:
    """The reason why two questions are not the same, or None; symmetric.

    An item that only one of them has is no conflict: a paraphrase may leave it out.
    """
    if question == other or not question or not other:
        return None
    one, two = _read(question), _read(other)
    overlap = _overlap(one, two)
    for reason, least_overlap, differ in _CHECKS:
        if overlap >= least_overlap and differ(one, two):
            return reason
    return None


def shared_words(question: Features, other: Features) -> float:
    """The share of all their words, but those of names, that two questions have both; 0 where neither has any."""
    one, two = _read(question).plain, _read(other).plain
    return len(one & two) / max(1, len(one | two))


def _overlap(one: _Read, two: _Read) -> float:
    """The share of the shorter one's words, names and a word that differs aside, that the longer has too."""
    least = min(len(one.plain), len(two.plain)) - 1
    return len(one.plain & two.plain) / least if least > 0 else 1.0


def _numbers(one: _Read, two: _Read) -> bool:
    if not one.numbers or not two.numbers:
        return False
    ours, theirs = one.numbers - two.numbers, two.numbers - one.numbers
    left = [a for a in ours if not any(_same_number(a, b) for b in theirs)]
    right = [b for b in theirs if not any(_same_number(a, b) for a in ours)]
    if len(one.numbers) == len(two.numbers) == 1:
        return any(_comparable(a, b) for a in left for b in right)
    return _overlap(one, two) >= _NUMBERS_OVERLAP and any(_comparable(a, b) for a in left for b in right)


def _same_number(a: int, b: int) -> bool:
    categories = {category_of(a), category_of(b)}
    if categories == _CALENDAR:
        return is_about(a, b)
    if value_of(a) != value_of(b):
        return False
    variants = {variant_of(a), variant_of(b)} - {0}
    return BARE in categories or (len(categories) == 1 and len(variants) <= 1)


def _comparable(a: int, b: int) -> bool:
    one, two = category_of(a), category_of(b)
    if is_year_beside_count(a, b):
        return False
    return one == two or {one, two} == _CALENDAR or (BARE in (one, two) and bool({one, two} & _MEASURED))


def _codes(one: _Read, two: _Read) -> bool:
    return bool(one.codes - two.codes) and bool(two.codes - one.codes)


def _quoted(one: _Read, two: _Read) -> bool:
    return bool(one.quoted - two.quoted) and bool(two.quoted - one.quoted)


def _names(one: _Read, two: _Read) -> bool:
    if not one.names or not two.names:
        return False
    left = one.names - frozenset(two.words) - two.aliases
    right = two.names - frozenset(one.words) - one.aliases
    if not left or len(left) != len(right):
        return False
    return not (one.aliases & two.names or two.aliases & one.names)


def _antonyms(one: _Read, two: _Read) -> bool:
    if one.poles and two.poles:
        for axis, poles in one.poles.items():
            others = two.poles.get(axis)
            if others is not None and (poles - others) and (others - poles):
                return True
    return _prefixed(one, two) or _prefixed(two, one)


def _prefixed(one: _Read, two: _Read) -> bool:
    """One says `unlock` where the other says `lock`."""
    if not one.prefixed:
        return False
    return any(
        stem in two.words
        and stem not in one.words
        and stem not in two.negated
        and (stem in one.states) == (stem in two.states)
        for stem in one.prefixed - two.prefixed
    )


def _negations(one: _Read, two: _Read) -> bool:
    if not one.negated and not two.negated:
        return False
    if one.flags & two.flags & Flag.NEGATES:
        return False
    return _negated_alone(one, two) or _negated_alone(two, one)


def _negated_alone(one: _Read, two: _Read) -> bool:
    if one.flags & Flag.FAILING and two.flags & Flag.HELP:
        return False
    lacked = two.roles.get(Role.WITHOUT, frozenset())
    return bool(one.negated) and all(
        stem in two.words and stem not in two.negated and stem & 0xFFFFFF not in lacked for stem in one.negated
    )


def _directions(one: _Read, two: _Read) -> bool:
    # Most questions have no role: what they have alone costs a look.
    if one.roles and two.roles and (_opposite_roles(one, two) or _swapped_roles(one, two)):
        return True
    return _transposed(one, two) or (bool(one.roles or two.roles) and _passive(one, two))


def _opposite_roles(one: _Read, two: _Read) -> bool:
    none: frozenset[int] = frozenset()
    is_reciprocal = (one.flags | two.flags) & Flag.RECIPROCAL
    for role, led in one.roles.items():
        if role not in _OPPOSITE:
            continue
        opposite = _OPPOSITE[role]
        others = two.roles.get(opposite)
        if not others or (is_reciprocal and role in _RECIPROCAL):
            continue
        mine, theirs = led - one.roles.get(opposite, none), others - two.roles.get(role, none)
        if mine & theirs:
            return True
    return False


def _swapped_roles(one: _Read, two: _Read) -> bool:
    """Two words swap places: the one that a preposition leads here, and the one that it leads in the other question."""
    if (one.flags | two.flags) & Flag.SYMMETRIC:
        return False
    for role, mine in one.roles.items():
        theirs = two.roles.get(role)
        if role not in _SWAPPED or (role == Role.FOR and not one.flags & two.flags & Flag.EXCHANGE):
            continue
        if mine and theirs and (mine - theirs) & two.present and (theirs - mine) & one.present:
            return True
    return False


def _transposed(one: _Read, two: _Read) -> bool:
    """The same sentence with two of its words exchanged around a third."""
    a, b = one.words, two.words
    if one.frame != two.frame or len(a) != len(b) or len(a) < _FEWEST_WORDS:
        return False
    if (one.flags | two.flags) & Flag.SYMMETRIC:
        return False
    differing = [at for at in range(len(a)) if a[at] != b[at]]
    if len(differing) != 2:
        return False
    first, second = differing
    return second - first > 1 and a[first] == b[second] and a[second] == b[first]


def _passive(one: _Read, two: _Read) -> bool:
    return _agent_elsewhere(one, two) or _agent_elsewhere(two, one)


def _agent_elsewhere(active: _Read, passive: _Read) -> bool:
    """The passive says that the agent acts on what acts on it in the active."""
    agents = passive.roles.get(Role.AGENT)
    if not agents or active.roles.get(Role.AGENT):
        return False
    at = next((at for at, word in enumerate(passive.words) if word & 0xFFFFFF in agents), 0)
    if at < 2 or not {*passive.words[at - 2 : at + 1]} <= {*active.words}:
        return False
    patient, verb, agent = (active.words.index(word) for word in passive.words[at - 2 : at + 1])
    return patient < verb < agent


_CHECKS: tuple[tuple[Reason, float, Callable[[_Read, _Read], bool]], ...] = (
    ("number", 0.0, _numbers),
    ("code", 0.0, _codes),
    ("name", 0.0, _quoted),
    ("name", 0.6, _names),
    ("antonym", 0.4, _antonyms),
    ("negation", 0.75, _negations),
    ("direction", 0.5, _directions),
)
