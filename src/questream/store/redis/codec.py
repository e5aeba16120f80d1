"""The form of a namespace in Redis: what the fields of hashes and log entries hold."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson

from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, MeanMoved
from questream.clustering.second_look.kept import unpack
from questream.domain import (
    UNRULED,
    ChosenQuestion,
    ClusterEvent,
    ClusterState,
    Exemplar,
    InFlight,
    NamespaceState,
    Ruling,
    Vector,
)
from questream.errors import LostMemory, NamespaceRefused
from questream.rulings import flags_of, read_flags
from questream.store.protocol import ClusterRow, OutboxPosition, Tail
from questream.store.rules_text import parse_rules

_FLOAT32 = np.dtype("<f4")
# Of the entries of ledgers and logs. What hashes mean is the layout's of a namespace.
_ENTRY_VERSION = 1
STATE_FIELDS = [
    *("members", "sum", "size", "revision", "label", "route", "created", "seen", "representative", "merged_into"),
    *("labelled", "joins", "absorbed", "retired", "ruled", "features", "exemplars", "kept", "represented"),
]
# No hash has a field of the empty name: it is answered with null, as the sum of a merged cluster is.
SUMMARY_FIELDS = ["" if name == "sum" else name for name in STATE_FIELDS]


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raises LostMemory for a value in another form than questream writes."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise LostMemory(f"{what} cannot be read") from None


def require_version(version: object, what: str) -> None:
    """Raises NamespaceRefused unless this release knows what entries of this version mean; those without are of 1.

    Fields are added without a version. It comes when a field that was there changes its meaning or goes.
    """
    if version is not None and str(version) != str(_ENTRY_VERSION):
        raise NamespaceRefused(f"{what} was written by a later release", "upgrade questream")


def to_bytes(vector: Vector) -> bytes:
    return vector.astype(_FLOAT32, copy=False).tobytes()


def from_bytes(raw: bytes) -> Vector:
    return np.frombuffer(raw, _FLOAT32).astype(np.float32, copy=False)


def _text(raw: bytes | None) -> str | None:
    # A text is never worth a cluster: what is no UTF-8 in it is shown as such.
    return None if raw is None else raw.decode("utf-8", "replace")


def is_utf8(raw: bytes) -> bool:
    """True if this is a text."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_count(raw: bytes | None) -> bool:
    """True if this is a number above zero."""
    return raw is not None and raw.isdigit() and int(raw) > 0


def _number(raw: bytes | None) -> int:
    if raw is None:
        raise ValueError("a number is missing")
    return int(raw)


@reading("a cluster")
def parse_cluster_row(cluster_id: int, fields: Sequence[Any]) -> ClusterRow:
    size, revision, label, route, created, seen, representative, joins, absorbed, ruled, exemplars, kept = fields[:12]
    ruling, operation = _parse_ruling(label, route, ruled, exemplars, fields[12])
    shown, own = _representatives(representative, ruling)
    return ClusterRow(
        cluster_id,
        int(size),
        int(revision),
        int(created),
        int(seen),
        shown,
        parse_in_flight(joins, absorbed),
        ruling,
        operation,
        _text(kept) or "",
        own,
    )


def _parse_ruling(*fields: bytes | None) -> tuple[Ruling, int]:
    """All that people decided of a cluster, and the number of the last operation that did.

    From its fields label, route, ruled, exemplars and represented.
    """
    if fields == _UNRULED_FIELDS:
        return UNRULED, 0
    label, route, ruled, exemplars, represented = fields
    separations, plain, operation = _parse_ruled(ruled)
    ruling = Ruling(
        _text(label),
        _text(route),
        separations=separations,
        exemplars=parse_exemplars(exemplars),
        represented_by=parse_represented(represented),
        **plain,
    )
    return ruling, operation


_UNRULED_FIELDS = (None,) * 5


def _representatives(raw: bytes | None, ruling: Ruling) -> tuple[str | None, str | None]:
    """The representative of a cluster, and its own one if people have chosen another."""
    chosen = ruling.represented_by
    return (_text(raw), None) if chosen is None else (chosen.text, _text(raw))


def ruling_text(ruling: Ruling) -> str:
    """A cluster's field `ruled` behind its operation's number: flags (`RULING_FIELDS`), then separations."""
    return " ".join([flags_of(ruling), *ruling.separations])


def parse_ruled(ruled: bytes | None) -> tuple[Ruling, int]:
    """The inverse of `ruling_text`, and the number of the last operation that ruled the cluster."""
    separations, plain, operation = _parse_ruled(ruled)
    return Ruling(separations=separations, **plain), operation


