"""What connectors and serializers put around a question: opened, passed over, or refused with its own reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from questream.domain import Headers, Question, Record, Source
from questream.errors import BadRecord, PassedOver
from questream.records import QuestionDecoder, Reason
from questream.records.reasons import PassedOverReason
from questream.settings import InputSettings

SOURCE = Source("questions", 3, 1042, 1_795_486_680_123)
TEXT = "Where is my new card?"
ROW = {"id": 7, "text": TEXT, "tenant": "acme"}
SCHEMA = {"type": "struct", "fields": [{"field": "text", "type": "string", "optional": False}], "optional": False}
ORIGIN = {"connector": "postgresql", "db": "shop", "table": "questions", "lsn": 1}
FORMATS = ("auto", "json", "text", "cloudevents")


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def decode(value: bytes | None, headers: Headers = (), key: bytes | None = b'{"id":7}', **settings: Any) -> Question:
    return QuestionDecoder(InputSettings(**settings), "default").decode(Record(SOURCE, key, value, headers))


def refused(value: bytes | None, headers: Headers = (), **settings: Any) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        decode(value, headers, **settings)
    assert caught.value.stage == "decode"
    assert caught.value.__context__ is None
    return caught.value


def reason(value: bytes | None, headers: Headers = (), **settings: Any) -> str:
    error = refused(value, headers, **settings)
    assert not isinstance(error, PassedOver)
    return error.reason


def passed_over(value: bytes | None, headers: Headers = (), **settings: Any) -> str:
    error = refused(value, headers, **settings)
    assert isinstance(error, PassedOver)
    return error.reason


def change(operation: str, before: object = None, after: object = None) -> dict[str, Any]:
    return {"before": before, "after": after, "source": ORIGIN, "op": operation, "ts_ms": 1_795_486_680_123}


FRAMED = {
    "Confluent, JSON": b"\0" + (7).to_bytes(4, "big") + as_json(ROW),
    "Confluent, a schema id above 127": b"\0" + (200).to_bytes(4, "big") + as_json(ROW),
    "Confluent, Avro": b"\0" + (7).to_bytes(4, "big") + b"\x06q-1\x22" + TEXT.encode(),
    "Confluent, Protobuf": b"\0" + (7).to_bytes(4, "big") + b"\0\x0a\x03q-1\x12\x15" + TEXT.encode(),
    "Apicurio": b"\0" + (7).to_bytes(8, "big") + b"\x2a" + TEXT.encode(),
    "Glue": b"\x03\x00" + bytes(range(16)) + b"\x2a" + TEXT.encode(),
    "Glue, compressed": b"\x03\x05" + bytes(range(16)) + b"x\x9c",
}
BINARY = {
    "Avro": b"\x06q-1\x2a" + TEXT.encode(),
    "Avro's file": b"Obj\x01\x04\x16avro.schema",
    "Protobuf": b"\x0a\x15" + TEXT.encode(),
    "UTF-16, little end first": TEXT.encode("utf-16-le"),
    "UTF-16, big end first": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32-le"),
    "a NUL at the end": TEXT.encode() + b"\0",
    "Thrift": b"\x0b\x00\x01" + TEXT.encode(),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("value", FRAMED.values(), ids=FRAMED)
def test_a_schema_registrys_frame_is_refused_under_every_format(format: str, value: bytes) -> None:
    assert reason(value, format=format) == "schema_framed"


@pytest.mark.parametrize("format", ["auto", "text"])
@pytest.mark.parametrize("value", BINARY.values(), ids=BINARY)
def test_binary_is_no_text(format: str, value: bytes) -> None:
    assert reason(value, format=format) == "binary"


def test_a_schema_id_in_a_header_is_for_json_alone() -> None:
    headers = (("__value_schema_id", b"\x01" + bytes(16)),)
    assert reason(b"*" + TEXT.encode(), headers) == "schema_framed"
    assert decode(as_json(ROW), headers).text == TEXT


@pytest.mark.parametrize("text", ["\x00" + TEXT, "\x01\x02\x03 card", "\ufffd\ufffdP\ufffd", "a\x00"])
def test_a_json_string_of_binary_is_refused(text: str) -> None:
    assert reason(as_json({"text": text})) == "binary"


@pytest.mark.parametrize("text", ["Where\x08 is my card?", "Where is\tmy\ncard?\r\n", "caf\ufffd au lait, please?"])
def test_a_stray_control_in_a_json_string_is_no_binary(text: str) -> None:
    assert decode(as_json({"text": text})).text == text


@pytest.mark.parametrize("value", [b"42", b"-1.5e3", b"true", b"null", b"[1, 2]", b"[]", b" [null] \n"])
@pytest.mark.parametrize("format", ["auto", "json"])
def test_json_that_is_no_object_is_refused(format: str, value: bytes) -> None:
    assert reason(value, format=format) == "not_object"


def test_text_as_a_format_takes_what_looks_like_json() -> None:
    assert decode(b"[1, 2]", format="text").text == "[1, 2]"


def test_a_json_string_is_what_it_holds() -> None:
    assert decode(json.dumps("¿Dónde está mi tarjeta?").encode()).text == "¿Dónde está mi tarjeta?"
    twice = decode(json.dumps(json.dumps({"id": "q-1", "text": TEXT})).encode())
    assert (twice.id, twice.text) == ("q-1", TEXT)


class TestPaths:
    def test_a_number_is_a_place_in_an_array(self) -> None:
        value = as_json({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": TEXT}]})
        assert decode(value, text_field="messages.1.content").text == TEXT
        for path in ("messages.2.content", "messages.-1.content", "messages.first.content", "messages.²"):
            assert reason(value, text_field=path) == "missing_text"

    @pytest.mark.parametrize("format", ["auto", "json"])
    def test_a_path_leads_into_an_array_of_messages(self, format: str) -> None:
        value = as_json([{"id": "a", "text": TEXT}, {"id": "b", "text": "No"}])
        question = decode(value, format=format, text_field="0.text", id_field="0.id")
        assert (question.id, question.text) == ("a", TEXT)

    def test_a_key_may_have_dots(self) -> None:
        flat = as_json({"customer.question": TEXT, "meta": {"tenant.name": "acme"}})
        question = decode(flat, text_field="customer.question", namespace_field="meta.tenant.name")
        assert (question.text, question.namespace) == (TEXT, "acme")

    def test_keys_without_dots_go_first(self) -> None:
        assert decode(as_json({"a.b": "no", "a": {"b": TEXT}}), text_field="a.b").text == TEXT


class TestConnect:
    @pytest.mark.parametrize("format", ["auto", "json"])
    def test_the_payload_is_read(self, format: str) -> None:
        question = decode(as_json({"schema": SCHEMA, "payload": ROW}), format=format, namespace_field="tenant")
        assert (question.id, question.text, question.namespace) == ("7", TEXT, "acme")

    def test_a_payload_may_be_the_question(self) -> None:
        assert decode(as_json({"schema": {"type": "string", "optional": False}, "payload": TEXT})).text == TEXT

    def test_a_path_through_the_envelope_still_leads_there(self) -> None:
        value = as_json({"schema": SCHEMA, "payload": ROW})
        assert decode(value, text_field="payload.text", id_field="payload.id").id == "7"

    def test_a_null_payload_is_a_tombstone(self) -> None:
        assert passed_over(as_json({"schema": None, "payload": None})) == "tombstone"
        assert reason(as_json({"schema": None, "payload": None}), tombstones="dead-letter") == "missing_text"

    def test_an_object_with_more_than_the_two_is_no_envelope(self) -> None:
        assert reason(as_json({"schema": SCHEMA, "payload": ROW, "more": 1})) == "missing_text"
        assert reason(as_json({"schema": SCHEMA, "payload": ROW}), envelope="none") == "missing_text"


@pytest.mark.parametrize("connect", [True, False], ids=["in Connect's envelope", "bare"])
class TestDebezium:
    def value(self, connect: bool, document: object) -> bytes:
        return as_json({"schema": SCHEMA, "payload": document} if connect else document)

    @pytest.mark.parametrize("operation", ["c", "r", "u"])
    def test_the_row_is_read(self, connect: bool, operation: str) -> None:
        value = self.value(connect, change(operation, None, ROW))
        question = decode(value, namespace_field="source.db")
        assert (question.id, question.text, question.namespace) == ("7", TEXT, "shop")

    def test_a_row_in_a_string_is_read(self, connect: bool) -> None:
        row = json.dumps({"_id": {"$oid": "1"}, "text": TEXT})
        assert decode(self.value(connect, change("c", None, row))).text == TEXT
        assert reason(self.value(connect, change("c", None, "{"))) == "not_json"

    @pytest.mark.parametrize(("operation", "expected"), [("d", "delete"), ("t", "not_a_row"), ("m", "not_a_row")])
    def test_what_is_no_row_is_passed_over(self, connect: bool, operation: str, expected: str) -> None:
        value = self.value(connect, change(operation, ROW))
        assert passed_over(value) == expected
        assert passed_over(value, text_field="after.text") == expected
        assert reason(value, deletes="dead-letter") == "missing_text"

    def test_a_flattened_delete_is_passed_over(self, connect: bool) -> None:
        for deleted in ("true", True):
            assert passed_over(self.value(connect, ROW | {"__deleted": deleted})) == "delete"
        assert decode(self.value(connect, ROW | {"__deleted": "false"})).text == TEXT

    def test_a_flattened_row_tells_its_change_in_the_field_of_its_operation(self, connect: bool) -> None:
        gone = self.value(connect, {"id": 7, "text": None, "__op": "d"})
        assert passed_over(gone) == "delete"
        assert reason(gone, deletes="dead-letter") == "wrong_type"
        updated = self.value(connect, ROW | {"__op": "u", "__deleted": "false"})
        assert decode(updated).text == TEXT
        assert passed_over(updated, updates="skip") == "update"
        assert decode(self.value(connect, ROW | {"__op": "c"}), updates="skip").text == TEXT

    def test_updates_are_passed_over_on_request(self, connect: bool) -> None:
        value = self.value(connect, change("u", ROW, ROW))
        path = "payload.after.text" if connect else "after.text"
        assert passed_over(value, updates="skip") == "update"
        assert passed_over(value, updates="skip", text_field=path) == "update"
        assert decode(self.value(connect, change("c", None, ROW)), updates="skip", text_field=path).text == TEXT


@pytest.mark.parametrize("settings", [{}, {"text": "{subject} {text}"}], ids=str)
def test_a_text_that_an_update_left_out_is_passed_over(settings: dict[str, Any]) -> None:
    row = {"id": 5, "subject": "Card", "text": "__debezium_unavailable_value"}
    updated = change("u", row, row)
    for document in (updated, {"schema": None, "payload": updated}, row | {"__deleted": "false"}):
        assert passed_over(as_json(document), **settings) == "update"
    assert decode(as_json(row), envelope="none", **settings).id == "5"
    asked = "What is __debezium_unavailable_value in my row?"
    assert decode(as_json(row | {"text": asked}), **settings).text.endswith(asked)


def test_a_question_with_the_words_of_a_change_is_no_change() -> None:
    assert decode(as_json({"op": "d", "text": TEXT})).text == TEXT
    assert decode(as_json({"op": "d", "before": 1, "text": TEXT})).text == TEXT


@pytest.mark.parametrize("format", FORMATS)
def test_a_tombstone_is_passed_over_unless_the_settings_say_otherwise(format: str) -> None:
    assert passed_over(None, format=format) == "tombstone"
    assert reason(None, format=format, tombstones="dead-letter") == "null_value"


def test_a_null_without_a_key_is_no_tombstone() -> None:
    assert reason(None, key=None) == "null_value"


class TestArrays:
    def test_an_array_of_one_message_is_that_message_on_request(self) -> None:
        assert decode(as_json([ROW]), arrays="single").id == "7"
        assert decode(as_json([TEXT]), arrays="single").text == TEXT
        for value in (as_json([ROW, ROW]), b"[]", b"[1]", b"[[]]"):
            assert reason(value, arrays="single") == "not_object"

    def test_arrays_are_passed_over_on_request(self) -> None:
        assert passed_over(as_json([ROW, ROW]), arrays="skip") == "array"


EVENT = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "t"}
BATCHED = (("content-type", b"application/cloudevents-batch+json; charset=utf-8"),)


def binary(**attributes: str) -> Headers:
    return tuple((f"ce_{name}", value.encode()) for name, value in (EVENT | attributes).items())


@pytest.mark.parametrize("format", ["auto", "cloudevents"])
@pytest.mark.parametrize("settings", [{"namespace_header": "ce_tenant"}, {"namespace_field": "tenant"}], ids=str)
class TestExtensions:
    def everywhere(self, format: str, settings: dict[str, Any], tenant: Any, in_header: str) -> list[Any]:
        """Binary, structured, and batched with one event."""
        event = as_json(EVENT | {"tenant": tenant, "data": {"text": TEXT}})
        sent = [
            (as_json({"text": TEXT}), binary(tenant=in_header)),
            (event, ()),
            (event, (("content-type", b"application/cloudevents+json"),)),
            (b"[" + event + b"]", BATCHED),
        ]
        found: list[Any] = []
        for value, headers in sent:
            try:
                found.append(decode(value, headers, format=format, arrays="single", **settings).namespace)
            except BadRecord as error:
                found.append(error.reason)
        return found

    def test_it_names_the_tenant_in_every_mode(self, format: str, settings: dict[str, Any]) -> None:
        assert self.everywhere(format, settings, "acme", "acme") == ["acme"] * 4
        assert self.everywhere(format, settings, 5, "5") == ["5"] * 4
        assert self.everywhere(format, settings, True, "true") == ["true"] * 4

    def test_what_is_no_name_is_refused_in_every_mode(self, format: str, settings: dict[str, Any]) -> None:
        assert self.everywhere(format, settings, "a/b", "a/b") == ["invalid_namespace"] * 4
        assert self.everywhere(format, settings, "", "") == ["invalid_namespace"] * 4

    def test_a_null_is_refused(self, format: str, settings: dict[str, Any]) -> None:
        assert self.everywhere(format, settings, None, "")[1:] == ["invalid_namespace"] * 3

    def test_without_it_the_default_holds(self, format: str, settings: dict[str, Any]) -> None:
        assert decode(as_json({"text": TEXT}), binary(), format=format, **settings).namespace == "default"
        value = as_json(EVENT | {"data": {"text": TEXT}})
        assert decode(value, format=format, **settings).namespace == "default"


def test_a_name_of_the_specification_is_no_extension() -> None:
    value = as_json(EVENT | {"data": {"text": TEXT}})
    assert decode(value, namespace_field="source").namespace == "default"
    assert decode(as_json({"text": TEXT}), binary(subject="acme"), namespace_header="ce_subject").namespace == "acme"


def test_a_batch_of_more_than_one_event_is_refused() -> None:
    event = EVENT | {"data": {"text": TEXT}}
    assert reason(as_json([event, event]), BATCHED) == "invalid_cloudevent"
    assert reason(as_json([event, event]), BATCHED, arrays="single") == "invalid_cloudevent"
    assert reason(as_json([event]), BATCHED) == "invalid_cloudevent"
    assert passed_over(as_json([event, event]), BATCHED, arrays="skip") == "array"


def test_an_event_holds_a_change() -> None:
    event = EVENT | {"data": {"schema": SCHEMA, "payload": change("c", None, ROW)}}
    assert decode(as_json(event)).id == "7"
    assert passed_over(as_json(EVENT | {"data": change("d", ROW)})) == "delete"


@pytest.mark.parametrize("format", ["auto", "cloudevents"])
def test_an_array_as_data_of_an_event_is_read_as_the_settings_say(format: str) -> None:
    def sent(data: object) -> list[tuple[bytes, Headers]]:
        return [(as_json(EVENT | {"data": data}), ()), (as_json(data), binary())]

    for value, headers in sent([{"text": TEXT}]):
        asked = decode(value, headers, format=format, arrays="single")
        assert (asked.id, asked.text) == ("e1", TEXT)
        assert decode(value, headers, format=format, text_field="0.text").text == TEXT
        assert passed_over(value, headers, format=format, arrays="skip") == "array"
        assert reason(value, headers, format=format) == "wrong_type"
    for value, headers in sent([{"text": TEXT}, {"text": TEXT}]):
        assert reason(value, headers, format=format, arrays="single") == "wrong_type"


def test_undeclared_data_of_an_event_tell_what_they_are() -> None:
    assert decode(as_json(TEXT), binary()).text == TEXT
    assert decode(TEXT.encode(), binary()).text == TEXT
    assert [reason(value, binary()) for value in (b"4711", b"null", b"[7]")] == [
        "wrong_type",
        "missing_text",
        "wrong_type",
    ]


def test_an_event_stands_in_a_connect_envelope() -> None:
    event = EVENT | {"tenant": "acme", "data": {"text": TEXT}}
    enveloped = as_json({"schema": SCHEMA, "payload": event})
    asked = decode(enveloped, namespace_field="tenant")
    assert (asked.id, asked.text, asked.namespace) == ("e1", TEXT, "acme")
    assert decode(enveloped, text_field="payload.data.text").text == TEXT
    assert decode(enveloped, text_field="data.text").text == TEXT
    assert reason(enveloped, envelope="none") == "missing_text"
    of_array = as_json({"schema": None, "payload": EVENT | {"data": [TEXT]}})
    assert decode(of_array, arrays="single").text == TEXT
    assert reason(of_array) == "wrong_type"
    assert reason(as_json({"schema": None, "payload": EVENT | {"specversion": "9"}})) == "invalid_cloudevent"


def test_the_page_of_records_names_every_reason() -> None:
    page = (Path(__file__).parents[2] / "docs/records.md").read_text()
    told = set(re.findall(r"`([a-z_0-9]+)`", page))
    assert (set(Reason) - {Reason.INVALID_STATE, Reason.INVALID_ORIGIN}) | set(PassedOverReason) <= told
