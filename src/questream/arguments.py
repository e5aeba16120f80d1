"""Arguments of callers in Python: texts and vectors in any container, and parameters within their ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from pydantic import ValidationError

from questream.clustering.levels import LevelRules
from questream.domain import Matrix
from questream.settings import NAMESPACE_PATTERN, ClusterSettings, JudgeSettings
from questream.settings.describe import allowed

_SHOWN_POSITIONS = 10
# Of the parameters with a setting of another name: its group and its name.
_SETTINGS = {"judge_margin": (JudgeSettings, "margin")}


def check_rules(**given: Any) -> None:
    """Raises ValueError for a parameter outside the range of the setting that it is called by."""
    for name, value in given.items():
        group, setting = _SETTINGS.get(name, (ClusterSettings, name))
        plain = value.item() if isinstance(value, np.generic) else value
        try:
            # A text that reads as a number is one in a settings file alone.
            group.model_validate({setting: plain}, strict=True)
        except ValidationError:
            raise ValueError(f"{name} is {allowed(group.model_fields[setting])}") from None


def check_thresholds(**given: Any) -> None:
    """Raises ValueError for what is no finite number; None is unset. One beyond -1 or 1 joins all or nothing."""
    for name, value in given.items():
        is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if value is not None and not (is_number and np.isfinite(value)):
            raise ValueError(f"{name} is a finite number")


def check_parts(encoder: Any, store: Any, levels: Any, judge: Any, prepare: Any) -> None:
    """Raises ValueError for what is no encoder, store, rules of levels, judge or function.

    All but `prepare` may be None.
    """
    if encoder is not None and not hasattr(encoder, "encode_tokens"):
        raise ValueError("encoder is what load_encoder(...) gives")
    if store is not None and not hasattr(store, "open"):
        raise ValueError("store is a store that is open, such as MemoryStore()")
    if levels is not None and not isinstance(levels, LevelRules):
        raise ValueError("levels is LevelRules(...)")
    if judge is not None and not hasattr(judge, "same"):
        raise ValueError("judge is what load_judge(...) gives")
    if not callable(prepare):
        raise ValueError("prepare is a function")


def limit_of(given: Any) -> int:
    """A limit of a number. Raises ValueError unless it is a whole number of 0 or more."""
    try:
        limit = -1 if isinstance(given, bool) else index(given)
    except TypeError:
        limit = -1
    if limit < 0:
        raise ValueError("limit is a whole number, 0 or more")
    return limit


def ids_of(given: Any) -> list[int]:
    """Ids of clusters. Raises ValueError for what holds none."""
    try:
        return [index(one) for one in plain(given)]
    except TypeError:
        raise ValueError("give a list of ids, which are whole numbers") from None


def check_namespace(namespace: Any) -> None:
    """Raises ValueError for what is no name of a namespace, which a worker would refuse too."""
    if not isinstance(namespace, str) or re.fullmatch(NAMESPACE_PATTERN, namespace) is None:
        raise ValueError(f"namespace is {allowed(ClusterSettings.model_fields['namespace'])}")


def dimension_of(given: Any) -> int:
    """A number of dimensions. Raises ValueError for what is no whole number of 1 or more."""
    try:
        dimension = 0 if isinstance(given, bool) else index(given)
    except TypeError:
        dimension = 0
    if dimension < 1:
        raise ValueError("dimension is a whole number, 1 or more")
    return dimension


def plain(questions: Any) -> Any:
    """A sequence or an array of whatever holds the questions; what can be read only once is read here.

    Raises ValueError for what holds none.
    """
    if isinstance(questions, str | bytes):
        raise ValueError("give a list of texts, not one text")
    if isinstance(questions, np.ndarray | list | tuple):
        return questions
    if hasattr(questions, "to_numpy"):
        return questions.to_numpy()
    if hasattr(questions, "__array__"):
        return np.asarray(questions)
    try:
        return list(questions)
    except TypeError:
        raise ValueError(f"give a list of texts or of vectors, not {type(questions).__name__}") from None


def texts_of(questions: Any) -> list[str] | None:
    """The texts of a list, an array or a Series; None where it holds vectors, or nothing.

    Raises ValueError with the positions of what is no text beside texts, such as None and NaN; and for a single text.
    """
    given = plain(questions)
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OUT":
        return None
    if isinstance(given, np.ndarray) and given.ndim != 1:
        return None
    missing = [at for at, text in enumerate(given) if not isinstance(text, str)]
    if len(missing) == len(given) and not all(_is_missing(item) for item in given):
        return None
    if missing:
        raise ValueError(f"questions must be texts, those at {_positions(missing)} are None, NaN or something else")
    return [str(text) for text in given] or None


def texts_beside(texts: Any, count: int) -> list[str]:
    """The texts of `count` vectors. Raises ValueError if they are not as many, or not texts, with their positions."""
    given = list(plain(texts))
    if len(given) != count:
        raise ValueError(f"{count} questions have {len(given)} texts")
    wrong = [at for at, text in enumerate(given) if not _is_unicode(text)]
    if wrong:
        raise ValueError(f"texts must be texts in Unicode, those at {_positions(wrong)} are not")
    return [str(text) for text in given]


def unit_vectors_of(questions: Any, dimension: int) -> Matrix:
    """Rows (n, dimension) of length 1. Raises ValueError for another shape, and for what is not finite or zero."""
    vectors = _vectors_of(questions)
    if vectors.size == 0 and len(vectors.shape) == 1:
        return np.empty((0, dimension), np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ValueError(f"vectors are (n, {dimension}), these are {vectors.shape}")
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    unusable = ~(np.isfinite(largest[:, 0]) & (largest[:, 0] > 0))
    if unusable.any():
        at = _positions(np.flatnonzero(unusable).tolist())
        raise ValueError(f"vectors must be finite and not zero, those at {at} are not")
    # By the largest number first: the squares of a row may lie beyond what a float holds.
    scaled = vectors / largest
    unit: Matrix = np.ascontiguousarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True), np.float32)
    return unit


def _vectors_of(questions: Any) -> Any:
    given = plain(questions)
    if isinstance(given, np.ndarray) and given.dtype == object and given.ndim == 1:
        # A column whose cells are vectors.
        given = list(given)
    try:
        vectors = np.asarray(given)
        if vectors.dtype.kind == "O":
            vectors = vectors.astype(np.float64)
    except (TypeError, ValueError):
        vectors = np.asarray("")
    if vectors.dtype.kind not in "biuf":
        raise ValueError("vectors must be rows of numbers, all of one length")
    return vectors.astype(np.float64)


def _is_unicode(text: Any) -> bool:
    """True if this is a text that can be sent and kept: none with half a surrogate pair."""
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_missing(item: Any) -> bool:
    """True for a missing value: None, NaN, or the NA of a data frame."""
    return item is None or type(item).__name__ in ("NAType", "NaTType") or (isinstance(item, float) and item != item)


def _positions(found: Sequence[int]) -> str:
    """The first ten in words, and how many more there are."""
    shown = ", ".join(map(str, found[:_SHOWN_POSITIONS]))
    more = f" and {len(found) - _SHOWN_POSITIONS} more" if len(found) > _SHOWN_POSITIONS else ""
    return f"position{'s' if len(found) > 1 else ''} {shown}{more}"
