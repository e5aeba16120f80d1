"""Kafka as far as the protocol rests on it: a group with generations, transactions, read_committed and compaction."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import orjson

from questream.errors import KafkaUnavailable, Superseded

from .values import digest

OUTPUT, CLUSTERS = "output", "clusters"


@dataclass(frozen=True)
class Entry:
    """A record in the log; `owner` is the producer whose open transaction it belongs to, None once it is committed."""

    owner: str | None
    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Transaction:
    """An open transaction: the offsets that it commits with its records. `expired`: the broker has aborted it."""

    offsets: tuple[tuple[int, int], ...] = ()
    expired: bool = False


@dataclass(frozen=True)
class Kafka:
    """The broker at one moment. `owners` names the member that each partition is assigned to.

    `outputs` are the committed records of the output topic in no order; `log` holds all others: those of open
    transactions, and the cluster topic, compacted so late that a newer state is not lost to an older one behind it
    (`min.compaction.lag.ms`).
    """

    committed: tuple[int, ...]
    owners: tuple[str | None, ...]
    members: tuple[str, ...] = ()
    generation: int = 0
    log: tuple[Entry, ...] = ()
    outputs: tuple[bytes, ...] = ()
    transactions: tuple[tuple[str, Transaction], ...] = ()

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for equal brokers."""
        return digest([getattr(self, field.name) for field in fields(self)])

    def rebalance(self, members: Iterable[str], owners: Iterable[str | None]) -> Kafka:
        """A new generation with these members, who own the partitions so."""
        return replace(self, members=tuple(sorted(members)), owners=tuple(owners), generation=self.generation + 1)

    def open_transaction(self, producer: str) -> Transaction | None:
        """The producer's transaction, if it has begun one."""
        return dict(self.transactions).get(producer)

    @property
    def readable(self) -> bool:
        """True if a read_committed reader comes to the end of the log and of the group's offsets."""
        open_records = any(entry.owner is not None for entry in self.log)
        return not open_records and all(map(self.is_recovered, range(len(self.committed))))

    def is_recovered(self, partition: int) -> bool:
        """True if no open transaction may yet move the partition's committed offset."""
        pending = {
            at for _, transaction in self.transactions if not transaction.expired for at, _ in transaction.offsets
        }
        return partition not in pending

    def init(self, producer: str) -> Kafka:
        """A producer begins: what an earlier one of its id left open is aborted, and that one is fenced."""
        return self._without(producer)

    def expire(self, producer: str) -> Kafka:
        """The broker aborts a transaction that took too long; its producer gets the error when it comes back."""
        kafka = self._without(producer)
        return kafka._with(producer, Transaction(expired=True))

    def append(self, producer: str, records: Iterable[tuple[str, bytes | None, bytes | None]]) -> Kafka:
        """Records of the producer's transaction reach the log."""
        transaction = self._usable(producer)
        entries = tuple(Entry(producer, topic, key, value) for topic, key, value in records)
        return replace(self._with(producer, transaction), log=self.log + entries)

    def send_offsets(self, producer: str, generation: int | None, offsets: Iterable[tuple[int, int]]) -> Kafka:
        """Offsets join the transaction, unless the group is in another generation."""
        transaction = self._usable(producer)
        if generation != self.generation or producer not in self.members:
            raise Superseded("another generation")
        return self._with(producer, replace(transaction, offsets=transaction.offsets + tuple(offsets)))

    def commit(self, producer: str) -> Kafka:
        """Records and offsets of the transaction count, all at once."""
        transaction = self._usable(producer)
        committed = list(self.committed)
        for partition, offset in transaction.offsets:
            committed[partition] = offset
        log = tuple(replace(entry, owner=None) if entry.owner == producer else entry for entry in self.log)
        kafka = replace(self, committed=tuple(committed), log=log)
        return kafka._with(producer, None)._tidied()

    def cluster_records(self) -> list[Entry]:
        """What a read_committed reader finds in the cluster topic once no transaction is open."""
        return [entry for entry in self.log if entry.topic == CLUSTERS and entry.owner is None]

    def _usable(self, producer: str) -> Transaction:
        transaction = self.open_transaction(producer) or Transaction()
        if transaction.expired:
            raise KafkaUnavailable("the producer is fenced")
        return transaction

    def _with(self, producer: str, transaction: Transaction | None) -> Kafka:
        others = [(name, other) for name, other in self.transactions if name != producer]
        if transaction is not None:
            others.append((producer, transaction))
        return replace(self, transactions=tuple(sorted(others, key=lambda pair: pair[0])))

    def _without(self, producer: str) -> Kafka:
        log = tuple(entry for entry in self.log if entry.owner != producer)
        return replace(self, log=log)._with(producer, None)._tidied()

    def _tidied(self) -> Kafka:
        outputs = [entry.value or b"" for entry in self.log if entry.topic == OUTPUT and entry.owner is None]
        log = [entry for entry in self.log if entry.topic != OUTPUT or entry.owner is not None]
        # A log cleaner leaves what lies behind an open transaction alone.
        stable = next((at for at, entry in enumerate(log) if entry.owner is not None), len(log))
        newest: dict[bytes | None, int] = {}
        kept = log[stable:]
        for entry in reversed(log[:stable]):
            if _revision(entry.value) > newest.get(entry.key, -1):
                newest[entry.key] = _revision(entry.value)
                kept.insert(0, entry)
        return replace(self, log=tuple(kept), outputs=tuple(sorted([*self.outputs, *outputs])))


@functools.lru_cache(maxsize=100_000)
def _revision(value: bytes | None) -> int:
    body = orjson.loads(value or b"{}")
    revision: int = body["revision"] if "revision" in body else body["next_cluster"]
    return revision
