"""Numbers with their units in one form: `a week` is `7 days`, `€2,500` is `2500 euros`, `7 pm` is `19:00`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from questream.clustering.second_look.items import Kind, hashed, item
from questream.clustering.second_look.lexicon import Lexicon, read_lexicon

# BARE numbers count anything; those of two other categories are not compared.
CATEGORIES = (
    "bare",
    "time",
    "months",
    "clock",
    "money",
    "percent",
    "bytes",
    "length",
    "mass",
    "volume",
    "degrees",
    "other",
)
BARE = 0
TIME = 1
MONTHS = 2
# Variants of bare numbers: the number of a year, and one that is too small for one.
_YEAR = 1
_SMALL = 2
# 1900 and 2000 are rather amounts.
_YEARS = re.compile(r"(?:19|20)(?!00)\d\d", re.ASCII)
_VALUE_BITS = 20
_PLAIN = re.compile(r"\d+(?:[.,]\d+)*")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
_JOINED = re.compile(r"(\d+(?:[.,]\d+)*)-?([^\W\d_]+)")
_VERSION = re.compile(r"v(\d+(?:\.\d+)?)")
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_TENS = frozenset(range(20, 100, 10))
_ONE = frozenset(("one", "ein", "un", "une", "uno", "una"))
# They are part of no greater number: "charged twenty twice".
_ALONE = frozenset(
    ("twice", "thrice", "dozen", "zweimal", "dreimal", "viermal", "fünfmal", "dutzend", "douzaine", "docena")
)
# Between hundreds and what is below them.
_AND = frozenset(("and", "und", "et", "y"))
_ORDINAL_ENDINGS = frozenset(("st", "nd", "rd", "th", "er", "ère", "ème", "º", "ª"))
_MIDDAY = {"am": 0, "pm": 720}
# "À 17 heures" is an hour of the day, "en 2 heures" is for how long.
_HOUR_OF_DAY = ("à", "heures")


@dataclass(frozen=True, slots=True)
class Unit:
    """A category with a variant in it, such as a currency, and the factor to the unit that the category counts in."""

    category: int
    variant: int
    factor: float


@dataclass(frozen=True, slots=True)
class Number:
    """A number as an item, and how many tokens it took."""

    item: int
    tokens: int


def category_of(number: int) -> int:
    """The category of a number's item."""
    return number >> 24 & 0xF


def variant_of(number: int) -> int:
    """The variant of a number's item; 0 says nothing."""
    return number >> 20 & 0xF


def value_of(number: int) -> int:
    """The hash of a number's value."""
    return number & 0xFFFFF


def is_year_beside_count(a: int, b: int) -> bool:
    """True if of two bare numbers one may be a year and the other may not, as in "IPL 9" and "IPL of 2016"."""
    return category_of(a) == category_of(b) == BARE and {variant_of(a), variant_of(b)} == {_YEAR, _SMALL}


def is_about(a: int, b: int) -> bool:
    """True if a number of days is one of months: a month is 28, 30 or 31 days, a year 365 days or 52 weeks."""
    days, months = (a, b) if category_of(a) == TIME else (b, a)
    return value_of(days) in _days_of_months().get(value_of(months), ())


@cache
def _days_of_months() -> Mapping[int, frozenset[int]]:
    days, months = Unit(TIME, 0, 1440.0), Unit(MONTHS, 0, 1.0)
    most = 60
    return {
        value_of(_item(float(count), months)): frozenset(
            value_of(_item(float(round(count * each)), days)) for each in (28, 30, 30.4167, 30.3334, 31)
        )
        for count in range(1, most + 1)
    }


@cache
def units() -> Mapping[str, Unit]:
    """Units of all languages by name."""
    known = {}
    for line in read_lexicon("any")["units"]:
        category, factor, *names = line.split()
        name, _, variant = category.partition(".")
        known.update(dict.fromkeys(names, Unit(CATEGORIES.index(name), int(variant or 0), float(factor))))
    return known


@cache
def _currencies() -> frozenset[str]:
    return frozenset(name for name, unit in units().items() if CATEGORIES[unit.category] == "money")


