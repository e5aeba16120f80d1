"""The lineage of clusters, by the states of the cluster topic: merged, split again, renamed, returned."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, NamedTuple

import orjson

from questream.broker.port import Consumer, Message, Partition
from questream.domain import Unread
from questream.events.detector import DetectedEvent
from questream.events.kinds import EventKind
from questream.records import is_namespace_key
from questream.records.events import event_document
from questream.records.versions import is_known
from questream.settings import NAMESPACE_PATTERN
from questream.watch.counting import Counted

_KEY = re.compile(rf"({NAMESPACE_PATTERN[1:-1]})/(c[1-9][0-9]{{0,18}})")
_CLUSTER = re.compile(r"c[1-9][0-9]{0,18}")
MOST_CLUSTERS = 1_000_000
_MOST_NAMED = 100_000


class DisplayState(NamedTuple):
    """The display state of a cluster: the survivor it was merged into, if any, label and route; whether it is muted.

    One that `has_returned` was resolved, and has got questions since.
    """

    merged_into: str | None
    label: str | None
    route: str | None = None
    muted: bool = False
    has_returned: bool = False


def read_display_state(message: Message) -> tuple[str, str, DisplayState] | None:
    """Namespace, id and display state of a cluster; None for a tombstone, and for a record of another kind."""
    key = message.key or b""
    found = _KEY.fullmatch(key.decode(errors="replace"))
    if is_namespace_key(key) or found is None or not message.value or isinstance(message.value, Unread):
        return None
    try:
        document = orjson.loads(message.value)
        merged_into, label, route = (document.get(name) for name in ("merged_into", "label", "route"))
        if not is_known(document["schema_version"]) or not isinstance(label, str | None):
            return None
        if not isinstance(route, str | None):
            return None
        if merged_into is not None and not _CLUSTER.fullmatch(merged_into):
            return None
        ruled, size = document.get("ruled") or {}, document.get("size", 0)
        muted, resolved_size = ruled.get("muted") is True, ruled.get("resolved_size")
        has_returned = resolved_size is not None and size > resolved_size
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found[1], found[2], DisplayState(merged_into, label, route, muted, has_returned)


class Lineage:
    """Reads the partitions of the cluster topic that a consumer is assigned, which is its own from then on.

    States below the offsets `seen` are learnt. Memory: the states of the last million clusters, labels as numbers,
    label and route of the last 100,000 that have one, and the last 100,000 muted ones. The first state of a cluster
    that is not remembered raises an event only if it is a merge.
    """

    def __init__(self, consumer: Consumer, seen: dict[Partition, int], topic: str) -> None:
        self._consumer = consumer
        self.seen = seen
        self._topic = topic
        self._next = dict.fromkeys(seen, 0)
        self._known: OrderedDict[int, tuple[str | None, int, bool]] = OrderedDict()
        self._muted: OrderedDict[int, None] = OrderedDict()
        self._named: OrderedDict[int, dict[str, str]] = OrderedDict()

    def take(self, timeout: float) -> list[dict[str, Any]]:
        """The events of the states that came, as CloudEvents. Raises KafkaUnavailable or KafkaRefused."""
        documents = []
        for partition, messages in self._consumer.poll(timeout).items():
            for message in messages:
                found = read_display_state(message)
                if found is not None:
                    documents += self._look(message, *found, is_seen=message.offset < self.seen[partition])
        self._next = {partition: self._consumer.position(partition) or 0 for partition in self.seen}
        return documents

    def with_names(self, document: dict[str, Any], question: Counted | None = None) -> dict[str, Any]:
        """An event with what people call its cluster and where they send it: `label` and `route`, as far as known.

        `question` raised it: of a cluster without its own, its decision has those of the intent or the topic around it.
        """
        data = document["data"]
        named = self._named.get(hash((data["namespace"], data["cluster_id"])), {})
        around = question.names if question is not None and question.cluster == data["cluster_id"] else {}
        return {**document, "data": {**around, **named, **data}}

    def is_muted(self, document: dict[str, Any]) -> bool:
        """True if the cluster of an event is muted."""
        data = document["data"]
        return hash((data["namespace"], data["cluster_id"])) in self._muted

    def next_offsets(self) -> dict[Partition, int]:
        """The first offset of each partition that was not looked at yet."""
        return self._next

    @property
    def is_learning(self) -> bool:
        """True if states below the offsets `seen` are still to come."""
        return any(self._next[partition] < offset for partition, offset in self.seen.items())

    def _look(
        self, message: Message, namespace: str, cluster: str, state: DisplayState, *, is_seen: bool
    ) -> list[dict[str, Any]]:
        number, label = hash((namespace, cluster)), hash(state.label)
        before = self._known.get(number)
        self._known[number] = (state.merged_into, label, state.has_returned)
        self._known.move_to_end(number)
        if len(self._known) > MOST_CLUSTERS:
            self._known.popitem(last=False)
        self._keep_names(number, state)
        self._keep_muted(number, state)
        if is_seen:
            return []
        merged_before, label_before, had_returned = before or (None, label, state.has_returned)
        events: list[tuple[EventKind, dict[str, Any]]] = []
        if state.merged_into is not None and state.merged_into != merged_before:
            events.append(("merged", {"into": state.merged_into}))
        elif state.merged_into is None and merged_before is not None:
            events.append(("split", {"from": merged_before}))
        elif label != label_before:
            events.append(("renamed", {"label": state.label}))
        if state.merged_into is None and state.has_returned and not had_returned:
            events.append(("returned", {}))
        at = message.timestamp
        return [
            _with(
                event_document(
                    namespace, DetectedEvent(kind, cluster, at, at, int(kind == "returned"), 0.0), self._topic
                ),
                {**_names(state), **more},
            )
            for kind, more in events
        ]

    def _keep_muted(self, number: int, state: DisplayState) -> None:
        self._muted.pop(number, None)
        if state.muted and state.merged_into is None:
            self._muted[number] = None
            if len(self._muted) > _MOST_NAMED:
                self._muted.popitem(last=False)

    def _keep_names(self, number: int, state: DisplayState) -> None:
        named = _names(state)
        self._named.pop(number, None)
        if named and state.merged_into is None:
            self._named[number] = named
            if len(self._named) > _MOST_NAMED:
                self._named.popitem(last=False)


def _names(state: DisplayState) -> dict[str, str]:
    return {name: value for name, value in (("label", state.label), ("route", state.route)) if value}


def _with(document: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {**document, "data": {**document["data"], **more}}
