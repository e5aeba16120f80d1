"""The compacted cluster topic: what is written comes back, bit by bit, and what is broken is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from jsonschema import Draft202012Validator

from questream.clustering.second_look.kept import pack
from questream.domain import ChosenQuestion, ClusterState, Exemplar, InFlight, NamespaceState, Ruling, Vector
from questream.errors import BadRecord
from questream.records import (
    decode_cluster_state,
    decode_namespace_state,
    encode_cluster_state,
    encode_namespace_state,
    is_namespace_key,
    load_schema,
)

CLUSTER_SCHEMA = Draft202012Validator(load_schema("cluster-state"))
NAMESPACE_SCHEMA = Draft202012Validator(load_schema("namespace-state"))
REPRESENTATIVE = "Where is my new card?"
CLUSTER = ClusterState(
    cluster_id=17,
    namespace="acme",
    event="updated",
    size=300,
    members=256,
    vector_sum=np.array([11.0, 4.5], np.float32),
    merged_into=None,
    representative=REPRESENTATIVE,
    created_at=1_795_486_680_456,
    last_seen_at=1_795_486_690_001,
    model="all-mpnet-base-v2",
    revision=12,
    in_flight=InFlight({("questions", 3): (7, 11)}, (21, 20)),
    ruling=Ruling(
        label="Card has not arrived",
        route="cards",
        pinned=True,
        separations=("5f0c+", "17ab-"),
        exemplars=(Exemplar("01-0", "must", b"\x00<\x00\x00", ("questions", 3, 7)), Exemplar("01-1", "cannot", b"ab")),
        dismissed=("split",),
    ),
    operation=3,
    kept_members="questions/3/11:0.8125:00c0ffee;;",
)
NAMESPACE = NamespaceState(
    namespace="acme",
    model="all-mpnet-base-v2",
    model_revision="e8c3b32",
    similarity="centred",
    linkage="average",
    threshold=0.55,
    next_cluster=22,
    mean_questions=1000,
    mean_sum=np.array([100.0, 50.0], np.float32),
    seq=1311,
)

namespaces = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
vectors = npst.arrays(
    np.float32, st.integers(1, 40), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)
counts = st.integers(0, 2**53)
moments = st.integers(-62_135_596_800_000, 253_402_300_799_999)
clusters = st.builds(
    ClusterState,
    cluster_id=st.integers(1, 2**53),
    namespace=namespaces,
    event=st.sampled_from(["created", "updated", "merged", "labelled"]),
    size=counts,
    members=counts,
    vector_sum=vectors,
    merged_into=st.none() | st.integers(1, 2**53),
    representative=st.none() | st.text(),
    created_at=moments,
    last_seen_at=moments,
    model=st.text(),
    revision=counts,
    ruling=st.builds(Ruling, label=st.none() | st.text(), route=st.none() | st.text()),
)
states = clusters | clusters.map(lambda state: replace(state, vector_sum=None, members=0))


def assert_equal(one: Any, other: Any) -> None:
    for field in fields(one):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert its.dtype == np.float32
            assert mine.tobytes() == its.tobytes()
        else:
            assert mine == its
            assert type(mine) is type(its)


ENCODED = [
    (decode_cluster_state, *encode_cluster_state(CLUSTER)),
    (decode_namespace_state, *encode_namespace_state(NAMESPACE)),
]


@pytest.mark.parametrize(("decode", "key", "value"), ENCODED, ids=["cluster", "namespace"])
class TestVersions:
    """What an earlier or a later release wrote into the topic."""

    def test_value_without_a_version_is_of_the_first(self, decode: Any, key: bytes, value: bytes) -> None:
        document = orjson.loads(value)
        del document["schema_version"]
        assert_equal(decode(key, value), decode(key, orjson.dumps(document)))

    def test_added_fields_are_passed_over(self, decode: Any, key: bytes, value: bytes) -> None:
        document = orjson.loads(value) | {"added": {"by": "a later release"}}
        assert_equal(decode(key, value), decode(key, orjson.dumps(document)))

    @pytest.mark.parametrize("changed", [{}, {"model": 7}, {"namespace": None}])
    def test_newer_meaning_is_refused_as_such(
        self, decode: Any, key: bytes, value: bytes, changed: dict[str, Any]
    ) -> None:
        document = orjson.loads(value) | {"schema_version": 2} | changed
        with pytest.raises(BadRecord, match="upgrade questream") as caught:
            decode(key, orjson.dumps(document))
        assert caught.value.reason == "newer_version"

    @pytest.mark.parametrize("version", [0, -1, "1", 1.5, None])
    def test_what_is_no_version_is_no_state(self, decode: Any, key: bytes, value: bytes, version: object) -> None:
        with pytest.raises(BadRecord):
            decode(key, orjson.dumps(orjson.loads(value) | {"schema_version": version}))


@given(states)
def test_cluster_state_comes_back_as_it_was(state: ClusterState) -> None:
    key, value = encode_cluster_state(state)
    assert key == f"{state.namespace}/c{state.cluster_id}".encode()
    assert not is_namespace_key(key)
    assert value is not None
    CLUSTER_SCHEMA.validate(orjson.loads(value))
    assert_equal(state, decode_cluster_state(key, value))


@given(
    st.builds(
        NamespaceState,
        namespace=namespaces,
        model=st.text(),
        model_revision=st.text(),
        similarity=st.sampled_from(["centred", "cosine"]),
        linkage=st.sampled_from(["adaptive", "average", "centroid", "first"]),
        threshold=st.floats(-1, 1),
        next_cluster=st.integers(1, 2**53),
        mean_questions=counts,
        mean_sum=vectors,
        seq=counts,
    )
)
def test_namespace_state_comes_back_as_it_was(state: NamespaceState) -> None:
    key, value = encode_namespace_state(state)
    assert key == state.namespace.encode()
    assert is_namespace_key(key)
    document = orjson.loads(value)
    NAMESPACE_SCHEMA.validate(document)
    assert document["dimension"] == state.dimension == len(state.mean_sum)
    assert_equal(state, decode_namespace_state(key, value))


@pytest.mark.parametrize("own", [REPRESENTATIVE, None])
@pytest.mark.parametrize("place", [("questions", 3, 7), None])
def test_what_people_chose_to_stand_for_a_cluster_is_published(
    own: str | None, place: tuple[str, int, int] | None
) -> None:
    chosen = ChosenQuestion("0a-00", "When does my card come?", place)
    state = replace(
        CLUSTER,
        representative=chosen.text,
        own_representative=own,
        ruling=replace(CLUSTER.ruling, represented_by=chosen),
    )
    key, value = encode_cluster_state(state)
    assert value is not None
    assert orjson.loads(value)["representative"] == "When does my card come?"
    assert decode_cluster_state(key, value).ruling == state.ruling
    assert decode_cluster_state(key, value).own_representative == own


def test_where_people_keep_a_cluster_is_published_beside_its_separations() -> None:
    """In the order of all, and where an earlier release reads its separations alone."""
    ends = ("i5=", "5f0c+", "i17abe-")
    key, value = encode_cluster_state(replace(CLUSTER, ruling=replace(CLUSTER.ruling, separations=ends)))
    assert value is not None
    ruled = orjson.loads(value)["ruled"]
    assert (ruled["separations"], ruled["ends"]) == (["5f0c+"], list(ends))
    CLUSTER_SCHEMA.validate(orjson.loads(value))
    assert decode_cluster_state(key, value).ruling.separations == ends
    # As such a release publishes it again.
    of_before = changed(value, ruled={**ruled, "ends": None, "separations": list(ends)})
    assert decode_cluster_state(key, of_before).ruling.kept_in == ("i5",)


def test_cluster_value_holds_the_published_fields() -> None:
    _, value = encode_cluster_state(CLUSTER)
    assert value is not None
    assert orjson.loads(value) == {
        "schema_version": 1,
        "cluster_id": "c17",
        "namespace": "acme",
        "event": "updated",
        "size": 300,
        "merged_into": None,
        "representative": REPRESENTATIVE,
        "label": "Card has not arrived",
        "route": "cards",
        "created_at": "2026-11-24T02:18:00.456Z",
        "last_seen_at": "2026-11-24T02:18:10.001Z",
        "model": "all-mpnet-base-v2",
        "revision": 12,
        "ruled": {
            "operation": 3,
            "pinned": True,
            "separations": ["5f0c+", "17ab-"],
            "ends": None,
            "muted": False,
            "resolved_size": None,
            "threshold": None,
            "dismissed": ["split"],
            "exemplars": [
                {
                    "name": "01-0",
                    "kind": "must",
                    "vector": "ADwAAA==",
                    "place": {"topic": "questions", "partition": 3, "offset": 7},
                    "text": None,
                },
                {"name": "01-1", "kind": "cannot", "vector": "YWI=", "place": None, "text": None},
            ],
            "represented_by": None,
        },
        "in_flight": {
            "joins": [{"topic": "questions", "partition": 3, "offsets": [7, 11]}],
            "absorbed": ["c21", "c20"],
        },
        "features": None,
        "kept": "questions/3/11:0.8125:00c0ffee;;",
        "vector": {"dimension": 2, "members": 256, "sum": "AAAwQQAAkEA="},
    }


def test_features_are_read_as_they_were_written_and_a_state_without_them_has_none() -> None:
    packed = pack(((1, 2, 3), (4,)))
    key, value = encode_cluster_state(replace(CLUSTER, features=packed))
    assert value is not None
    assert decode_cluster_state(key, value).features == packed
    CLUSTER_SCHEMA.validate(orjson.loads(value))
    told = orjson.loads(value)
    del told["features"]
    assert decode_cluster_state(key, orjson.dumps(told)).features == b""
    for broken in ("no base64!", "AQIAAAABAAAA"):
        # They are worth no cluster.
        assert decode_cluster_state(key, orjson.dumps({**told, "features": broken})).features == b""


@pytest.mark.parametrize("of", [np.float64, ">f4"])
def test_vector_of_any_float_type_is_written_as_little_endian_float32(of: Any) -> None:
    key, value = encode_cluster_state(replace(CLUSTER, vector_sum=np.array([11.0, 4.5], of)))
    assert_equal(CLUSTER, decode_cluster_state(key, value))


def test_decoded_vector_can_be_added_to() -> None:
    key, value = encode_cluster_state(CLUSTER)
    vector = decode_cluster_state(key, value).vector_sum
    assert vector is not None
    vector += 1.0
    assert vector.tolist() == [12.0, 5.5]


def test_retired_cluster_is_a_tombstone() -> None:
    key, value = encode_cluster_state(replace(CLUSTER, event="retired"))
    assert (key, value) == (b"acme/c17", None)
    state = decode_cluster_state(key, value)
    assert (state.namespace, state.cluster_id, state.event, state.vector_sum) == ("acme", 17, "retired", None)


def test_field_of_a_newer_worker_is_ignored() -> None:
    key, value = encode_cluster_state(CLUSTER)
    assert value is not None
    assert_equal(CLUSTER, decode_cluster_state(key, orjson.dumps(orjson.loads(value) | {"colour": "red"})))


def changed(value: bytes | None, **members: Any) -> bytes:
    assert value is not None
    return orjson.dumps(orjson.loads(value) | members)


def vector_of(numbers: list[float], dimension: int = 2) -> dict[str, Any]:
    _, value = encode_cluster_state(replace(CLUSTER, vector_sum=np.array(numbers, np.float32)))
    vector: dict[str, Any] = orjson.loads(value or b"")["vector"]
    return vector | {"dimension": dimension}


CLUSTER_KEY, CLUSTER_VALUE = encode_cluster_state(CLUSTER)
NAMESPACE_KEY, NAMESPACE_VALUE = encode_namespace_state(NAMESPACE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", CLUSTER_VALUE),
        (b"\xff/c17", CLUSTER_VALUE),
        (b"acme", CLUSTER_VALUE),
        (b"acme/17", CLUSTER_VALUE),
        (b"acme/c0", CLUSTER_VALUE),
        (b"acme/c18", CLUSTER_VALUE),
        (b"other/c17", CLUSTER_VALUE),
        (b"acme/c" + b"9" * 10_000, None),
        (CLUSTER_KEY, b""),
        (CLUSTER_KEY, b"\xff"),
        (CLUSTER_KEY, b"[]"),
        (CLUSTER_KEY, b"[" * 100_000),
        (CLUSTER_KEY, NAMESPACE_VALUE),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, cluster_id=17)),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, event="retired")),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, size="300")),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, size=-1)),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, merged_into="17")),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, created_at=1_795_486_680_456)),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, created_at="yesterday")),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, vector={})),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, vector=vector_of([1.0]))),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, vector=vector_of([1.0, float("nan")]))),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, vector=vector_of([1.0, 2.0]) | {"sum": "AAA"})),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, vector=vector_of([1.0, 2.0]) | {"sum": "AAAw*QAAkEA="})),
        (CLUSTER_KEY, changed(CLUSTER_VALUE, vector=vector_of([1.0, 2.0]) | {"sum": "é"})),
    ],
)
def test_what_is_no_cluster_state_is_refused_and_never_quoted(key: bytes, value: bytes | None) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_cluster_state(key, value)
    assert (caught.value.stage, caught.value.reason) == ("restore", "invalid_state")
    assert caught.value.__context__ is None
    assert REPRESENTATIVE not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"other", NAMESPACE_VALUE),
        (b"\xff", NAMESPACE_VALUE),
        (NAMESPACE_KEY, b""),
        (NAMESPACE_KEY, CLUSTER_VALUE),
        (NAMESPACE_KEY, changed(NAMESPACE_VALUE, cluster_id="c1")),
        (NAMESPACE_KEY, changed(NAMESPACE_VALUE, dimension=3)),
        (NAMESPACE_KEY, changed(NAMESPACE_VALUE, linkage="complete")),
        (NAMESPACE_KEY, changed(NAMESPACE_VALUE, threshold=None)),
        (NAMESPACE_KEY, changed(NAMESPACE_VALUE, next_cluster=0)),
        (NAMESPACE_KEY, changed(NAMESPACE_VALUE, mean=None)),
    ],
)
def test_what_is_no_namespace_state_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_namespace_state(key, value)
    assert (caught.value.stage, caught.value.reason) == ("restore", "invalid_state")
    assert caught.value.__context__ is None


@given(key=st.binary(max_size=20) | st.just(CLUSTER_KEY), value=st.binary(max_size=60))
def test_any_bytes_are_a_state_or_a_bad_record(key: bytes, value: bytes) -> None:
    for decode in (decode_cluster_state, decode_namespace_state):
        with pytest.raises(BadRecord):
            decode(key, value)


def test_mean_before_the_first_question_is_zeros() -> None:
    zeros: Vector = np.zeros(3, np.float32)
    key, value = encode_namespace_state(replace(NAMESPACE, mean_questions=0, mean_sum=zeros))
    assert decode_namespace_state(key, value).mean_sum.tolist() == [0.0, 0.0, 0.0]


def test_exemplars_of_a_later_kind_are_left_out_and_damaged_ones_are_no_state() -> None:
    key, value = encode_cluster_state(CLUSTER)
    document = orjson.loads(value or b"")
    document["ruled"]["exemplars"][0]["kind"] = "later"
    assert decode_cluster_state(key, orjson.dumps(document)).ruling.exemplars == CLUSTER.ruling.exemplars[1:]
    document["ruled"]["exemplars"][1]["vector"] = "?"
    with pytest.raises(BadRecord):
        decode_cluster_state(key, orjson.dumps(document))
