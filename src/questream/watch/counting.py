"""The counted fields of an output record: the time of the question, its asker and its cluster."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from questream.broker.port import Message
from questream.domain import Unread
from questream.events.rhythm import HOUR_MS
from questream.records import read_decision
from questream.records.times import parse_time
from questream.settings import NAMESPACE_PATTERN

_NAMESPACE = re.compile(NAMESPACE_PATTERN)
_CLUSTER = re.compile(r"^c[1-9][0-9]{0,18}$")

Asker = Literal["key", "question"]


class Counted(NamedTuple):
    """A question that joined a cluster or opened it, at `time_ms`; `asker` is a number for who asked.

    `above` is how far above the threshold its similarity was, None if it opened the cluster or that is unknown.
    `label` and `route` are those of its decision: of its cluster, or of the intent or the topic around that.
    """

    time_ms: int
    namespace: str
    cluster: str
    asker: int
    created: bool
    above: float | None = None
    label: str | None = None
    route: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """Its label and its route, as far as it has any."""
        return {name: value for name, value in (("label", self.label), ("route", self.route)) if value}


def counted(message: Message, asker: Asker, now_ms: int) -> Counted | None:
    """None for what is no decision, joined no cluster or was decided before.

    Nor does a decision count whose time is an hour after `now_ms` or more: what comes later would seem to come at once.
    """
    if isinstance(message.value, Unread) or (decision := read_decision(message.value)) is None:
        return None
    try:
        namespace, cluster, outcome = decision["namespace"], decision["cluster_id"], decision["outcome"]
        if outcome not in ("joined", "created") or not _NAMESPACE.match(namespace) or not _CLUSTER.match(cluster):
            return None
        time_ms = _time_of(decision)
        if time_ms > now_ms + HOUR_MS:
            return None
        place = (message.topic, message.partition, message.offset)
        number = hash(place if asker == "question" or not message.key else message.key)
        created = outcome == "created"
        above = None if created else _above(decision)
        label, route = (_text(decision.get(name)) for name in ("label", "route"))
        return Counted(time_ms, namespace, cluster, number, created, above, label, route)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _above(decision: dict[str, Any]) -> float | None:
    similarity, threshold = decision.get("similarity"), decision.get("threshold")
    return None if similarity is None or threshold is None else float(similarity - threshold)


def _time_of(decision: dict[str, Any]) -> int:
    """When the question was asked, in ms since the epoch: what its record says, unless that is after its decision."""
    decided_ms = parse_time(decision["decided_at"])
    asked_ms = decision.get("source", {}).get("timestamp", -1)
    return int(asked_ms) if 0 < asked_ms <= decided_ms else decided_ms
