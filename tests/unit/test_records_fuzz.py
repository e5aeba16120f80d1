"""Whatever its bytes and headers, a record is a question to publish or a BadRecord to dead-letter, never a crash."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import orjson
from hypothesis import event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from questream.domain import Decision, Headers, Question, Record, Source
from questream.errors import BadRecord
from questream.records import (
    QuestionDecoder,
    Reason,
    dead_letter_headers,
    encode_decision,
    load_schema,
    passthrough_headers,
)
from questream.settings import InputSettings
from questream.settings.formats import FORMATS

MAX_TEXT_BYTES = 40
DECISION = Decision(1, 1.0, "created", 1, None, None, None, "model", 0.55, False, 0)
DECISION_SCHEMA = Draft202012Validator(load_schema("decision"))

any_text = st.text(st.characters(), max_size=60)  # lone surrogates included
sensible = st.sampled_from(["why?", "¿Dónde está?", "acme", "1.0", "text/plain", "application/json", "", " ", "\u200b"])
names = st.sampled_from(["id", "text", "q", "ns", "data", "data_base64"])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | sensible,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | any_text, inner, max_size=3),
    max_leaves=4,
)
likely = sensible | sensible | json_values
fields = {"id": likely | st.integers(), "text": sensible | any_text, "ns": sensible, "extra": json_values}
plain = st.fixed_dictionaries({}, optional=fields)
base64_text = st.binary(max_size=30).map(lambda raw: base64.b64encode(raw).decode())
events = st.fixed_dictionaries(
    {name: st.just("1.0") | likely for name in ("specversion", "id", "source", "type")},
    optional={"data": plain | likely, "data_base64": base64_text | likely, "datacontenttype": likely},
)
documents = plain | plain.map(lambda inner: {"q": inner}) | events | json_values


@st.composite
def damaged(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with a piece cut out or put in: what a parser sees that was nearly right."""
    raw = draw(source)
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(raw))] * 2)))
    return raw[:start] + draw(st.binary(max_size=4)) + raw[end:]


# json writes NaN and lone surrogates as other producers do; the second form keeps surrogates as (invalid) UTF-8.
json_bytes = documents.map(lambda document: json.dumps(document).encode()) | documents.map(
    lambda document: json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
)
leads = st.sampled_from([b"", b" ", b"\xef\xbb\xbf"])
text_bytes = (sensible | any_text).map(lambda text: text.encode("utf-8", "replace"))
values = (
    st.builds(bytes.__add__, leads, json_bytes) | damaged(json_bytes) | text_bytes | st.binary(max_size=80) | st.none()
)
header_values = st.binary(max_size=40) | st.sampled_from(
    [b"1.0", b"text/plain", b"application/json", b"application/cloudevents+json", b"acme", b"", None]
)
header_names = st.sampled_from(["ce_id", "content-type", "Content-Type", "ns", "traceparent"]) | st.text(max_size=10)
some_headers = st.lists(st.tuples(header_names, header_values), max_size=4).map(tuple)
event_headers = st.tuples(
    *[st.tuples(st.just(f"ce_{name}"), st.just(b"1.0") | header_values) for name in ("specversion", "id", "source")],
    st.tuples(st.just("ce_type"), st.just(b"asked")),
    st.tuples(st.just("content-type"), header_values),
)
headers: st.SearchStrategy[Any] = st.just(()) | some_headers | event_headers
inputs = st.builds(
    InputSettings,
    format=st.sampled_from(list(FORMATS)),
    id_field=st.sampled_from(["id", "q.id"]),
    text_field=st.sampled_from(["text", "text", "q.text"]),
    namespace_field=st.sampled_from([None, "ns", "q.ns"]),
    namespace_header=st.sampled_from([None, "ns"]),
    max_text_bytes=st.just(MAX_TEXT_BYTES),
)


def decoded(input: InputSettings, record: Record) -> Question | BadRecord:
    try:
        return QuestionDecoder(input, "default").decode(record)
    except BadRecord as error:
        return error


@settings(max_examples=300, deadline=None)
@given(input=inputs, value=values, headers=headers)
def test_any_record_is_a_question_or_a_bad_record(input: InputSettings, value: bytes | None, headers: Headers) -> None:
    record = Record(Source("questions", 0, 7, -1), None, value, headers)
    outcome = decoded(input, record)
    if isinstance(outcome, BadRecord):
        event(outcome.reason)
        assert outcome.stage == "decode"
        assert outcome.reason in set(Reason)
        assert outcome.__context__ is None
        sent = dead_letter_headers(record, outcome, attempts=1)
    else:
        event("question")
        assert outcome.record is record
        assert 0 < len(outcome.id) <= 512
        assert outcome.text.strip()
        assert len(outcome.text.encode()) <= MAX_TEXT_BYTES
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", outcome.namespace)
        DECISION_SCHEMA.validate(orjson.loads(encode_decision(outcome, DECISION)))
        sent = passthrough_headers(record)
    # What our producer asks of headers.
    assert all(isinstance(name, str) and isinstance(header, bytes | None) for name, header in sent)
