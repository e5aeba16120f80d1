"""Words without their endings, lightly: enough that `enabled` and `enabling` are one word, no more."""

from __future__ import annotations

_DOUBLED = frozenset("bdgmnprt")
_LEAST = 3

# Longest first; what is left keeps `_LEAST` letters.
_ENDINGS = {
    "de": ["ern", "est", "en", "er", "em", "es", "et", "e", "n", "t", "s"],
    "fr": ["ées", "ent", "ons", "ez", "er", "ée", "és", "es", "é", "e", "s", "x"],
    "es": [
        "adas",
        "ados",
        "idas",
        "idos",
        "aron",
        "ada",
        "ado",
        "ida",
        "ido",
        "ar",
        "er",
        "ir",
        "as",
        "os",
        "es",
        "an",
        "en",
        "a",
        "o",
        "e",
        "é",
        "ó",
    ],
}


def stem_of(word: str, language: str) -> str:
    """The stem of a word in lower case; `language` is en, de, fr or es."""
    if language == "en":
        return _english(word)
    for ending in _ENDINGS[language]:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST:
            return word[: -len(ending)]
    return word


def _english(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) <= _LEAST:
        return word
    if word.endswith("ies") or word.endswith("ied"):
        return word[:-3] + "y" if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST and not word.endswith("eed"):
            word = _single(word[: -len(ending)])
            break
    if (word.endswith("ation") and len(word) > 7) or (word.endswith("tion") and len(word) > 6):
        word = word[:-3]
    else:
        # America and American, Egypt and Egyptian: the country's name for both.
        for ending in ("ian", "ia", "an", "a"):
            if word.endswith(ending) and len(word) - len(ending) > _LEAST - (ending in ("ia", "ian")):
                return word[: -len(ending)]
    return word.removesuffix("e") if len(word) > _LEAST else word


def _single(word: str) -> str:
    if len(word) > _LEAST and word[-1] == word[-2] and word[-1] in _DOUBLED:
        return word[:-1]
    return word
