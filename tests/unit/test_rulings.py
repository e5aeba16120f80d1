"""What people say of a cluster is declared once, and every place that shows or keeps it has it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.domain import DISMISSIBLE, UNRULED, Ruling
from questream.records import load_schema
from questream.rulings import (
    RULING_FIELDS,
    describe_ruling,
    flags_of,
    read_flags,
    read_ruling_fields,
    write_ruling_fields,
)
from questream.server.api.history import DecidedOf

# What has forms of its own: names, separations, exemplars and the question that stands for a cluster.
OWN_FORMS = {"label", "route", "separations", "exemplars", "represented_by"}
DOCUMENTS = {
    "cluster-state": load_schema("cluster-state")["properties"]["ruled"]["properties"],
    "operation": load_schema("operation")["$defs"]["ruling"]["properties"],
    "API": DecidedOf.model_fields,
}

rulings = st.builds(
    Ruling,
    pinned=st.booleans(),
    muted=st.booleans(),
    dismissed=st.sets(st.sampled_from(DISMISSIBLE)).map(
        lambda ruling: tuple(one for one in DISMISSIBLE if one in ruling)
    ),
    threshold=st.none() | st.integers(1, 999_999).map(lambda millionths: millionths / 1_000_000),
    resolved_size=st.none() | st.integers(0, 2**53),
)


def test_each_field_of_a_ruling_is_declared_or_has_a_form_of_its_own() -> None:
    assert {one.name for one in RULING_FIELDS} == {field.name for field in fields(Ruling)} - OWN_FORMS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_people_say_is_in_each_document(document: str) -> None:
    assert {one.name for one in RULING_FIELDS} <= DOCUMENTS[document].keys()


@given(ruling=rulings)
def test_what_people_say_is_read_as_it_was_written(ruling: Ruling) -> None:
    assert Ruling(**read_flags(flags_of(ruling))) == ruling
    assert Ruling(**read_ruling_fields(json.loads(json.dumps(write_ruling_fields(ruling))))) == ruling


def test_flags_stand_in_the_order_that_earlier_releases_wrote_and_compared() -> None:
    ruling = Ruling(pinned=True, muted=True, dismissed=DISMISSIBLE, threshold=0.85, resolved_size=12)
    assert (flags_of(ruling), flags_of(UNRULED)) == ("pmnst0.850000r12", "-")


def test_what_an_earlier_release_did_not_write_has_its_default() -> None:
    assert Ruling(**read_ruling_fields({})) == UNRULED
    assert Ruling(**read_ruling_fields({"dismissed": ["later", "split"]})) == Ruling(dismissed=("split",))


@pytest.mark.parametrize(
    "damaged",
    [
        {"pinned": None},
        {"muted": 1},
        {"dismissed": "name"},
        {"dismissed": [1]},
        {"threshold": "0.5"},
        {"threshold": True},
        {"threshold": -1},
        {"resolved_size": 1.5},
        {"resolved_size": 10**400},
    ],
    ids=lambda damaged: "-".join(damaged),
)
def test_what_is_no_such_value_is_refused(damaged: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(damaged))):
        read_ruling_fields(damaged)


def test_each_of_them_is_described_where_people_set_it() -> None:
    assert describe_ruling(UNRULED) == []
    ruling = Ruling(pinned=True, muted=True, dismissed=("name",), threshold=0.85, resolved_size=1200)
    for one in RULING_FIELDS:
        assert describe_ruling(replace(UNRULED, **{one.name: getattr(ruling, one.name)})) == [
            one.describe(getattr(ruling, one.name))
        ]
    assert ", ".join(describe_ruling(ruling)) == (
        "pinned, muted, suggestions dismissed: name, threshold 0.85, resolved at 1,200 questions"
    )