def _parse_ruled(ruled: bytes | None) -> tuple[tuple[str, ...], dict[str, Any], int]:
    if ruled is None:
        return (), {}, 0
    number, flags, *separations = ruled.decode().split(" ")
    return tuple(separations), read_flags(flags), int(number)


def exemplars_text(exemplars: Sequence[Exemplar]) -> str:
    """NAME:KIND:TOPIC/PARTITION/OFFSET:VECTOR:TEXT of each, with a space between; vector and text are in base64.

    Scripts unite those of two clusters by their names, which no other part comes before.
    """
    return " ".join(
        ":".join(
            (
                one.name,
                one.kind,
                _place_text(one.place),
                base64.b64encode(one.vector).decode("ascii"),
                "" if one.text is None else base64.b64encode(one.text.encode()).decode("ascii"),
            )
        )
        for one in exemplars
    )


def parse_exemplars(raw: bytes | None) -> tuple[Exemplar, ...]:
    """The inverse of `exemplars_text`; an exemplar of a kind that only a later release knows binds nothing here.

    Raises ValueError where one is cut short.
    """
    found = []
    for token in (raw or b"").decode("ascii").split():
        name, kind, place, vector, text = token.split(":")
        if kind != "must" and kind != "cannot":
            continue
        found.append(
            Exemplar(
                name,
                "must" if kind == "must" else "cannot",
                base64.b64decode(vector, validate=True),
                _parsed_place(place),
                base64.b64decode(text, validate=True).decode() if text else None,
            )
        )
    return tuple(found)


def represented_text(chosen: ChosenQuestion | None) -> str:
    """NAME:TOPIC/PARTITION/OFFSET:TEXT of the question that people chose as a representative; '' for none."""
    if chosen is None:
        return ""
    text = "" if chosen.text is None else base64.b64encode(chosen.text.encode()).decode("ascii")
    return ":".join((chosen.name, _place_text(chosen.place), text))


def parse_represented(raw: bytes | None) -> ChosenQuestion | None:
    """The inverse of `represented_text`; a later release may add parts. Raises ValueError where it is cut short."""
    if not raw:
        return None
    name, place, text = raw.decode("ascii").split(":")[:3]
    return ChosenQuestion(name, base64.b64decode(text, validate=True).decode() if text else None, _parsed_place(place))


def _place_text(place: tuple[str, int, int] | None) -> str:
    return "" if place is None else "/".join(map(str, place))


def _parsed_place(text: str) -> tuple[str, int, int] | None:
    topic, _, at = text.partition("/")
    partition, _, offset = at.partition("/")
    return (topic, int(partition), int(offset)) if text else None


def parse_outbox_position(store_epoch: bytes, count: int, server_time_ms: int) -> OutboxPosition:
    return OutboxPosition(store_epoch.decode(), count, server_time_ms)


def partition_name(topic: str, partition: int) -> str:
    """The name of a partition within a value: a topic's name has no slash."""
    return f"{topic}/{partition}"


def parse_partition(name: bytes) -> tuple[str, int]:
    """The inverse of `partition_name`."""
    topic, _, partition = name.decode().partition("/")
    return topic, int(partition)


def parse_noted_settings(noted: bytes | None) -> list[tuple[str, int, bytes]]:
    """The notes of `note_settings.lua`: worker, time in ms and settings, the latest first; none where damaged."""
    try:
        notes = [(str(one[1]), int(one[0]), str(one[2]).encode()) for one in orjson.loads(noted or b"{}").values()]
    except (ValueError, TypeError, AttributeError, LookupError):
        return []
    return sorted(notes, key=lambda one: -one[1])


def parse_in_flight(joins: bytes | None, absorbed: bytes | None) -> InFlight:
    by_partition = {}
    for name, offsets in (orjson.loads(joins) if joins else {}).items():
        topic, partition = name.split("/")
        # Lua's JSON has no empty list.
        by_partition[topic, int(partition)] = tuple(map(int, offsets or ()))
    return InFlight(by_partition, tuple(map(int, absorbed.split())) if absorbed else ())


def _joins_text(in_flight: InFlight) -> str | None:
    joins = {partition_name(*at): offsets for at, offsets in in_flight.joins.items()}
    return orjson.dumps(joins).decode() if joins else None


def features_text(features: bytes | None) -> str | None:
    """In base64, since scripts pass them on in JSON; None for none."""
    return base64.b64encode(features).decode("ascii") if features else None


def parse_features(raw: bytes | None) -> bytes:
    """Features are worth no cluster: what cannot be read of them is none, and there is no second look."""
    try:
        features = base64.b64decode(raw or b"", validate=True)
        unpack(features)
    except ValueError:
        return b""
    return features


