"""Values that many states of the model share: frozen as bytes, and compared by what they mean."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import hashlib
import io
import operator
import pickle
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import numpy as np

from questream.clustering.mirror import Mirror
from questream.deciding.clusterer import Clusterer
from questream.store.reference.store import MemoryStore

T = TypeVar("T")

# A copy of an object that is guarded by a lock has a lock of its own.
copyreg.pickle(type(threading.Lock()), lambda _: (threading.Lock, ()))


# By identity: values that nobody can change, which all states share, each with what `_plain` makes of it.
_constants: dict[int, tuple[Any, bytes]] = {}


def forget_constants() -> None:
    """Nothing that was frozen until now is thawed any more."""
    _constants.clear()


class _Freezer(pickle.Pickler):
    """Writes constants by their identity, and other dataclasses with slots by their fields: faster than they do."""

    def reducer_override(self, value: Any) -> Any:
        kind: Any = type(value)
        setters = _setters_of(kind)
        if setters is None:
            return NotImplemented
        if _is_constant(value):
            return _constant, (id(value),)
        return _thawed, (kind, [getattr(value, name) for name in setters])


def _is_constant(value: Any) -> bool:
    """True if nothing in it can be changed; a dataclass with slots of which that holds is kept as a constant."""
    kind: Any = type(value)
    if kind in _SCALARS or id(value) in _constants:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_is_constant, value))
    if kind is np.ndarray:
        return not value.flags.writeable
    setters = _setters_of(kind)
    if setters is None or not all(_is_constant(getattr(value, name)) for name in setters):
        return False
    _constants[id(value)] = value, digest(_fields(value))
    return True


def _constant(identity: int) -> Any:
    return _constants[identity][0]


def _fields(value: Any) -> list[Any]:
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


@functools.cache
def _setters_of(kind: Any) -> dict[str, Callable[[Any, Any], None]] | None:
    """What sets each field, by its name; None where it is not a frozen dataclass with slots."""
    if not dataclasses.is_dataclass(kind) or "__slots__" not in vars(kind) or not vars(kind).get("__setstate__"):
        return None
    return {field.name: getattr(kind, field.name).__set__ for field in dataclasses.fields(kind)}


def _thawed(kind: Any, values: list[Any]) -> Any:
    made = object.__new__(kind)
    setters = _setters_of(kind)
    assert setters is not None
    for set_field, value in zip(setters.values(), values, strict=True):
        set_field(made, value)
    return made


def changed(value: T, **fields: Any) -> T:
    """As `dataclasses.replace` for a dataclass without slots whose fields are all set as they are given.

    The explorer asks for a million of them, and `replace` takes several times as long. What the object has cached of
    its `meaning` is left behind.
    """
    made = object.__new__(type(value))
    kept = made.__dict__
    kept.update(value.__dict__)
    kept.pop("meaning", None)
    assert fields.keys() <= kept.keys()
    kept.update(fields)
    return made


class Frozen(Generic[T]):
    """An object as it was; `thaw` gives a copy that may be changed."""

    def __init__(self, value: T) -> None:
        written = io.BytesIO()
        _Freezer(written, pickle.HIGHEST_PROTOCOL).dump(value)
        self._bytes = written.getvalue()

    def thaw(self) -> T:
        """A copy of its own."""
        value: T = pickle.loads(self._bytes)
        return value

    @functools.cached_property
    def view(self) -> T:
        """The object, to be read only."""
        return self.thaw()

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for equal content."""
        return digest(self.view)


def digest_of(meanings: Iterable[bytes]) -> bytes:
    """16 bytes for a sequence of meanings."""
    return hashlib.blake2b(b"".join(meanings), digest_size=16).digest()


def digest(value: Any) -> bytes:
    """16 bytes that are equal for equal content, whatever its objects' identities."""
    return hashlib.blake2b(repr(_plain(value)).encode(), digest_size=16).digest()


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    if kind in _SCALARS:
        return value
    return _plain_of(kind)(value)


_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


@functools.cache
def _plain_of(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of this type plain: looked up once, as the explorer asks a million times."""
    for of, plain in _PLAIN:
        if issubclass(kind, of):
            return plain
    if _setters_of(kind) is not None:
        return lambda value: _constants[id(value)][1] if _is_constant(value) else _plain(_fields(value))
    if dataclasses.is_dataclass(kind):
        return lambda value: _plain(_fields(value))
    return lambda value: _plain(vars(value)) if hasattr(value, "__dict__") else float(value)


def _plain_dict(value: dict[Any, Any]) -> Any:
    items = [(_plain(key), _plain(item)) for key, item in value.items()]
    if {type(key) for key in value} in ({str}, {int}):
        return sorted(items, key=operator.itemgetter(0))
    return sorted(items, key=repr)


def _plain_mirror(value: Mirror) -> Any:
    whole = (value.seq, value.next_id, value.mean_questions, value.mean_sum.tobytes())
    return whole, getattr(value, "store_epoch", ""), value.ids.tolist(), value.members.tolist(), value.sums.tobytes()


def _plain_clusterer(value: Clusterer) -> Any:
    unmerged = {name: ids for name, ids in value._merging._unmerged.items() if ids}
    refusals = value._turns._refusals
    return _plain(value.mirrors._mirrors), value.namespaces.opened, _plain(unmerged), _plain(refusals)


_PLAIN: list[tuple[type[Any] | tuple[type[Any], ...], Callable[[Any], Any]]] = [
    (tuple(_SCALARS), lambda value: value),
    (Frozen, lambda value: value.meaning),
    (np.ndarray, lambda value: value.tobytes()),
    ((tuple, list), lambda value: [_plain(item) for item in value]),
    (dict, _plain_dict),
    ((set, frozenset), lambda value: sorted((_plain(item) for item in value), key=repr)),
    (Mirror, _plain_mirror),
    (Clusterer, _plain_clusterer),
    (MemoryStore, lambda value: _plain(value._namespaces)),
    (BaseException, repr),
]