def begins_number(token: str, words: Lexicon) -> bool:
    """True if a number may begin with a token in lower case."""
    return (
        token in _currencies()
        or any(letter.isdigit() for letter in token)
        or _in_a_word(token, words) is not None
        or token in words.scales
        or token in words.articles
        or token in words.halves
    )


def number_at(tokens: Sequence[str], at: int, words: Lexicon) -> Number | None:
    """The number that begins at a token, in lower case, or None."""
    token = tokens[at]
    if token in _currencies():
        # "$500", "INR 500", "Rs. 500"
        value = at + 1 + (tokens[at + 1 : at + 2] == ["."])
        found = _amount(tokens, value, words) if value < len(tokens) else None
        return found and Number(_item(found[0], units()[token]), value - at + found[1])
    if token in words.halves or token in words.articles:
        return _of_article(tokens, at, words)
    joined = _JOINED.fullmatch(token)
    if joined and joined[2] not in words.scales:
        return _joined(joined[1], joined[2])
    if clock := _CLOCK.fullmatch(token):
        minutes = int(clock[1]) * 60 + int(clock[2])
        return _with_midday(float(minutes), tokens, at + 1, 1)
    version = _VERSION.fullmatch(token)
    if version:
        return Number(_plain(version[1]), 1)
    found = _amount(tokens, at, words)
    return found and _with_unit(*found, tokens, at)


def _amount(tokens: Sequence[str], at: int, words: Lexicon) -> tuple[float | str, int] | None:
    """A value, in digits or in words, with its scales, and how many tokens it took."""
    token = tokens[at]
    value: float | str
    taken = 1
    joined = _JOINED.fullmatch(token)
    if joined and joined[2] in words.scales:
        digits = _digits(joined[1])
        return None if digits is None else (float(digits) * words.scales[joined[2]], 1)
    if _PLAIN.fullmatch(token):
        digits = _digits(token)
        if digits is None:
            return None
        value = digits
    elif spelled := _in_words(tokens, at, words):
        value, taken = spelled
    elif token in words.scales and len(token) > 2:
        value, taken = 1.0, 0
    else:
        return None
    scale = 0.0
    while at + taken < len(tokens) and tokens[at + taken] in words.scales:
        scale = words.scales[tokens[at + taken]]
        value = float(value) * scale
        taken += 1
    more = None if isinstance(value, str) or token[0].isdigit() else _behind_scale(scale, tokens, at + taken, words)
    return (value, taken) if more is None else (float(value) + more[0], taken + more[1])


def _behind_scale(scale: float, tokens: Sequence[str], at: int, words: Lexicon) -> tuple[float, int] | None:
    """A value in words below the scale before it, as `twenty` of `one hundred and twenty`, and the tokens it took."""
    joint = at < len(tokens) and tokens[at] in _AND
    rest = tokens[at + joint : at + joint + 2]
    if not scale or not rest or rest[0] in units() or rest[0] in _ALONE or rest[0][0].isdigit():
        return None
    # "I paid a hundred one month ago"
    may_be_one = joint or words.language != "en"
    is_one = may_be_one and rest[0] in _ONE and not (rest[1:] and rest[1] in words.scales)
    found = (1.0, 1) if is_one else _amount(tokens, at + joint, words)
    return (float(found[0]), found[1] + joint) if found is not None and float(found[0]) < scale else None


def _in_words(tokens: Sequence[str], at: int, words: Lexicon) -> tuple[float, int] | None:
    """A value in words, as `forty five` and `treinta y cinco`, and how many tokens it took."""
    value = _in_a_word(tokens[at], words)
    if value is None or value not in _TENS:
        return None if value is None else (value, 1)
    unit_at = at + 1 + (tokens[at + 1 : at + 2] == [words.number_joint])
    unit = tokens[unit_at] if unit_at < len(tokens) else ""
    # "A thirty second delay"
    more = None if unit in units() or unit in _ALONE else _of_units(unit, words)
    return (value, 1) if more is None or value + more >= 100 else (value + more, unit_at + 1 - at)


