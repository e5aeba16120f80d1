"""The compacted cluster topic: one record for each cluster, and one for its namespace.

A cluster's key is `namespace/c17`, its namespace's `namespace`: a namespace has no slash. Together they hold all that
a lost Redis is restored from. The schemas are `load_schema("cluster-state")` and `load_schema("namespace-state")`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from questream.clustering.second_look.kept import unpack
from questream.domain import (
    ChosenQuestion,
    ClusterState,
    ConstraintKind,
    Exemplar,
    InFlight,
    NamespaceRules,
    NamespaceState,
    Ruling,
    Vector,
    format_cluster_id,
    parse_cluster_id,
    retired_cluster,
)
from questream.errors import BadRecord
from questream.records.times import format_time, parse_time
from questream.records.versions import SCHEMA_VERSION, invalid, is_known, newer_version
from questream.rulings import read_ruling_fields, write_ruling_fields

_CLUSTER_KEY = re.compile(rb"[^/]*/c[0-9]+")
_FLOAT32 = np.dtype("<f4")


def is_namespace_key(key: bytes) -> bool:
    """True if a key of the cluster topic is a namespace's and not a cluster's."""
    return b"/" not in key


def is_cluster_key(key: bytes) -> bool:
    """True if a key of the cluster topic is a cluster's, and not a namespace's or one of its levels."""
    return _CLUSTER_KEY.fullmatch(key) is not None


def encode_cluster_state(state: ClusterState) -> tuple[bytes, bytes | None]:
    """Key and JSON value of a cluster; the value of a retired one is None, the tombstone that compaction removes it by.

    Without a vector a cluster has no centroid members, whatever `members` says. Times are cut to the years 1 to 9999.
    """
    cluster_id = format_cluster_id(state.cluster_id)
    key = f"{state.namespace}/{cluster_id}".encode()
    if state.event == "retired":
        return key, None
    vector_sum = state.vector_sum
    return key, orjson.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "cluster_id": cluster_id,
            "namespace": state.namespace,
            "event": state.event,
            "size": state.size,
            "merged_into": None if state.merged_into is None else format_cluster_id(state.merged_into),
            "representative": state.representative,
            "label": state.label,
            "route": state.route,
            "created_at": format_time(state.created_at),
            "last_seen_at": format_time(state.last_seen_at),
            "model": state.model,
            "revision": state.revision,
            "in_flight": {
                "joins": [
                    {"topic": topic, "partition": partition, "offsets": offsets}
                    for (topic, partition), offsets in state.in_flight.joins.items()
                ],
                "absorbed": [format_cluster_id(absorbed) for absorbed in state.in_flight.absorbed],
            },
            "ruled": {
                "operation": state.operation,
                **write_ruling_fields(state.ruling),
                "separations": state.ruling.ends_of_clusters,
                "ends": state.ruling.separations if state.ruling.ends_of_levels else None,
                "exemplars": [exemplar_document(one) for one in state.ruling.exemplars],
                "represented_by": _chosen_of(state),
            },
            "kept": state.kept_members or None,
            "features": base64.b64encode(state.features).decode("ascii") if state.features else None,
            "vector": None
            if vector_sum is None
            else {"dimension": len(vector_sum), "members": state.members, "sum": _to_base64(vector_sum)},
        }
    )


def decode_cluster_state(key: bytes, value: bytes | None) -> ClusterState:
    """The inverse of `encode_cluster_state`; of a tombstone only namespace and id are known, the rest is empty.

    Raises BadRecord with stage `restore` and reason `invalid_state` if the record is not such a state, `newer_version`
    if a later release of questream wrote it.
    """
    namespace, cluster_id = _split_key(key)
    if value is None:
        return retired_cluster(namespace, cluster_id)
    read = _validated(_ClusterValue, value)
    if (read.namespace, read.cluster_id) != (namespace, cluster_id):
        raise _invalid_state()
    vector = read.vector
    try:
        plain = read_ruling_fields(read.ruled.model_extra or {})
    except ValueError:
        raise _invalid_state() from None
    return ClusterState(
        cluster_id=cluster_id,
        namespace=namespace,
        event=read.event,
        size=read.size,
        members=0 if vector is None else vector.members,
        vector_sum=None if vector is None else _to_vector(vector.sum, vector.dimension),
        merged_into=read.merged_into,
        representative=read.representative,
        own_representative=None if read.ruled.represented_by is None else read.ruled.represented_by.instead_of,
        created_at=read.created_at,
        last_seen_at=read.last_seen_at,
        model=read.model,
        revision=read.revision,
        in_flight=InFlight(
            {(join.topic, join.partition): tuple(join.offsets) for join in read.in_flight.joins},
            tuple(read.in_flight.absorbed),
        ),
        ruling=Ruling(
            label=read.label,
            route=read.route,
            separations=tuple(read.ruled.separations if read.ruled.ends is None else read.ruled.ends),
            exemplars=tuple(_to_exemplar(one) for one in read.ruled.exemplars if one.kind in get_args(ConstraintKind)),
            represented_by=_to_chosen(read.ruled.represented_by, read.representative),
            **plain,
        ),
        operation=read.ruled.operation,
        features=_to_features(read.features),
        kept_members=read.kept or "",
    )


def encode_namespace_state(state: NamespaceState) -> tuple[bytes, bytes]:
    """Key and JSON value of a namespace."""
    value = orjson.dumps(
        {
            "schema_version": SCHEMA_VERSION,
            "cluster_id": None,
            "namespace": state.namespace,
            "event": "namespace",
            "model": state.model,
            "model_revision": state.model_revision,
            "dimension": state.dimension,
            "similarity": state.similarity,
            "linkage": state.linkage,
            "threshold": state.threshold,
            "next_cluster": state.next_cluster,
            "mean": {"questions": state.mean_questions, "sum": _to_base64(state.mean_sum)},
            "seq": state.seq,
            "generation": state.generation,
            "rules": {"operation": state.rules.operation, "set": state.rules.values()},
        }
    )
    return state.namespace.encode(), value


def decode_namespace_state(key: bytes, value: bytes) -> NamespaceState:
    """The inverse of `encode_namespace_state`.

    Raises BadRecord with stage `restore` and reason `invalid_state` if the record is not such a state, `newer_version`
    if a later release of questream wrote it.
    """
    read = _validated(_NamespaceValue, value)
    if read.namespace.encode() != key:
        raise _invalid_state()
    return NamespaceState(
        namespace=read.namespace,
        model=read.model,
        model_revision=read.model_revision,
        similarity=read.similarity,
        linkage=read.linkage,
        threshold=read.threshold,
        next_cluster=read.next_cluster,
        mean_questions=read.mean.questions,
        mean_sum=_to_vector(read.mean.sum, read.dimension),
        seq=read.seq,
        generation=read.generation,
        rules=_to_rules(read.rules),
    )


def _read_cluster_id(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError("a cluster id is a string")
    return parse_cluster_id(text)


def _read_time(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError("a time is a string")
    return parse_time(text)


_Count = Annotated[int, Field(ge=0)]
_Number = Annotated[int, BeforeValidator(_read_cluster_id)]
_Milliseconds = Annotated[int, BeforeValidator(_read_time)]


class _Value(BaseModel):
    # Unknown fields are ignored, so that a worker can be rolled back past the one that added a field.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    schema_version: int = 1


class _Centroid(_Value):
    dimension: Annotated[int, Field(ge=1)]
    members: _Count
    sum: str


class _Join(_Value):
    topic: str
    partition: _Count
    offsets: list[_Count]


class _InFlight(_Value):
    joins: list[_Join]
    absorbed: list[_Number]


class _Place(_Value):
    topic: str
    partition: _Count
    offset: _Count


class _Exemplar(_Value):
    name: str
    kind: str
    vector: str
    place: _Place | None = None
    text: str | None = None


class _Chosen(_Value):
    name: str
    place: _Place | None = None
    instead_of: str | None = None


class _Ruled(_Value):
    # Those of `RULING_FIELDS` among them.
    model_config = ConfigDict(extra="allow")

    operation: _Count = 0
    separations: list[str] = []
    ends: list[str] | None = None
    exemplars: list[_Exemplar] = []
    represented_by: _Chosen | None = None


class _ClusterValue(_Value):
    cluster_id: _Number
    namespace: str
    event: Literal["created", "updated", "merged", "labelled"]
    size: _Count
    merged_into: _Number | None
    representative: str | None
    label: str | None
    route: str | None
    created_at: _Milliseconds
    last_seen_at: _Milliseconds
    model: str
    revision: _Count
    in_flight: _InFlight
    ruled: _Ruled = _Ruled()
    vector: _Centroid | None
    features: str | None = None
    kept: str | None = None


class _Mean(_Value):
    questions: _Count
    sum: str


class _Rules(_Value):
    operation: _Count = 0
    set: dict[str, Any] = {}


class _NamespaceValue(_Value):
    cluster_id: None
    namespace: str
    event: Literal["namespace"]
    model: str
    model_revision: str
    dimension: Annotated[int, Field(ge=1)]
    similarity: Literal["centred", "cosine"]
    linkage: Literal["adaptive", "average", "centroid", "first"]
    threshold: float
    next_cluster: Annotated[int, Field(ge=1)]
    mean: _Mean
    seq: _Count
    generation: _Count = 0
    rules: _Rules = _Rules()


_Read = TypeVar("_Read", bound=_Value)


def _validated(kind: type[_Read], value: bytes) -> _Read:
    version: object = 1
    try:
        read = kind.model_validate_json(value)
        version = read.schema_version
        if is_known(version):
            return read
    except ValidationError:
        # Not chained: its message quotes the value, the representative question included.
        with suppress(ValidationError):
            version = _Value.model_validate_json(value).schema_version
    raise _invalid_state() if is_known(version) else newer_version("the state is")


def _split_key(key: bytes) -> tuple[str, int]:
    try:
        namespace, _, cluster_id = key.decode().partition("/")
        return namespace, parse_cluster_id(cluster_id)
    except ValueError:
        pass
    raise _invalid_state()


def chosen_document(chosen: ChosenQuestion | None) -> dict[str, object] | None:
    """The representative that people chose, in JSON without its text; `read_chosen` is the inverse."""
    return None if chosen is None else {"name": chosen.name, "place": _place_document(chosen.place)}


def read_chosen(document: object) -> ChosenQuestion | None:
    """Parse a document of `chosen_document`. Raises ValueError for another."""
    return None if document is None else _to_chosen(_Chosen.model_validate(document), None)


def _chosen_of(state: ClusterState) -> dict[str, object] | None:
    document = chosen_document(state.ruling.represented_by)
    return document and {**document, "instead_of": state.own_representative}


def _to_chosen(read: _Chosen | None, text: str | None) -> ChosenQuestion | None:
    return None if read is None else ChosenQuestion(read.name, text, _to_place(read.place))


def _place_document(place: tuple[str, int, int] | None) -> dict[str, object] | None:
    return place and {"topic": place[0], "partition": place[1], "offset": place[2]}


def _to_place(read: _Place | None) -> tuple[str, int, int] | None:
    return None if read is None else (read.topic, read.partition, read.offset)


def exemplar_document(exemplar: Exemplar) -> dict[str, object]:
    """An exemplar in JSON; `read_exemplars` is the inverse."""
    return {
        "name": exemplar.name,
        "kind": exemplar.kind,
        "vector": base64.b64encode(exemplar.vector).decode("ascii"),
        "place": _place_document(exemplar.place),
        "text": exemplar.text,
    }


def read_exemplars(documents: Sequence[object]) -> tuple[Exemplar, ...]:
    """The exemplars of kinds that this release knows. Raises ValueError or BadRecord where one is none."""
    found = [_Exemplar.model_validate(document) for document in documents]
    return tuple(_to_exemplar(one) for one in found if one.kind in get_args(ConstraintKind))


def _to_exemplar(read: _Exemplar) -> Exemplar:
    """One of a kind that this release knows. Raises BadRecord where its vector is no base64."""
    try:
        vector = base64.b64decode(read.vector, validate=True)
    except ValueError:
        raise _invalid_state() from None
    return Exemplar(read.name, "must" if read.kind == "must" else "cannot", vector, _to_place(read.place), read.text)


def _to_rules(read: _Rules) -> NamespaceRules:
    try:
        return NamespaceRules.of(read.set, read.operation)
    except ValueError:
        raise _invalid_state() from None


def _to_base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype(_FLOAT32, copy=False).tobytes()).decode("ascii")


def _to_features(encoded: str | None) -> bytes:
    """Features that cannot be read are none: they are worth no cluster."""
    try:
        packed = base64.b64decode(encoded or "", validate=True)
        unpack(packed)
    except ValueError:
        return b""
    return packed


def _to_vector(encoded: str, dimension: int) -> Vector:
    try:
        vector = np.frombuffer(base64.b64decode(encoded, validate=True), _FLOAT32)
    except ValueError:
        vector = np.empty(0, _FLOAT32)
    if len(vector) != dimension or not np.isfinite(vector).all():
        raise _invalid_state()
    # A copy: the buffer is read-only and need not be in this machine's byte order.
    return vector.astype(np.float32)


def _invalid_state() -> BadRecord:
    return invalid("a state of the cluster topic under its own key")