def state_fields(state: ClusterState) -> dict[str, str]:
    """The fields of a cluster's hash, but for its revision and sum."""
    fields = {
        "size": state.size,
        "members": state.members if state.vector_sum is not None else None,
        "label": state.label,
        "route": state.route,
        "created": state.created_at,
        "seen": state.last_seen_at,
        "representative": state.representative if state.ruling.represented_by is None else state.own_representative,
        "represented": represented_text(state.ruling.represented_by) or None,
        "merged_into": state.merged_into,
        "labelled": state.revision if state.event == "labelled" else None,
        "joins": _joins_text(state.in_flight),
        "absorbed": " ".join(map(str, state.in_flight.absorbed)) or None,
        "ruled": f"{state.operation} {ruling_text(state.ruling)}" if state.operation else None,
        "features": features_text(state.features),
        "exemplars": exemplars_text(state.ruling.exemplars) or None,
        "kept": state.kept_members or None,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


@reading("a cluster")
def parse_state(namespace: str, cluster_id: int, model: str, fields: Sequence[bytes | None]) -> ClusterState:
    members, vector_sum, size, revision, label, route, created, seen = fields[:8]
    representative, merged_into, labelled, joins, absorbed, retired, ruled, features, exemplars, kept = fields[8:18]
    ruling, operation = _parse_ruling(label, route, ruled, exemplars, fields[18])
    shown, own = _representatives(representative, ruling)
    event: ClusterEvent = "updated"
    if retired is not None:
        event = "retired"
    elif merged_into is not None:
        event = "merged"
    elif labelled is not None and labelled == revision:
        event = "labelled"
    if event == "retired":
        # Its revision is all that is asked of what is left of it.
        size, created, seen = size or b"0", created or b"0", seen or b"0"
    elif event != "merged" and int(members or 0) < 1:
        raise ValueError("a live cluster has members")
    return ClusterState(
        cluster_id=cluster_id,
        namespace=namespace,
        event=event,
        size=_number(size),
        members=int(members or 0),
        vector_sum=None if vector_sum is None else from_bytes(vector_sum),
        merged_into=None if merged_into is None else int(merged_into),
        representative=shown,
        own_representative=own,
        created_at=_number(created),
        last_seen_at=_number(seen),
        model=model,
        revision=_number(revision),
        in_flight=parse_in_flight(joins, absorbed),
        ruling=ruling,
        operation=operation,
        features=parse_features(features),
        kept_members=_text(kept) or "",
    )


def parse_namespace(namespace: str, meta: Mapping[bytes, bytes]) -> NamespaceState:
    """The state behind the fields of a namespace's meta, of which it has at least a model."""
    dimension, mean = int(meta.get(b"dimension", 0)), meta.get(b"mean_sum")
    rules = parse_rules(meta.get(b"rules"))
    return NamespaceState(
        namespace=namespace,
        model=meta[b"model"].decode(),
        model_revision=meta.get(b"revision", b"").decode(),
        similarity=meta.get(b"similarity", b"").decode(),
        linkage=rules.linkage or meta.get(b"linkage", b"").decode(),
        threshold=float(meta.get(b"threshold", 0)) if rules.threshold is None else rules.threshold,
        next_cluster=int(meta.get(b"next", 1)),
        mean_questions=int(meta.get(b"mean_questions", 0)),
        mean_sum=np.zeros(dimension, np.float32) if mean is None else from_bytes(mean),
        seq=int(meta.get(b"seq", 0)),
        generation=int(meta.get(b"generation", 0)),
        rules=rules,
    )


@reading("the log")
def parse_tail(seq: int, entries: Sequence[Any] | None) -> Tail:
    if entries is None:
        return Tail(seq, None)
    return Tail(seq, [parse_change(dict(zip(fields[::2], fields[1::2], strict=True))) for _, fields in entries])


def parse_change(fields: dict[bytes, bytes]) -> Change:
    require_version(fields[b"version"].decode() if b"version" in fields else None, "the log of the namespace")
    if b"moved" in fields:
        features = parse_features(fields[b"features"]) if b"features" in fields else None
        exemplars = parse_exemplars(fields[b"exemplars"]) if b"exemplars" in fields else None
        threshold = float(fields[b"threshold"] or 0) if b"threshold" in fields else None
        return ClusterMoved(
            int(fields[b"moved"]), int(fields[b"members"]), from_bytes(fields[b"sum"]), features, exemplars, threshold
        )
    if b"removed" in fields:
        return ClusterRemoved(int(fields[b"removed"]))
    rules = parse_rules(fields[b"rules"]) if b"rules" in fields else None
    return MeanMoved(int(fields[b"mean"]), from_bytes(fields[b"sum"]), rules)
