"""CloudEvents in: both modes, each kind of data, and what the specification forbids."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from questream.domain import Headers, Question, Record, Source
from questream.errors import BadRecord
from questream.records import QuestionDecoder
from questream.settings import InputSettings

SOURCE = Source("questions", 3, 1042, 1_795_486_680_123)
TEXT = "Where is my new card?"
HEADERS = {
    "ce_specversion": b"1.0",
    "ce_id": b"event-1",
    "ce_source": b"/shop/chat",
    "ce_type": b"com.example.question.asked",
}
EVENT = {"specversion": "1.0", "id": "event-1", "source": "/shop/chat", "type": "com.example.question.asked"}
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def decode(value: bytes | None, headers: Headers = (), **settings: Any) -> Question:
    return QuestionDecoder(InputSettings(**settings), "default").decode(Record(SOURCE, None, value, headers))


def reason(value: bytes | None, headers: Headers = (), **settings: Any) -> str:
    with pytest.raises(BadRecord) as caught:
        decode(value, headers, **settings)
    assert caught.value.stage == "decode"
    assert caught.value.__context__ is None
    return caught.value.reason


def binary(content_type: str | None = None, **changed: Any) -> Headers:
    headers: dict[str, Any] = HEADERS | changed
    if content_type is not None:
        headers["content-type"] = content_type.encode()
    return tuple(headers.items())


def structured(**members: object) -> bytes:
    return json.dumps(EVENT | members).encode()


@pytest.mark.parametrize("format", ["auto", "cloudevents"])
class TestBothFormats:
    @pytest.mark.parametrize(
        "content_type",
        ["application/json", "application/json; charset=utf-8", "application/vnd.shop+json", "TEXT/JSON"],
    )
    def test_binary_json_object_is_read_by_its_fields(self, format: str, content_type: str) -> None:
        question = decode(b'{"id": "q-1", "text": "why?"}', binary(content_type), format=format)
        assert (question.id, question.text) == ("q-1", "why?")

    def test_event_id_names_a_question_without_its_own(self, format: str) -> None:
        assert decode(b'{"text": "why?"}', binary("application/json"), format=format).id == "event-1"
        assert decode(structured(data={"text": TEXT}), format=format).id == "event-1"

    @pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=UTF-8", 'text/plain;charset="utf-8"'])
    def test_binary_text_is_the_question(self, format: str, content_type: str) -> None:
        assert decode("¿Dónde?".encode(), binary(content_type), format=format).text == "¿Dónde?"

    def test_binary_json_string_is_the_question(self, format: str) -> None:
        assert decode(b'"why?"', binary("application/json"), format=format).text == "why?"

    def test_binary_data_without_a_type_is_json_if_it_opens_an_object(self, format: str) -> None:
        assert decode(b'{"text": "why?"}', binary(), format=format).text == "why?"
        assert decode(b"why?", binary(), format=format).text == "why?"

    def test_header_names_match_in_any_case(self, format: str) -> None:
        headers = tuple((name.title(), value) for name, value in binary("text/plain"))
        assert decode(b"{why?}", headers, format=format).id == "event-1"

    def test_structured_object_is_read_by_its_fields(self, format: str) -> None:
        value = structured(data={"id": 5, "q": {"text": TEXT}, "ns": "acme"})
        for headers in ((), STRUCTURED, binary("Application/CloudEvents+JSON")):
            question = decode(value, headers, format=format, text_field="q.text", namespace_field="ns")
            assert (question.id, question.text, question.namespace) == ("5", TEXT, "acme")

    @pytest.mark.parametrize("datacontenttype", [None, "application/json", "text/plain"])
    def test_structured_string_is_the_question(self, format: str, datacontenttype: str | None) -> None:
        value = structured(data="{why?}", datacontenttype=datacontenttype)
        assert decode(value, STRUCTURED, format=format).text == "{why?}"

    def test_base64_data_is_read_by_its_type(self, format: str) -> None:
        encoded = base64.b64encode(b'{"text": "why?"}').decode()
        for datacontenttype in (None, "application/json"):
            value = structured(data_base64=encoded, datacontenttype=datacontenttype)
            assert decode(value, STRUCTURED, format=format).text == "why?"
        value = structured(data_base64=encoded, datacontenttype="text/plain", data=None)
        assert decode(value, STRUCTURED, format=format).text == '{"text": "why?"}'

    @pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
    @pytest.mark.parametrize("attribute", [None, "", 5, {}])
    def test_structured_attribute_that_is_no_text_is_refused(self, format: str, name: str, attribute: object) -> None:
        assert reason(structured(data=TEXT, **{name: attribute}), format=format) == "invalid_cloudevent"

    @pytest.mark.parametrize("name", sorted(HEADERS))
    @pytest.mark.parametrize("attribute", [None, b""])
    def test_binary_attribute_that_is_empty_is_refused(self, format: str, name: str, attribute: bytes | None) -> None:
        headers = binary(None, **{name: attribute})
        assert reason(TEXT.encode(), headers, format=format) == "invalid_cloudevent"

    @pytest.mark.parametrize("version", ["0.3", "2.0", "one"])
    def test_other_major_version_is_refused(self, format: str, version: str) -> None:
        assert reason(structured(data=TEXT, specversion=version), format=format) == "invalid_cloudevent"
        headers = binary(ce_specversion=version.encode())
        assert reason(TEXT.encode(), headers, format=format) == "invalid_cloudevent"

    @pytest.mark.parametrize(
        ("value", "headers", "expected"),
        [
            pytest.param(None, binary(), "null_value", id="binary event without data"),
            pytest.param(b"null", binary("application/json"), "missing_text", id="binary null"),
            pytest.param(b"[1]", binary("application/json"), "wrong_type", id="binary array"),
            pytest.param(b"why?", binary("application/json"), "not_json", id="binary text declared JSON"),
            pytest.param(b"{}", binary("application/json"), "missing_text", id="binary object without text"),
            pytest.param(b"\xff", binary("text/plain"), "not_utf8", id="binary text not UTF-8"),
            pytest.param(b"why?", binary("text/plain; charset=latin-1"), "invalid_cloudevent", id="another charset"),
            pytest.param(b"why?", binary("application/avro"), "invalid_cloudevent", id="avro"),
            pytest.param(b"why?", binary("application/" + "x" * 100_000), "invalid_cloudevent", id="endless type"),
            pytest.param(b"why?", binary(ce_id=b"\xff"), "invalid_cloudevent", id="id not UTF-8"),
            pytest.param(b"why?", binary(ce_id=b"x" * 513), "invalid_id", id="id too long"),
            pytest.param(
                b"why?", (("content-type", b"application/cloudevents+avro"),), "invalid_cloudevent", id="avro event"
            ),
            pytest.param(
                b"[]", (("content-type", b"application/cloudevents-batch+json"),), "invalid_cloudevent", id="batch"
            ),
            pytest.param(b"why?", STRUCTURED, "not_json", id="structured not JSON"),
            pytest.param(b"[]", STRUCTURED, "not_object", id="structured array"),
            pytest.param(b'{"text": "why?"}', STRUCTURED, "invalid_cloudevent", id="structured without attributes"),
            pytest.param(structured(), (), "missing_text", id="structured without data"),
            pytest.param(structured(text=TEXT), (), "missing_text", id="text is an extension, not data"),
            pytest.param(structured(data=None), (), "missing_text", id="structured null"),
            pytest.param(structured(data=[TEXT]), (), "wrong_type", id="structured array data"),
            pytest.param(structured(data=4711), (), "wrong_type", id="structured number"),
            pytest.param(structured(data={}, datacontenttype="text/plain"), (), "wrong_type", id="object as text"),
            pytest.param(
                structured(data="<q/>", datacontenttype="application/xml"), (), "invalid_cloudevent", id="xml"
            ),
            pytest.param(
                structured(data=EVENT, datacontenttype="application/cloudevents+json"),
                (),
                "invalid_cloudevent",
                id="event in an event",
            ),
            pytest.param(structured(data=TEXT, datacontenttype=5), (), "invalid_cloudevent", id="type is a number"),
            pytest.param(structured(data=TEXT, data_base64="d2h5"), (), "invalid_cloudevent", id="data twice"),
            pytest.param(structured(data_base64="d2*h5"), (), "invalid_cloudevent", id="not base64"),
            pytest.param(structured(data_base64="é"), (), "invalid_cloudevent", id="base64 not ASCII"),
            pytest.param(structured(data_base64=5), (), "invalid_cloudevent", id="base64 is a number"),
            pytest.param(structured(data_base64="/w=="), (), "not_utf8", id="base64 of no text"),
            pytest.param(structured(data={"id": None, "text": TEXT}), (), "wrong_type", id="id of data is null"),
        ],
    )
    def test_event_that_holds_no_question_is_refused(
        self, format: str, value: bytes | None, headers: Headers, expected: str
    ) -> None:
        assert reason(value, headers, format=format) == expected


def test_record_with_some_ce_headers_is_no_event() -> None:
    headers = tuple(header for header in binary() if header[0] != "ce_source")
    assert decode(b'{"text": "why?"}', headers).id == "questions/3/1042"
    assert reason(b'{"text": "why?"}', headers, format="cloudevents") == "invalid_cloudevent"


def test_object_with_some_event_attributes_is_no_event() -> None:
    value = json.dumps({"id": "q-1", "text": TEXT, "source": "chat", "type": "question"}).encode()
    assert decode(value).text == TEXT
    assert reason(value, format="cloudevents") == "invalid_cloudevent"


def test_json_and_text_formats_do_not_look_for_events() -> None:
    assert decode(b'{"text": "why?"}', binary("text/plain"), format="json").id == "questions/3/1042"
    assert decode(b"{why?}", binary("application/json"), format="text").text == "{why?}"


def test_content_type_alone_does_not_change_how_auto_reads() -> None:
    assert decode(b'{"text": "why?"}', (("content-type", b"text/plain"),)).text == "why?"
