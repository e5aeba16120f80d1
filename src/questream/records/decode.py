"""A consumed record becomes a question, or a BadRecord that says what was expected of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from questream.domain import Headers, Question, Record, Source
from questream.records.cloudevents import Content, is_event, read_declared, read_structured
from questream.records.parsing import decode_text, opens_object, parse_object
from questream.records.reasons import Reason, undecodable

if TYPE_CHECKING:
    from questream.settings import InputSettings

MAX_ID_CHARACTERS = 512
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Above it a float no longer tells neighbouring whole numbers apart: two ids would become one.
_EXACT_FLOAT = 2.0**53
# White space, controls, and what Unicode calls Default_Ignorable_Code_Point (zero-width, fillers, variation selectors,
# tags), with the empty Braille cell: a text of these alone shows nothing.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
)
_ABSENT: Any = object()


class QuestionDecoder:
    """Reads the questions of an input topic.

    `input.format` says what a value is:

    - `json`: an object; its id, text and namespace stand at `id_field`, `text_field` and `namespace_field`, dotted
      paths of object keys such as `payload.question.text`.
    - `text`: the question itself.
    - `cloudevents`: CloudEvents 1.0 in binary or structured mode. `data` is an object, read as under `json`, or a
      string, the question itself.
    - `auto`, record by record: a CloudEvent where `content-type` or all four required `ce_` headers declare one; else
      a value that begins with `{` is JSON, and a structured CloudEvent if it has `specversion`, `id`, `source` and
      `type`; all else is text. A broken JSON object is refused, not clustered as text.

    A question's id is the one in its JSON, else the event's, else `topic/partition/offset`. Its namespace is that of
    the header, else the field, else the default: what is present must be valid, so that a mistake never lands in
    another tenant's clusters.
    """

    def __init__(self, input: InputSettings, default_namespace: str) -> None:
        readers: dict[str, Callable[[bytes, Headers], tuple[Content, str | None]]] = {
            "auto": _read_any,
            "json": _read_json,
            "text": _read_text,
            "cloudevents": _read_event,
        }
        self._read = readers[input.format]
        self._id_field = input.id_field
        self._text_field = input.text_field
        self._id_path = input.id_field.split(".")
        self._text_path = input.text_field.split(".")
        self._namespace_path = input.namespace_field.split(".") if input.namespace_field else None
        self._namespace_header = input.namespace_header
        self._default_namespace = default_namespace
        self._max_text_bytes = input.max_text_bytes

    def decode(self, record: Record) -> Question:
        """The question in `record`, its text as it was sent.

        Raises BadRecord with stage `decode` and a `Reason`; never another exception, whatever the bytes.
        """
        value = record.value
        if value is None:
            raise undecodable(Reason.NULL_VALUE, "the record must have a value")
        content, event_id = self._read(value, record.headers)
        if isinstance(content, str):
            text, found_id = content, _ABSENT
        else:
            text, found_id = self._find_text(content), _find(content, self._id_path)
        self._check_text(text)
        if found_id is _ABSENT:
            found_id = event_id if event_id is not None else _place(record.source)
        return Question(self._check_id(found_id), text, self._namespace_of(content, record.headers), record)

    def _find_text(self, document: dict[str, Any]) -> str:
        text = _find(document, self._text_path)
        if type(text) is str:
            return text
        if text is _ABSENT:
            raise undecodable(Reason.MISSING_TEXT, f"the value must hold the question at `{self._text_field}`")
        raise undecodable(Reason.WRONG_TYPE, f"`{self._text_field}` must be a string")

    def _check_text(self, text: str) -> None:
        # A character takes at most 4 bytes: nearly every text is short enough at sight and need not be encoded.
        if len(text) * 4 > self._max_text_bytes and (
            len(text) > self._max_text_bytes or len(text.encode()) > self._max_text_bytes
        ):
            raise undecodable(Reason.TEXT_TOO_LONG, f"a question has at most {self._max_text_bytes} bytes of UTF-8")
        if _VISIBLE.search(text) is None:
            raise undecodable(Reason.EMPTY_TEXT, "a question must have a visible character")

    def _check_id(self, found: object) -> str:
        if type(found) is not str:
            found = self._decimal_id(found)
        if not 0 < len(found) <= MAX_ID_CHARACTERS:
            raise undecodable(Reason.INVALID_ID, f"an id has 1 to {MAX_ID_CHARACTERS} characters")
        return found

    def _decimal_id(self, found: object) -> str:
        if type(found) is int:
            return str(found)
        if type(found) is not float:
            raise undecodable(Reason.WRONG_TYPE, f"`{self._id_field}` must be a string or a number")
        if abs(found) >= _EXACT_FLOAT:
            raise undecodable(Reason.INVALID_ID, f"a number this large must be sent as a string in `{self._id_field}`")
        return format(Decimal(repr(found)), "f")

    def _namespace_of(self, content: Content, headers: Headers) -> str:
        namespace: Any = _ABSENT
        if self._namespace_header is not None and headers:
            namespace = _last_header(headers, self._namespace_header)
        if namespace is _ABSENT and self._namespace_path is not None and not isinstance(content, str):
            namespace = _find(content, self._namespace_path)
        if namespace is _ABSENT:
            return self._default_namespace
        if type(namespace) is not str or _NAMESPACE.fullmatch(namespace) is None:
            raise undecodable(
                Reason.INVALID_NAMESPACE,
                "a namespace has 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first",
            )
        return namespace


def _read_any(value: bytes, headers: Headers) -> tuple[Content, str | None]:
    event = read_declared(value, headers) if headers else None
    if event is not None:
        return event
    if not opens_object(value):
        return decode_text(value), None
    document = parse_object(value)
    return read_structured(document) if is_event(document) else (document, None)


def _read_json(value: bytes, _headers: Headers) -> tuple[Content, str | None]:
    return parse_object(value), None


def _read_text(value: bytes, _headers: Headers) -> tuple[Content, str | None]:
    return decode_text(value), None


def _read_event(value: bytes, headers: Headers) -> tuple[Content, str | None]:
    event = read_declared(value, headers)
    if event is not None:
        return event
    document = parse_object(value) if opens_object(value) else {}
    if not is_event(document):
        raise undecodable(
            Reason.INVALID_CLOUDEVENT, "an event has specversion, id, source and type, as ce_ headers or in its JSON"
        )
    return read_structured(document)


def _find(document: Any, path: list[str]) -> Any:
    for name in path:
        if type(document) is not dict or name not in document:
            return _ABSENT
        document = document[name]
    return document


def _last_header(headers: Headers, wanted: str) -> Any:
    """Kafka keeps equal header names; its own clients read the last one."""
    for name, value in reversed(headers):
        if name == wanted:
            # Latin-1 reads any bytes; only ASCII passes a namespace's pattern. A null header is there, and invalid.
            return value.decode("latin-1") if value is not None else None
    return _ABSENT


def _place(source: Source) -> str:
    return f"{source.topic}/{source.partition}/{source.offset}"
