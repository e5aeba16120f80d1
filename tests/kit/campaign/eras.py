"""An input topic that was made anew: the records of each of its lives are separated, whatever their offsets are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.kit.checker import Evidence, Window
from tests.kit.checker.evidence import Entry, Place
from tests.kit.checker.stored import StoredLedger

# A partition of an earlier life counts as one of its own, so far above those of the last.
_APART = 1000
_PARTITION, _OFFSET = "questream-partition", "questream-offset"


@dataclass(frozen=True)
class Era:
    """A life of the input topic at its end: what had been asked and what was in the ledgers then.

    What lies in the other topics below `output_ends` and `dead_letter_ends` is about this life or an earlier one.
    """

    evidence: Evidence
    output_ends: Mapping[int, int]
    dead_letter_ends: Mapping[int, int]


def partition_of(number: int, partition: int, eras: int) -> int:
    """What the partition of one life is called in the evidence of all; the last of `eras` + 1 lives keeps its names."""
    return partition if number == eras else partition + _APART * (number + 1)


def end_era(evidence: Evidence) -> Era:
    """The life that ends with this evidence, which was taken at rest."""
    return Era(evidence, _ends(evidence.output), _ends(evidence.dead_letters))


def window_of(number: int, window: Window, eras: int) -> Window:
    """The window of one life in the names of all."""
    return {partition_of(number, partition, eras): span for partition, span in window.items()}


def whole(last: Evidence, eras: Sequence[Era]) -> Evidence:
    """The evidence of all lives of the topic as if they were partitions of one; `last` is what all topics hold now."""
    if not eras:
        return last
    lives = _Lives([*(era.evidence for era in eras), last])
    output_ends, dead_letter_ends = (
        [getattr(era, name) for era in eras] for name in ("output_ends", "dead_letter_ends")
    )
    return replace(
        last,
        input=[replace(entry, partition=lives.called(n, entry.partition)) for n, life in lives for entry in life.input],
        input_begins={lives.called(n, p): offset for n, life in lives for p, offset in life.input_begins.items()},
        committed={lives.called(n, p): offset for n, life in lives for p, offset in life.committed.items()},
        output=[_decision(entry, lives, output_ends) for entry in last.output],
        dead_letters=[_letter(entry, lives, dead_letter_ends) for entry in last.dead_letters],
        stored={name: replace(one, ledgers=lives.ledgers(name)) for name, one in last.stored.items()},
    )


class _Lives:
    """The evidence of each life of the topic, in order."""

    def __init__(self, lives: Sequence[Evidence]) -> None:
        self._lives = lives
        self._keys = [{entry.place: entry.key for entry in life.input} for life in lives]

    def __iter__(self) -> Iterator[tuple[int, Evidence]]:
        return iter(enumerate(self._lives))

    def called(self, number: int, partition: int) -> int:
        """What the partition of one life is called in the evidence of all."""
        return partition_of(number, partition, len(self._lives) - 1)

    def ledgers(self, namespace: str) -> dict[tuple[str, int], StoredLedger]:
        """Those of a namespace, each as its life left it."""
        return {
            (topic, self.called(number, partition)): ledger
            for number, life in self
            if namespace in life.stored
            for (topic, partition), ledger in life.stored[namespace].ledgers.items()
        }

    def partition_about(self, place: Place, published: Entry, ends: Sequence[Mapping[int, int]]) -> int:
        """The partition that something published is about.

        It is of the life in which a record of its key was at its place: at least once, a decision can be repeated
        when the topic has been made anew. Where that decides nothing, its own offset shows when it was published.
        """
        known = [number for number, keys in enumerate(self._keys) if place in keys and keys[place] == published.key]
        until = next((n for n, end in enumerate(ends) if published.offset < end.get(published.partition, 0)), len(ends))
        return self.called(known[0] if len(known) == 1 else until, place[0])


def _ends(entries: Iterable[Entry]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for entry in entries:
        ends[entry.partition] = max(ends.get(entry.partition, 0), entry.offset + 1)
    return ends


def _decision(entry: Entry, lives: _Lives, ends: Sequence[Mapping[int, int]]) -> Entry:
    value = json.loads(entry.value or b"")
    source = value["source"]
    source["partition"] = lives.partition_about((source["partition"], source["offset"]), entry, ends)
    return replace(entry, value=json.dumps(value).encode())


def _letter(entry: Entry, lives: _Lives, ends: Sequence[Mapping[int, int]]) -> Entry:
    headers = dict(entry.headers)
    place = int(headers[_PARTITION] or b""), int(headers[_OFFSET] or b"")
    partition = lives.partition_about(place, entry, ends)
    return replace(
        entry,
        headers=tuple((name, b"%d" % partition if name == _PARTITION else value) for name, value in entry.headers),
    )
