"""Decisions of the output topic, read again by the rule of versions."""

from __future__ import annotations

import json
import logging

import pytest

from questream.records import read_decision
from questream.records.published import _warn_of_version
from questream.records.versions import SCHEMA_VERSION
from tests.kit.logged import logged_by

DECISION = {"cluster_id": "c3", "namespace": "shop"}


@pytest.mark.parametrize(
    "more", [{}, {"schema_version": SCHEMA_VERSION}, {"schema_version": 1, "a field of later": [1]}], ids=str
)
def test_a_decision_of_a_known_version_is_read_with_fields_that_are_not_known(more: dict[str, object]) -> None:
    assert read_decision(json.dumps(DECISION | more).encode()) == DECISION | more


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"1", b"null", b'"text"', b"\xff"], ids=repr)
def test_what_is_no_json_object_is_no_decision(value: bytes | None) -> None:
    assert read_decision(value) is None


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, -1, "1", [1], 1.5], ids=repr)
def test_a_decision_of_another_version_is_passed_over_and_its_version_told_once(
    version: object, caplog: pytest.LogCaptureFixture
) -> None:
    _warn_of_version.cache_clear()
    value = json.dumps(DECISION | {"schema_version": version}).encode()
    with caplog.at_level(logging.WARNING):
        assert [read_decision(value) for _ in range(3)] == [None] * 3
    assert [record.getMessage() for record in logged_by(read_decision, caplog)] == [
        "decisions of a later release are passed over: upgrade questream"
    ]
