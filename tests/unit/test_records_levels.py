"""Levels on the cluster topic: in parts, of which the newest version that is whole counts."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from jsonschema import Draft202012Validator

from questream.clustering.levels import Levels, Node, leaf
from questream.clustering.stored_levels import StoredLevels
from questream.errors import BadRecord
from questream.records import PublishedLevels, encode_levels, is_cluster_key, is_levels_key, load_schema

SCHEMA = Draft202012Validator(load_schema("levels"))
SMALL = StoredLevels(
    Levels({leaf(1): Node(1, 5), leaf(2): Node(2, 2), Node(1, 5): Node(2, 2)}, (6, 3), frozenset({1})),
    2,
    {Node(1, 3): Node(1, 5), Node(1, 4): None},
    7,
    {Node(1, 5): ("cards", None), Node(2, 2): ("money", "bank")},
    3,
)
# Three parts, of which one has communities that began in another.
LARGE = StoredLevels(
    Levels({leaf(n): Node(1, n % 3 + 1) for n in range(1, 12_001)}, (4, 1), frozenset(range(1, 6000))),
    12_000,
    {Node(1, 9): Node(1, 1)},
    8,
)

Record = tuple[bytes, bytes | None]


def published(*records: Record) -> PublishedLevels:
    found = PublishedLevels()
    for record in records:
        found.add(*record)
    return found


@pytest.mark.parametrize("levels", [SMALL, LARGE, StoredLevels(version=1)])
def test_levels_come_back_from_their_parts_in_any_order(levels: StoredLevels) -> None:
    records = encode_levels("default", levels)
    found = published(*reversed(records)).whole()
    assert found is not None
    assert found == levels
    assert found.levels.kept == levels.levels.kept
    for key, value in records:
        assert is_levels_key(key)
        assert not is_cluster_key(key)
        assert len(value) < 200_000
        SCHEMA.validate(orjson.loads(value))
    assert all(SCHEMA.is_valid(example) for example in load_schema("levels")["examples"])


def test_parts_of_an_earlier_version_count_for_nothing() -> None:
    later = replace(SMALL, version=9)
    assert published(*encode_levels("default", LARGE), *encode_levels("default", later)).whole() == later
    assert published(*encode_levels("default", later), *encode_levels("default", LARGE)).whole() == later


def test_levels_of_a_release_that_knows_no_kept_clusters_are_the_same() -> None:
    records = []
    for key, value in encode_levels("default", SMALL):
        part = orjson.loads(value)
        del part["kept"]
        records.append((key, orjson.dumps(part)))
    found = published(*records).whole()
    assert found is not None
    assert found == SMALL
    assert found.levels.kept == frozenset()


def test_without_a_whole_version_the_numbers_that_come_next_are_known() -> None:
    first, *_ = encode_levels("default", LARGE)
    assert published(first).whole() == StoredLevels(Levels(next_numbers=(4, 1)), version=8)
    found = published(*encode_levels("default", SMALL), first).whole()
    assert found == replace(SMALL, version=8)
    assert PublishedLevels().whole() is None


def test_a_deleted_namespace_has_none_and_one_that_begins_anew_its_own() -> None:
    tombstones = [(key, None) for key, _ in encode_levels("default", LARGE)]
    gone = published(*encode_levels("default", LARGE), *tombstones)
    assert (gone.whole(), gone.version) == (None, 0)
    anew = StoredLevels(Levels({leaf(1): Node(1, 1)}, (2, 1)), 1, {}, 9)
    for record in encode_levels("default", anew):
        gone.add(*record)
    assert gone.whole() == anew


def test_a_later_release_adds_fields_and_its_other_meaning_is_refused() -> None:
    ((key, value),) = encode_levels("default", SMALL)
    document = orjson.loads(value)
    assert published((key, orjson.dumps({**document, "added": 1}))).whole() == SMALL
    with pytest.raises(BadRecord, match="upgrade questream"):
        published((key, orjson.dumps({**document, "schema_version": 2})))


@pytest.mark.parametrize(
    "changed",
    [
        {"namespace": "other"},
        {"part": 1},
        {"parts": 0},
        {"within": []},
        {"ended": [["i5"]]},
        {"next": [1]},
        {"next": 1},
        {"named": []},
        {"named": {"i5": {"label": 7, "route": None}}},
        {"named": {"five": {"label": None, "route": None}}},
        {"operation": None},
    ],
)
def test_what_is_no_part_of_levels_is_refused(changed: dict[str, object]) -> None:
    ((key, value),) = encode_levels("default", SMALL)
    with pytest.raises(BadRecord, match="must be a part of levels"):
        published((key, orjson.dumps(orjson.loads(value) | changed)))


@pytest.mark.parametrize("value", [b"", b"[]", b"null", b"{", b"7"])
def test_what_is_no_json_object_is_refused(value: bytes) -> None:
    with pytest.raises(BadRecord, match="must be a part of levels"):
        published((b"default/levels/0", value))