def _in_a_word(token: str, words: Lexicon) -> float | None:
    """The value of `forty`, `forty-five` or `fünfundvierzig`."""
    known = words.numbers.get(token)
    if known is not None:
        return known
    tens, joint, unit = token.rpartition("-")
    tens = tens.removesuffix(f"-{words.number_joint}")
    if words.language == "de":
        unit, joint, tens = token.partition("und")
    value, more = words.numbers.get(tens), _of_units(unit, words)
    return value + more if joint and value in _TENS and more is not None else None


def _of_units(token: str, words: Lexicon) -> float | None:
    """The units after a word of tens: 1 to 9, in French up to 19 as in `soixante-quinze`."""
    value = 1.0 if token in _ONE else words.numbers.get(token)
    return value if value is not None and 0 < value < (20 if words.language == "fr" else 10) else None


def _digits(text: str) -> str | None:
    """The digits with a point for the decimals and nothing for thousands; None for a date, a version and the like."""
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "").replace(".", "")
    if text.count(",") == 1 and "." not in text:
        return text.replace(",", ".")
    if "," in text and text.count(".") == 1 and text.rindex(",") < text.index("."):
        return text.replace(",", "")
    return None if text.count(".") > 1 or "," in text else text


def _of_article(tokens: Sequence[str], at: int, words: Lexicon) -> Number | None:
    """`a week`, `half a year`, `a hundred`; an article before anything else is no number."""
    half, rest = tokens[at] in words.halves, at + 1
    if half and rest < len(tokens) and tokens[rest] in words.articles:
        rest += 1
    if rest >= len(tokens):
        return None
    unit = units().get(tokens[rest])
    if unit is not None and unit.category in (1, 2):
        return Number(_item(0.5 if half else 1.0, unit), rest + 1 - at)
    if not half and tokens[rest] in words.scales and len(tokens[rest]) > 2:
        found = _amount(tokens, rest, words)
        number = found and _with_unit(*found, tokens, rest)
        return number and Number(number.item, number.tokens + 1)
    return None


def _joined(digits: str, letters: str) -> Number | None:
    if letters in _ORDINAL_ENDINGS:
        return Number(_plain(digits), 1)
    value, unit = _digits(digits), units().get(letters)
    if value is not None and letters in _MIDDAY:
        return Number(_clock(float(value) * 60, letters), 1)
    return None if value is None or unit is None else Number(_item(value, unit), 1)


def _with_unit(value: float | str, taken: int, tokens: Sequence[str], at: int) -> Number:
    following = tokens[at + taken] if at + taken < len(tokens) else ""
    if following in _MIDDAY:
        return Number(_clock(float(value) * 60, following), taken + 1)
    if at and (tokens[at - 1], following) == _HOUR_OF_DAY:
        return Number(_item(float(value) * 60, Unit(3, 0, 1.0)), taken + 1)
    unit = units().get(following)
    if unit is not None:
        return Number(_item(value, unit), taken + 1)
    return Number(_plain(value), taken)


def _with_midday(minutes: float, tokens: Sequence[str], following: int, taken: int) -> Number:
    after = tokens[following] if following < len(tokens) else ""
    if after in _MIDDAY:
        return Number(_clock(minutes, after), taken + 1)
    return Number(_item(minutes, Unit(3, 0, 1.0)), taken + (after == "uhr"))


def _clock(minutes: float, midday: str) -> int:
    return _item(minutes % 720 + _MIDDAY[midday], Unit(3, 0, 1.0))


def _plain(value: float | str) -> int:
    # Of a version 3.10 is not 3.1, while 4.0 is 4.
    text = value.removesuffix(".0") if isinstance(value, str) else f"{value:.12g}"
    variant = _YEAR if _YEARS.fullmatch(text) else _SMALL if len(text) < 3 else 0
    return item(Kind.NUMBER, variant << 20 | hashed(text.lstrip("0") or "0", _VALUE_BITS))


def _item(value: float | str, unit: Unit) -> int:
    text = f"{float(value) * unit.factor:.6g}"
    return item(Kind.NUMBER, unit.category << 24 | unit.variant << 20 | hashed(text, _VALUE_BITS))
