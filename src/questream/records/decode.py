"""A consumed record becomes a question, or a BadRecord that says what was expected of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from questream.domain import Headers, Question, Record, Source, Unread
from questream.errors import BadRecord
from questream.preparing import Preparation
from questream.records.cloudevents import Batch, Content, Event, is_event, is_extension, read_declared, read_structured
from questream.records.envelopes import is_framed, opened
from questream.records.parsing import (
    is_binary,
    is_visible,
    opens_object,
    parse_json,
    parse_object,
    parse_undeclared,
    read_plain,
)
from questream.records.paths import ABSENT, find
from questream.records.reasons import PassedOverReason, Reason, passed_over, undecodable
from questream.records.template import Template

if TYPE_CHECKING:
    from questream.settings import InputSettings

MAX_ID_CHARACTERS = 512
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Above it a float no longer tells neighbouring whole numbers apart: two ids would become one.
_EXACT_FLOAT = 2.0**53
_ONE_QUESTION = "a record has one question: an array needs a path into it, or input.arrays"


class _Read(NamedTuple):
    """A value as its format has it: the question itself or what it stands in, and the event around it, if any."""

    content: Content
    event: Event | None = None
    is_batch: bool = False


# Parsed, a value may take thirty times its bytes: `[{},{}` and so on. JSON may have six bytes for one of a text.
_LEAST_VALUE_LIMIT = 16 * 1024 * 1024
_VALUE_FOR_TEXT = 16


class QuestionDecoder:
    """Reads the questions of an input topic.

    `input.format` says what a value is:

    - `json`: an object; its id, text and namespace stand at `id_field`, `text_field` and `namespace_field`, dotted
      paths such as `payload.question.text`; an array where `text_field` leads into it.
    - `text`: the question itself.
    - `cloudevents`: CloudEvents 1.0 in binary or structured mode. `data` is an object, read as under `json`, or a
      string, the question itself.
    - `auto`, record by record: a CloudEvent where `content-type` or all four required `ce_` headers declare one; else
      a value that begins with `{` is JSON, and a structured CloudEvent if it has `specversion`, `id`, `source` and
      `type`; one that is a JSON string as a whole is what that holds, an array is one as under `json`, and a number,
      truth or null is refused; all else is text. A broken JSON object is refused, not clustered as text.

    Under every format a schema registry's frame and binary are refused. Envelopes, tombstones, changes of rows and
    arrays are read, passed over or refused as the settings say.

    A question's id is the one in its JSON, else the event's, else `topic/partition/offset`. Its namespace is that of
    the header, else the field, else the event's extension of the field's name, else the default: what is present must
    be valid, so that a mistake never lands in another tenant's clusters.
    """

    def __init__(self, input: InputSettings, default_namespace: str) -> None:
        readers: dict[str, Callable[[bytes, Headers], _Read]] = {
            "auto": _read_any,
            "json": _read_json,
            "text": _read_text,
            "cloudevents": _read_event,
        }
        self._read = readers[input.format]
        self._input = input
        self._id_path = input.id_field.split(".")
        self._text_path = input.text_field.split(".")
        self._template = None if input.text is None else Template(input.text)
        self._prepare = Preparation(input)
        self._namespace_path = input.namespace_field.split(".") if input.namespace_field else None
        header = input.namespace_header
        self._namespace_attribute = header[3:].lower() if header and header.lower().startswith("ce_") else None
        self._default_namespace = default_namespace
        self._max_text_bytes = input.max_text_bytes
        self._max_value_bytes = max(_LEAST_VALUE_LIMIT, _VALUE_FOR_TEXT * input.max_text_bytes)

    def decode(self, record: Record) -> Question:
        """The question in `record`, its text as it is prepared.

        Raises BadRecord with stage `decode` and a `Reason`, or stage `prepare`; PassedOver for what its sender does not
        mean as a question; never another exception, whatever the bytes.
        """
        value = record.value
        if isinstance(value, Unread):
            raise undecodable(
                Reason.TOO_LARGE_TO_UNPACK,
                "a compressed batch must unpack to kafka.max_unpacked_bytes at most, and a record has 10000 headers",
            )
        if value is None:
            raise self._without_value(record)
        if len(value) > self._max_value_bytes:
            raise undecodable(Reason.VALUE_TOO_LARGE, f"a value has at most {self._max_value_bytes} bytes")
        if is_framed(value, record.headers):
            raise undecodable(
                Reason.SCHEMA_FRAMED, "a schema registry's format has to become JSON before it comes here"
            )
        read = self._read(value, record.headers)
        if type(read.content) is list:
            read = self._of_array(read, read.content)
        levels: list[Any] = []
        if isinstance(read.content, str):
            text = read.content
        else:
            text, levels = self._find_text(read.content)
        found_id = _find_in(levels, self._id_path)
        self._check_text(text)
        if found_id is ABSENT:
            found_id = read.event.id if read.event is not None else _place(record.source)
        prepared = self._prepare(text)
        if prepared != text:
            self._check_text(prepared)
        return Question(
            self._check_id(found_id),
            prepared,
            self._namespace_of(read.event, levels, record.headers),
            record,
            "" if prepared == text else self._prepare.version,
        )

    def _without_value(self, record: Record) -> BadRecord:
        is_event = any(name[:3].lower() == "ce_" for name, _ in record.headers)
        if record.key is not None and not is_event and self._input.tombstones == "skip":
            return passed_over(PassedOverReason.TOMBSTONE)
        return undecodable(Reason.NULL_VALUE, "the record must have a value")

    def _of_array(self, read: _Read, array: list[Any]) -> _Read:
        """What is to be read of an array: itself where the path of the text leads into it, or its only message."""
        if not read.is_batch and self._text_in(array) is not ABSENT:
            return read
        if self._input.arrays == "skip":
            raise passed_over(PassedOverReason.ARRAY)
        if self._input.arrays == "single" and len(array) == 1 and isinstance(array[0], str | dict):
            message = array[0]
            if read.is_batch or (self._input.format != "json" and isinstance(message, dict) and is_event(message)):
                event = read_structured(message if isinstance(message, dict) else {})
                return _Read(event.content, event)
            return _Read(message)
        raise undecodable(Reason.INVALID_CLOUDEVENT if read.is_batch else Reason.NOT_OBJECT, _ONE_QUESTION)

    def _find_text(self, document: Any) -> tuple[str, list[Any]]:
        """The text, and the documents that id and namespace may stand in: that of the text, then those around it."""
        levels = [document]
        if self._input.envelope == "auto" and type(document) is dict:
            levels = opened(document, self._input)
        for at, level in enumerate(levels):
            # A Connect envelope may have the question itself as its payload.
            text = level if type(level) is str else self._text_in(level)
            if type(text) is str:
                return text, [level, *levels[:at], *levels[at + 1 :]]
            if text is not ABSENT:
                raise undecodable(Reason.WRONG_TYPE, f"`{self._input.text_field}` must be a string")
        where = self._input.text_field if self._template is None else self._template.shown
        raise undecodable(Reason.MISSING_TEXT, f"the value must hold the question at `{where}`")

    def _text_in(self, document: Any) -> Any:
        return find(document, self._text_path) if self._template is None else self._template.fill(document)

    def _check_text(self, text: str) -> None:
        # A character takes at most 4 bytes: nearly every text is short enough at sight and need not be encoded.
        if len(text) * 4 > self._max_text_bytes and (
            len(text) > self._max_text_bytes or len(text.encode()) > self._max_text_bytes
        ):
            raise undecodable(Reason.TEXT_TOO_LONG, f"a question has at most {self._max_text_bytes} bytes of UTF-8")
        if not is_visible(text):
            raise undecodable(Reason.EMPTY_TEXT, "a question must have a visible character")
        if is_binary(text):
            raise undecodable(Reason.BINARY, "a text has no control characters but white space")

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
            raise undecodable(Reason.WRONG_TYPE, f"`{self._input.id_field}` must be a string or a number")
        if abs(found) >= _EXACT_FLOAT:
            raise undecodable(
                Reason.INVALID_ID, f"a number this large must be sent as a string in `{self._input.id_field}`"
            )
        return format(Decimal(repr(found)), "f")

    def _namespace_of(self, event: Event | None, levels: list[Any], headers: Headers) -> str:
        namespace = self._find_namespace(event, levels, headers)
        if namespace is ABSENT:
            return self._default_namespace
        if type(namespace) is not str or _NAMESPACE.fullmatch(namespace) is None:
            raise undecodable(
                Reason.INVALID_NAMESPACE,
                "a namespace has 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first",
            )
        return namespace

    def _find_namespace(self, event: Event | None, levels: list[Any], headers: Headers) -> Any:
        namespace: Any = ABSENT
        if event is not None and self._namespace_attribute is not None:
            namespace = event.attribute(self._namespace_attribute)
        if namespace is ABSENT and self._input.namespace_header is not None and headers:
            namespace = _last_header(headers, self._input.namespace_header)
        if namespace is ABSENT and self._namespace_path is not None:
            namespace = _find_in(levels, self._namespace_path)
            name = self._namespace_path[0]
            if namespace is ABSENT and event is not None and len(self._namespace_path) == 1 and is_extension(name):
                namespace = event.attribute(name)
        return namespace


def _read_any(value: bytes, headers: Headers) -> _Read:
    declared = read_declared(value, headers) if headers else None
    if declared is not None:
        return _of_declared(declared)
    if opens_object(value):
        return _of_object(parse_object(value))
    found = parse_undeclared(value)
    if type(found) is str:
        # A value that was made JSON twice is an object in a string.
        encoded = found.encode("utf-8", "surrogatepass")
        return _of_object(parse_object(encoded)) if opens_object(encoded) else _Read(found)
    if type(found) is list:
        return _Read(found)
    raise undecodable(Reason.NOT_OBJECT, "the value must be a JSON object or a text, not a number, truth or null")


def _read_json(value: bytes, _headers: Headers) -> _Read:
    found = parse_json(value)
    if type(found) not in (dict, list):
        raise undecodable(Reason.NOT_OBJECT, "the value must be a JSON object")
    return _Read(found)


def _read_text(value: bytes, _headers: Headers) -> _Read:
    return _Read(read_plain(value))


def _read_event(value: bytes, headers: Headers) -> _Read:
    declared = read_declared(value, headers)
    if declared is not None:
        return _of_declared(declared)
    found = parse_json(value) if opens_object(value) or value.lstrip()[:1] == b"[" else {}
    if type(found) is list:
        return _Read(found, is_batch=True)
    if not is_event(found):
        raise undecodable(
            Reason.INVALID_CLOUDEVENT, "an event has specversion, id, source and type, as ce_ headers or in its JSON"
        )
    return _of_declared(read_structured(found))


def _of_object(document: dict[str, Any]) -> _Read:
    return _of_declared(read_structured(document)) if is_event(document) else _Read(document)


def _of_declared(declared: Event | Batch) -> _Read:
    if isinstance(declared, Batch):
        return _Read(declared.events, is_batch=True)
    return _Read(declared.content, declared)


def _find_in(levels: list[Any], path: list[str]) -> Any:
    found = (find(level, path) for level in levels)
    return next((value for value in found if value is not ABSENT), ABSENT)


def _last_header(headers: Headers, wanted: str) -> Any:
    """Kafka keeps equal header names; its own clients read the last one."""
    for name, value in reversed(headers):
        if name == wanted:
            # Latin-1 reads any bytes; only ASCII passes a namespace's pattern. A null header is there, and invalid.
            return value.decode("latin-1") if value is not None else None
    return ABSENT


def _place(source: Source) -> str:
    return f"{source.topic}/{source.partition}/{source.offset}"
