"""Records in: every format read, every broken record refused with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from questream.domain import Headers, Record, Source, Unread
from questream.errors import BadRecord
from questream.records import QuestionDecoder, Reason
from questream.settings import InputSettings

SOURCE = Source("questions", 3, 1042, 1_795_486_680_123)
TEXT = "Where is my new card?"
MEGABYTES_10 = 10_000_000
# Stands in every refused value below; no message may repeat it.
SECRET = "PIN-4711"


def record(value: bytes | None, headers: Headers = ()) -> Record:
    return Record(SOURCE, b"key", value, headers)


def decoder(**settings: Any) -> QuestionDecoder:
    return QuestionDecoder(InputSettings(**settings), "default")


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def refusal(value: bytes | None, headers: Headers = (), **settings: Any) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        decoder(**settings).decode(record(value, headers))
    return caught.value


@pytest.mark.parametrize("format", ["json", "auto"])
def test_json_gives_id_text_and_default_namespace(format: str) -> None:
    source = record(as_json({"id": "q-1", "text": TEXT, "language": "en"}), (("traceparent", b"00-1-2-01"),))
    question = decoder(format=format).decode(source)
    assert (question.id, question.text, question.namespace) == ("q-1", TEXT, "default")
    assert question.record is source


def test_fields_stand_at_dotted_paths() -> None:
    value = as_json({"payload": {"question": {"text": TEXT}, "number": "q-9"}, "tenant": {"name": "acme"}})
    question = decoder(
        id_field="payload.number", text_field="payload.question.text", namespace_field="tenant.name"
    ).decode(record(value))
    assert (question.id, question.text, question.namespace) == ("q-9", TEXT, "acme")


@pytest.mark.parametrize("payload", [5, None, [], "text", {}, {"question": None}])
def test_path_through_anything_but_objects_finds_no_text(payload: object) -> None:
    assert refusal(as_json({"payload": payload}), text_field="payload.question.text").reason == "missing_text"


def test_record_without_id_is_named_by_its_place() -> None:
    assert decoder().decode(record(as_json({"text": TEXT}))).id == "questions/3/1042"
    assert decoder(format="text").decode(record(TEXT.encode())).id == "questions/3/1042"


@pytest.mark.parametrize(
    ("sent", "id"),
    [
        ("17", "17"),
        ("-5", "-5"),
        ("0", "0"),
        ("18446744073709551615", "18446744073709551615"),
        ("1.5", "1.5"),
        ("12.0", "12.0"),
        ("1e-7", "0.0000001"),
    ],
)
def test_number_as_id_becomes_its_decimal_string(sent: str, id: str) -> None:
    assert decoder().decode(record(b'{"id": %s, "text": "why?"}' % sent.encode())).id == id


@pytest.mark.parametrize("sent", ["18446744073709551616", "9007199254740993.0", "1e300"])
def test_number_too_large_to_be_exact_is_no_id(sent: str) -> None:
    assert refusal(b'{"id": %s, "text": "why?"}' % sent.encode()).reason == "invalid_id"


@pytest.mark.parametrize("id", [True, False, None, {}, [], {"a": 1}])
def test_id_of_another_type_is_refused(id: object) -> None:
    assert refusal(as_json({"id": id, "text": TEXT})).reason == "wrong_type"


def test_id_has_1_to_512_characters() -> None:
    assert decoder().decode(record(as_json({"id": "é" * 512, "text": TEXT}))).id == "é" * 512
    assert refusal(as_json({"id": "x" * 513, "text": TEXT})).reason == "invalid_id"
    for empty in ("", " ", "\t\n", "\u200b", "\x00"):
        assert refusal(as_json({"id": empty, "text": TEXT})).reason == "invalid_id"


def test_text_format_takes_the_value_as_the_question() -> None:
    assert decoder(format="text").decode(record(b'{"text": "really?"}')).text == '{"text": "really?"}'


@pytest.mark.parametrize(
    "value",
    ["Why?", "[1] or [2]?", '"Why?" she asked', "42 cards?", "a {brace}", "true?", "¿Dónde está?", "مرحبا؟", "🫨"],
)
def test_auto_takes_what_opens_no_object_as_text(value: str) -> None:
    assert decoder().decode(record(value.encode())).text == value


def test_auto_reads_json_behind_white_space_and_byte_order_mark() -> None:
    for lead in (b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"):
        question = decoder().decode(record(lead + as_json({"id": 1, "text": TEXT})))
        assert (question.id, question.text) == ("1", TEXT)
    assert decoder().decode(record(b"\xef\xbb\xbfWhy?")).text == "Why?"


def test_text_is_not_altered() -> None:
    text = "  Why\u00a0not?\n\ttwo  lines \u200b\x1b "
    assert decoder().decode(record(as_json({"text": text}))).text == text
    assert decoder(format="text").decode(record(text.encode())).text == text


def test_last_of_equal_json_keys_counts() -> None:
    assert decoder().decode(record(b'{"text": "first", "text": "second"}')).text == "second"


class TestNamespace:
    def test_header_goes_before_field_before_default(self) -> None:
        decode = decoder(namespace_header="tenant", namespace_field="tenant").decode
        value = as_json({"text": TEXT, "tenant": "field"})
        assert decode(record(value, (("tenant", b"header"),))).namespace == "header"
        assert decode(record(value, (("Tenant", b"other"),))).namespace == "field"
        assert decode(record(as_json({"text": TEXT}))).namespace == "default"
        assert decode(record(TEXT.encode(), (("tenant", b"header"),))).namespace == "header"

    def test_last_of_equal_headers_counts(self) -> None:
        headers = (("tenant", b"first"), ("tenant", b"second"))
        assert decoder(namespace_header="tenant").decode(record(TEXT.encode(), headers)).namespace == "second"

    @pytest.mark.parametrize("name", ["a", "A.b_c-9", "0" * 64])
    def test_valid_names_are_taken(self, name: str) -> None:
        value = as_json({"text": TEXT, "ns": name})
        assert decoder(namespace_field="ns").decode(record(value)).namespace == name

    @pytest.mark.parametrize(
        "name", ["", "-a", ".a", "_a", "a b", "a/b", "a:b", "a{b}", "é", "a\n", "\na", "a\x00", "x" * 65, "a*"]
    )
    def test_name_outside_the_pattern_is_refused(self, name: str) -> None:
        value = as_json({"text": TEXT, "ns": name})
        assert refusal(value, namespace_field="ns").reason == "invalid_namespace"
        assert refusal(value, (("ns", name.encode()),), namespace_header="ns").reason == "invalid_namespace"

    @pytest.mark.parametrize("name", [None, 5, True, ["a"], {}])
    def test_field_of_another_type_is_refused_instead_of_falling_back(self, name: object) -> None:
        assert refusal(as_json({"text": TEXT, "ns": name}), namespace_field="ns").reason == "invalid_namespace"

    def test_header_that_is_null_or_no_text_is_refused_instead_of_falling_back(self) -> None:
        null: Any = None  # Kafka's header values are nullable
        for value in (null, b"\xff", b"\x00"):
            assert refusal(TEXT.encode(), (("ns", value),), namespace_header="ns").reason == "invalid_namespace"


CE = (("ce_specversion", b"1.0"), ("ce_id", b"e1"), ("ce_source", b"/shop"), ("ce_type", b"asked"))
LONE = b'{"text": "PIN-4711 \\ud800"}'

BAD: list[tuple[str, bytes | None, Headers, dict[str, Any], str]] = [
    ("a batch that was not unpacked", Unread(), (), {}, "too_large_to_unpack"),
    ("more than is parsed", b"[" + b"{}," * 5_600_000 + b"{}]", (), {}, "value_too_large"),
    ("null value", None, (), {"tombstones": "dead-letter"}, "null_value"),
    ("null value as JSON", None, (), {"format": "json", "tombstones": "dead-letter"}, "null_value"),
    ("null value as text", None, (), {"format": "text", "tombstones": "dead-letter"}, "null_value"),
    ("Confluent's frame around JSON", b"\0\0\0\0\x07" + b'{"text": "PIN-4711"}', (), {}, "schema_framed"),
    ("a schema id above 127", b"\0\0\0\0\xc8" + b'{"text": "PIN-4711"}', (), {}, "schema_framed"),
    ("UTF-16 without a mark", "PIN-4711".encode("utf-16-le"), (), {}, "binary"),
    ("NUL in JSON", b'{"text": "PIN-4711 \\u0000"}', (), {}, "binary"),
    ("event without data", None, CE, {}, "null_value"),
    ("text not UTF-8", b"PIN-4711 \xff", (), {}, "not_utf8"),
    ("text in UTF-16", "PIN-4711é".encode("utf-16"), (), {}, "not_utf8"),
    ("JSON not UTF-8", b'{"text": "PIN-4711 \xe9"}', (), {}, "not_utf8"),
    ("surrogate in UTF-8", b'{"text": "PIN-4711 \xed\xa0\x80"}', (), {}, "not_utf8"),
    ("half an object", b'{"text": "PIN-4711', (), {}, "not_json"),
    ("text where JSON is due", b"PIN-4711", (), {"format": "json"}, "not_json"),
    ("empty value where JSON is due", b"", (), {"format": "json"}, "not_json"),
    ("NaN", b'{"text": "PIN-4711", "score": NaN}', (), {}, "not_json"),
    ("infinite number", b'{"text": "PIN-4711", "score": 1e999}', (), {}, "not_json"),
    ("text behind the object", b'{"text": "PIN-4711"} {}', (), {}, "not_json"),
    ("100,000 open objects", b'{"PIN-4711":' * 100_000, (), {}, "not_json"),
    ("100,000 levels deep", b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}", (), {}, "not_json"),
    ("a million byte order marks", b"\xef\xbb\xbf" * 1_000_000 + b"{}", (), {"format": "json"}, "not_json"),
    ("JSON array", b'["PIN-4711"]', (), {"format": "json"}, "not_object"),
    ("JSON string", b'"PIN-4711"', (), {"format": "json"}, "not_object"),
    ("JSON null", b"null", (), {"format": "json"}, "not_object"),
    ("number", b" 4711 ", (), {}, "not_object"),
    ("truth", b"true", (), {}, "not_object"),
    ("null in JSON", b"null\n", (), {}, "not_object"),
    ("array", b'[{"text": "PIN-4711"}, {"text": "PIN-4711"}]', (), {}, "not_object"),
    ("no text", b'{"id": "PIN-4711"}', (), {}, "missing_text"),
    ("text is null", b'{"id": "PIN-4711", "text": null}', (), {}, "wrong_type"),
    ("text is a number", b'{"id": "PIN-4711", "text": 4711}', (), {}, "wrong_type"),
    ("text is an array", b'{"text": ["PIN-4711"]}', (), {}, "wrong_type"),
    ("id is an object", b'{"id": {"PIN-4711": 1}, "text": "why?"}', (), {}, "wrong_type"),
    ("empty text", b'{"id": "PIN-4711", "text": ""}', (), {}, "empty_text"),
    ("empty value", b"", (), {}, "empty_text"),
    ("text of 10 MB", as_json({"text": SECRET + "x" * MEGABYTES_10}), (), {}, "text_too_long"),
    ("value of 10 MB", SECRET.encode() + b"x" * MEGABYTES_10, (), {}, "text_too_long"),
    ("half a surrogate pair", LONE, (), {}, "text_not_encodable"),
    ("half a pair in another field", b'{"text": "PIN-4711", "x\\udc00": 1}', (), {}, "text_not_encodable"),
    ("id too long", as_json({"id": SECRET * 65, "text": "why?"}), (), {}, "invalid_id"),
    ("namespace", as_json({"ns": SECRET + "!", "text": "why?"}), (), {"namespace_field": "ns"}, "invalid_namespace"),
    ("no event", b"PIN-4711", (), {"format": "cloudevents"}, "invalid_cloudevent"),
]


@pytest.mark.parametrize(("value", "headers", "settings", "reason"), [pytest.param(*b[1:], id=b[0]) for b in BAD])
def test_broken_record_is_refused_with_its_reason_and_never_quoted(
    value: bytes | None, headers: Headers, settings: dict[str, Any], reason: str
) -> None:
    error = refusal(value, headers, **settings)
    assert (error.stage, error.reason) == ("decode", reason)
    assert str(error)
    assert SECRET not in str(error)
    # A chained parser error would bring the whole document into a logged traceback.
    assert error.__context__ is None
    assert error.__cause__ is None


def test_every_reason_of_the_decode_stage_has_a_broken_record() -> None:
    of_others = {Reason.INVALID_STATE, Reason.INVALID_ORIGIN, Reason.NEWER_VERSION}
    assert {reason for *_, reason in BAD} == set(Reason) - of_others


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "\t\r\n",
        "\u00a0\u2003\u3000",
        "\u200b\u200c\u200d\ufeff",
        "\u2060 \u00ad",
        "\x00\x01",
        "\u200e\u202a",
        "\u3164",
        "\ufe0f",
        "\U000e0041",
        "\u2800",
        " " * 100_000,
    ],
)
def test_text_that_shows_nothing_is_empty(text: str) -> None:
    assert refusal(as_json({"text": text})).reason == "empty_text"
    assert refusal(text.encode(), format="text").reason == "empty_text"


@pytest.mark.parametrize("text", ["?", " . ", "\u200bx", "é", "e\u0301", "한", "🏳️‍🌈", "\ue000"])
def test_text_with_one_visible_character_is_a_question(text: str) -> None:
    assert decoder().decode(record(as_json({"text": text}))).text == text


def test_text_limit_counts_bytes_of_utf8_and_includes_its_value() -> None:
    decode = decoder(max_text_bytes=12).decode
    for fits in ("x" * 12, "é" * 6, "한" * 4, "🫨" * 3):
        assert decode(record(as_json({"text": fits}))).text == fits
    for too_long in ("x" * 13, "é" * 6 + "x", "한" * 4 + "x", "🫨" * 4):
        assert refusal(as_json({"text": too_long}), max_text_bytes=12).reason == "text_too_long"


def test_only_the_text_counts_against_the_text_limit() -> None:
    value = as_json({"text": TEXT, "attachment": "x" * MEGABYTES_10})
    assert decoder().decode(record(value)).text == TEXT
