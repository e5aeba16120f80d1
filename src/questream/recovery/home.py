"""The home of a namespace: one store at a time, named in the cluster topic.

A store keeps its home in the namespace's meta, and every record of the cluster topic carries it as a header. A restart
and a failover keep it; a store that was emptied takes a new one, which names the one before, where it is found at the
same place. Any other store is refused before anything is decided: it would give ids out a second time.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from questream.errors import AnotherStore
from questream.settings import RedisSettings
from questream.store.redis.client import place_of

HOME_HEADER = "questream-store"


@dataclass(frozen=True, slots=True)
class Home:
    """A store as the home of a namespace: the `epoch`-th, at a `location` (a hash), after the store `former`."""

    epoch: int
    store: str
    location: str
    former: str = ""

    def __str__(self) -> str:
        return f"{self.epoch} {self.store} {self.location} {self.former}".rstrip()

    @classmethod
    def parse(cls, text: bytes | None) -> Home | None:
        """The inverse of str(); None where there is none, or one of a later release."""
        parts = (text or b"").decode("ascii", "replace").split(" ")
        if len(parts) < 3 or not parts[0].isdigit():
            return None
        return cls(int(parts[0]), parts[1], parts[2], parts[3] if len(parts) > 3 else "")


class HomeStore(Protocol):
    """A store that several may be confused with."""

    def home(self, namespace: str) -> bytes | None:
        """The home that the namespace has in this store."""

    def homes(self, namespaces: Sequence[str]) -> Mapping[str, bytes | None]:
        """As `home`, of many; without those that this login may not read, and those that are damaged."""

    def take_home(self, namespace: str, home: bytes) -> None:
        """Give the namespace this home, unless it has one."""

    def replace_home(self, namespace: str, home: bytes) -> None:
        """Give the namespace this home."""


def location_of(settings: RedisSettings) -> str:
    """The address of a store, as a hash: readers of the cluster topic must not learn it."""
    return hashlib.blake2b(place_of(settings).encode(), digest_size=8).hexdigest()


class Homes:
    """Compares the home of namespaces in a store with what the cluster topic says, and gives them one."""

    def __init__(self, store: HomeStore, location: str) -> None:
        self._store = store
        self._location = location

    def require(self, namespace: str, published: Home | None) -> None:
        """Raises AnotherStore unless this store is the one that the topic names, or that one emptied."""
        mine = Home.parse(self._store.home(namespace))
        if published is None or (mine is not None and published.store in (mine.store, mine.former)):
            return
        if mine is None and published.location == self._location:
            return
        raise AnotherStore(
            f"namespace {namespace!r} is served by another Redis than the one of redis.url, as the cluster topic says",
            "set redis.url (server and database number) to that one, or move the namespace here with"
            " questream restore --adopt",
        )

    def lacking(self, namespaces: Sequence[str]) -> set[str]:
        """Those of the namespaces that have no home in this store."""
        return {namespace for namespace, home in self._store.homes(namespaces).items() if home is None}

    def take(self, namespace: str, published: Home | None) -> None:
        """Give the namespace a home in this store, if it has none."""
        self._store.take_home(namespace, str(self._next(published)).encode())

    def adopt(self, namespace: str, published: Home | None) -> None:
        """Make this store the home of the namespace."""
        self._store.replace_home(namespace, str(self._next(published)).encode())

    def _next(self, published: Home | None) -> Home:
        epoch, former = (published.epoch, published.store) if published else (0, "")
        return Home(epoch + 1, uuid.uuid4().hex[:16], self._location, former)


class HomeHeaders:
    """The headers of records of the cluster topic; `published` asks the topic which store it names."""

    def __init__(self, store: HomeStore, homes: Homes, published: Callable[[str], Home | None]) -> None:
        self._store = store
        self._homes = homes
        self._published = published
        self._known: dict[str, tuple[str, list[tuple[str, bytes]]]] = {}

    def of(self, namespace: str, store_epoch: str) -> Sequence[tuple[str, bytes]]:
        """The header of records of the namespace that were made in this store epoch. Raises AnotherStore."""
        known = self._known.get(namespace)
        if known is None or known[0] != store_epoch:
            home = self._store.home(namespace)
            if home is None:
                # Recovered by a release that knows no homes, while the topic may name this store as it was before.
                published = self._published(namespace)
                self._homes.require(namespace, published)
                self._homes.take(namespace, published)
                home = self._store.home(namespace) or b""
            known = self._known[namespace] = (store_epoch, [(HOME_HEADER, home)])
        return known[1]
