"""Values that many states of the model share: frozen as bytes, and compared by what they mean."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import hashlib
import pickle
import threading
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import numpy as np

from questream.clustering.mirror import Mirror
from questream.deciding.clusterer import Clusterer
from questream.store.reference.store import MemoryStore

T = TypeVar("T")

# A copy of an object that is guarded by a lock has a lock of its own.
copyreg.pickle(type(threading.Lock()), lambda _: (threading.Lock, ()))


class Frozen(Generic[T]):
    """An object as it was; `thaw` gives a copy that may be changed."""

    def __init__(self, value: T) -> None:
        self._bytes = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

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
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case Frozen():
            return value.meaning
        case np.ndarray():
            return value.tobytes()
        case tuple() | list():
            return [_plain(item) for item in value]
        case dict():
            return sorted(((_plain(key), _plain(item)) for key, item in value.items()), key=repr)
        case set() | frozenset():
            return sorted((_plain(item) for item in value), key=repr)
        case Mirror():
            whole = (value.seq, value.next_id, value.mean_questions, value.mean_sum.tobytes())
            return (
                whole,
                getattr(value, "store_epoch", ""),
                value.ids.tolist(),
                value.members.tolist(),
                value.sums.tobytes(),
            )
        case Clusterer():
            unmerged = {name: ids for name, ids in value._merging._unmerged.items() if ids}
            refusals = value._turns._refusals
            return _plain(value.mirrors._mirrors), value.namespaces.opened, _plain(unmerged), _plain(refusals)
        case MemoryStore():
            return _plain(value._namespaces)
        case BaseException():
            return repr(value)
    if dataclasses.is_dataclass(value):
        return [_plain(getattr(value, name)) for name in _field_names(value.__class__)]
    return _plain(vars(value)) if hasattr(value, "__dict__") else float(value)


@functools.lru_cache
def _field_names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]
