"""Records out: decisions, and the headers of decisions and dead letters."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from questream.domain import Decision, Headers, Question, Record, RunnerUp, Source
from questream.errors import BadRecord
from questream.records import (
    Origin,
    Reason,
    dead_letter_headers,
    dead_letter_origin,
    encode_decision,
    load_schema,
    passthrough_headers,
    strip_dead_letter_headers,
)
from questream.records.schemas import SCHEMA_NAMES
from questream.records.times import format_time, parse_time
from questream.records.versions import SCHEMA_VERSION

TEXT = "Where is my new card?"
QUESTION = Question("q-1", TEXT, "acme", Record(Source("questions", 3, 1042, 1_795_486_680_123), b"key", b"{}"))
DECISION = Decision(
    cluster_id=17,
    similarity=0.73451249,
    outcome="joined",
    cluster_size=12,
    runner_up=RunnerUp(4, 0.40123149),
    label="Card has not arrived",
    route="cards",
    model="all-mpnet-base-v2",
    threshold=0.55,
    truncated=False,
    decided_at=1_795_486_680_456,
)
SCHEMA = Draft202012Validator(load_schema("decision"))
INT64 = st.integers(-(2**63), 2**63 - 1)


def encoded(decision: Decision, question: Question = QUESTION) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(encode_decision(question, decision))
    SCHEMA.validate(document)
    return document


class TestDecision:
    def test_holds_the_published_fields_in_their_order(self) -> None:
        expected = {
            "question_id": "q-1",
            "namespace": "acme",
            "cluster_id": "c17",
            "similarity": 0.734512,
            "outcome": "joined",
            "cluster_size": 12,
            "runner_up": {"cluster_id": "c4", "similarity": 0.401231},
            "margin": 0.333281,
            "label": "Card has not arrived",
            "route": "cards",
            "confidence": None,
            "suggested_route": None,
            "model": "all-mpnet-base-v2",
            "threshold": 0.55,
            "truncated": False,
            "unknown_share": 0.0,
            "checked_by": None,
            "reason": None,
            "path": None,
            "prepared_by": None,
            "source": {"topic": "questions", "partition": 3, "offset": 1042, "timestamp": 1_795_486_680_123},
            "decided_at": "2026-11-24T02:18:00.456Z",
            "schema_version": 1,
        }
        assert json.dumps(encoded(DECISION)) == json.dumps(expected)

    def test_never_holds_the_text(self) -> None:
        assert TEXT.encode() not in encode_decision(QUESTION, DECISION)

    def test_without_a_near_cluster_has_neither_cluster_nor_margin(self) -> None:
        document = encoded(
            replace(DECISION, cluster_id=None, similarity=None, outcome="replayed", cluster_size=0, runner_up=None)
        )
        assert [document[name] for name in ("cluster_id", "similarity", "runner_up", "margin")] == [None] * 4

    def test_keeps_a_float32_cosine_in_range(self) -> None:
        above = float(np.float32(1.0000012))
        assert encoded(replace(DECISION, similarity=above))["similarity"] == 1.0
        below = encoded(replace(DECISION, runner_up=RunnerUp(4, -above)))["runner_up"]
        assert below["similarity"] == -1.0

    @given(
        decision=st.builds(
            Decision,
            cluster_id=st.none() | st.integers(1, 2**53),
            similarity=st.none() | st.floats(-1, 1),
            outcome=st.sampled_from(["joined", "created", "replayed", "unmatched"]),
            cluster_size=st.integers(0, 2**53),
            runner_up=st.none() | st.builds(RunnerUp, st.integers(1, 2**53), st.floats(-1, 1)),
            label=st.none() | st.text(),
            route=st.none() | st.text(),
            confidence=st.none() | st.floats(0, 1),
            suggested_route=st.none() | st.text(),
            model=st.text(),
            threshold=st.floats(-1, 1),
            truncated=st.booleans(),
            unknown_share=st.floats(0.0, 1.0),
            decided_at=INT64,
        ),
        id=st.text(min_size=1, max_size=512),
        timestamp=INT64,
    )
    def test_of_any_kind_meets_the_schema(self, decision: Decision, id: str, timestamp: int) -> None:
        source = Source("questions", 0, 0, timestamp)
        document = encoded(decision, Question(id, TEXT, "default", Record(source, None, b"")))
        assert document["question_id"] == id
        assert document["source"]["timestamp"] == timestamp
        if decision.similarity is not None:
            assert math.isclose(document["similarity"], decision.similarity, abs_tol=5.1e-7)


class TestTimes:
    @given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
    def test_time_is_that_of_datetime_and_comes_back(self, milliseconds: int) -> None:
        text = format_time(milliseconds)
        assert parse_time(text) == milliseconds
        moment = datetime.fromisoformat(text)
        assert moment.tzinfo == UTC
        assert moment.microsecond == milliseconds % 1000 * 1000

    def test_time_of_a_broken_clock_stays_in_the_calendar(self) -> None:
        assert format_time(2**63 - 1) == "9999-12-31T23:59:59.999Z"
        assert format_time(-(2**63)) == "0001-01-01T00:00:00.000Z"
        assert format_time(-1) == "1969-12-31T23:59:59.999Z"

    @pytest.mark.parametrize("text", ["", "now", "2026-11-24T02:18:00", "2026-13-01T00:00:00Z"])
    def test_text_that_is_no_utc_time_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            parse_time(text)


TRACE: Headers = (("traceparent", b"00-0af7-b7ad-01"), ("tracestate", b"a=b"))
MIXED: Headers = (*TRACE, ("x", b"\xff\x00"), ("x", b"2"), ("", b""), ("questream-tenant", b"acme"))
BAD = BadRecord("decode", Reason.NOT_JSON, "the value must be JSON")
ADDED = [
    ("questream-stage", b"decode"),
    ("questream-error", b"BadRecord"),
    ("questream-reason", b"not_json"),
    ("questream-topic", b"questions"),
    ("questream-partition", b"3"),
    ("questream-offset", b"1042"),
    ("questream-attempts", b"1"),
]


def record(headers: Headers) -> Record:
    return Record(QUESTION.record.source, b"key", b"{", headers)


class TestHeaders:
    def test_pass_through_untouched_and_in_order(self) -> None:
        assert passthrough_headers(record(MIXED)) == list(MIXED)
        assert passthrough_headers(record(())) == []

    def test_that_describe_the_input_event_stay_behind(self) -> None:
        event = (("ce_id", b"1"), ("CE_type", b"asked"), ("Content-Type", b"text/plain"))
        assert passthrough_headers(record((*event, *TRACE))) == list(TRACE)

    def test_of_a_dead_letter_are_the_records_own_then_the_errors(self) -> None:
        own = (("ce_id", b"1"), ("content-type", b"text/plain"), *MIXED)
        assert dead_letter_headers(record(own), BAD, attempts=1) == [*own, *ADDED]

    def test_of_an_earlier_dead_letter_are_replaced(self) -> None:
        earlier = (("questream-reason", b"old"), *MIXED, ("questream-offset", b"5"), ("questream-topic", b"old"))
        assert dead_letter_headers(record(earlier), BAD, attempts=1) == [*MIXED, *ADDED]

    def test_of_a_dead_letter_come_off_for_its_replay(self) -> None:
        assert strip_dead_letter_headers(dead_letter_headers(record(MIXED), BAD, attempts=3)) == list(MIXED)

    def test_of_a_dead_letter_name_its_origin(self) -> None:
        assert dead_letter_origin(dead_letter_headers(record(MIXED), BAD, attempts=3)) == Origin("questions", 3, 1042)

    def test_that_are_null_stay_null(self) -> None:
        null = (("x", None),)
        assert passthrough_headers(record(null)) == [("x", None)]
        assert dead_letter_headers(record(null), BAD, attempts=1) == [("x", None), *ADDED]

    @pytest.mark.parametrize(
        "origin",
        [
            {},
            {"questream-partition": None},
            {"questream-topic": None},
            {"questream-topic": b""},
            {"questream-topic": b"\xff"},
            {"questream-partition": b"one"},
            {"questream-partition": b"-1"},
            {"questream-offset": b""},
            {"questream-offset": b"-1"},
        ],
    )
    def test_that_name_no_origin_are_refused(self, origin: dict[str, bytes | None]) -> None:
        headers: Any = (dict(ADDED) | origin).items() if origin else ()
        with pytest.raises(BadRecord) as caught:
            dead_letter_origin(headers)
        assert (caught.value.stage, caught.value.reason) == ("replay", "invalid_origin")

    @given(
        headers=st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20))).map(tuple),
        reason=st.sampled_from(Reason),
        attempts=st.integers(0, 100),
    )
    def test_of_any_dead_letter_meet_the_schema(self, headers: Headers, reason: Reason, attempts: int) -> None:
        sent = dead_letter_headers(record(headers), BadRecord("decode", reason.value, "message"), attempts)
        document = {name: (value or b"").decode("utf-8", "replace") for name, value in sent}
        Draft202012Validator(load_schema("dead-letter")).validate(document)


class TestSchemas:
    @pytest.mark.parametrize("name", SCHEMA_NAMES)
    def test_schema_is_valid_and_so_are_its_examples(self, name: str) -> None:
        schema = load_schema(name)
        Draft202012Validator.check_schema(schema)
        assert schema["examples"]
        for example in schema["examples"]:
            Draft202012Validator(schema).validate(example)

    @pytest.mark.parametrize("name", SCHEMA_NAMES)
    def test_schema_describes_every_field_and_lets_others_be_added(self, name: str) -> None:
        def check(schema: dict[str, Any]) -> None:
            assert schema["description"]
            if "properties" in schema:
                assert schema["additionalProperties"] is True
                # Fields that came later are not required: a topic holds what was written before them, too.
                assert set(schema["required"]) <= set(schema["properties"])
                for field in schema["properties"].values():
                    check(field)

        check(load_schema(name))

    def test_dead_letter_schema_names_every_reason_of_the_stages_before_the_device(self) -> None:
        named = load_schema("dead-letter")["properties"]["questream-reason"]["examples"]
        of_stage_decode = set(Reason) - {Reason.INVALID_STATE, Reason.INVALID_ORIGIN, Reason.NEWER_VERSION}
        assert set(named) == of_stage_decode | {"no_tokens", "mostly_unknown"}

    @pytest.mark.parametrize("name", SCHEMA_NAMES)
    def test_schema_id_says_its_version(self, name: str) -> None:
        assert load_schema(name)["$id"] == f"urn:questream:schema:{name}:{SCHEMA_VERSION}"

    def test_unknown_schema_is_refused(self) -> None:
        with pytest.raises(ValueError, match="decision, cluster-state, namespace-state, dead-letter"):
            load_schema("../decision")
