"""A consumed record becomes a question, or a BadRecord that says what was expected of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from questream.domain import Headers, Question, Record, Source, Unread
from questream.errors import BadRecord
from questream.preparing import KnownSentences, Preparation, no_sentences
from questream.records.formats import Event, Read, open_deserializer
from questream.records.formats.cloudevents import is_extension
from questream.records.formats.envelopes import UNAVAILABLE, is_framed, opened, payload_of
from questream.records.parsing import is_binary, is_visible, plain_number
from questream.records.paths import ABSENT, find
from questream.records.reasons import PassedOverReason, Reason, passed_over, undecodable
from questream.records.template import Template

if TYPE_CHECKING:
    from questream.settings import InputSettings, Settings

MAX_ID_CHARACTERS = 512
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Above it a float no longer distinguishes neighbouring whole numbers: two ids would become one.
_EXACT_FLOAT = 2.0**53
_ONE_QUESTION = "a record has one question: an array needs a path into it, or input.arrays"


# Parsed, a value may take thirty times its bytes: `[{},{}` and so on. JSON may have six bytes for one of a text.
_LEAST_VALUE_LIMIT = 16 * 1024 * 1024
_VALUE_FOR_TEXT = 16


class QuestionDecoder:
    """Reads the questions of an input topic.

    `input.format` says what a value is: `records/formats` has a file for each. A document has id, text and namespace at
    `id_field`, `text_field` and `namespace_field`, dotted paths such as `payload.question.text`.

    Under every format a schema registry's frame and binary are refused. Envelopes, tombstones, changes of rows and
    arrays are read, passed over or refused as the settings say.

    A question's id is the one in its JSON, else the event's, else `topic/partition/offset`. Its namespace is that of
    the header, else the field, else the event's extension of the field's name, else the default: what is present must
    be valid, so that a mistake never lands in another tenant's clusters.
    """

    def __init__(
        self,
        input: InputSettings,
        default_namespace: str,
        sentences_of: Callable[[str], KnownSentences] = no_sentences,
    ) -> None:
        self._deserialize = open_deserializer(input)
        self._input = input
        self._id_path = input.id_field.split(".")
        self._text_path = input.text_field.split(".")
        self._template = None if input.text is None else Template(input.text)
        self._prepare = Preparation(input, sentences_of)
        self._namespace_path = input.namespace_field.split(".") if input.namespace_field else None
        header = input.namespace_header
        self._namespace_attribute = header[3:].lower() if header and header.lower().startswith("ce_") else None
        self._default_namespace = default_namespace
        self._max_text_bytes = input.max_text_bytes
        self._max_value_bytes = max(_LEAST_VALUE_LIMIT, _VALUE_FOR_TEXT * input.max_text_bytes)

    def decode(self, record: Record) -> Question:
        """The question in `record`, its text as it is prepared.

        Raises BadRecord with stage `decode` and a `Reason`, or stage `prepare`; PassedOver for what its sender does not
        mean as a question; DeserializerUnavailable where the same record may be read later; never another exception,
        whatever the bytes.
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
        read = self._deserialize(value, record.headers)
        if type(read.content) is list:
            read = self._of_array(read, read.content)
        read = self._of_envelope(read)
        levels: list[Any] = []
        if isinstance(read.content, str):
            text = read.content
        else:
            text, levels = self._find_text(read.content)
        if UNAVAILABLE in text and levels and self._is_left_out(text, levels[0]):
            raise passed_over(PassedOverReason.UPDATE)
        found_id = _find_in(levels, self._id_path)
        self._check_text(text)
        if found_id is ABSENT:
            found_id = read.event.id if read.event is not None else _place(record.source)
        namespace = self._namespace_of(read.event, levels, record.headers)
        prepared = self._prepare(text, namespace)
        if prepared != text:
            self._check_text(prepared)
        return Question(
            self._check_id(found_id),
            prepared,
            namespace,
            record,
            "" if prepared == text else self._prepare.version,
        )

    def _without_value(self, record: Record) -> BadRecord:
        is_event = any(name[:3].lower() == "ce_" for name, _ in record.headers)
        if record.key is not None and not is_event and self._input.tombstones == "skip":
            return passed_over(PassedOverReason.TOMBSTONE)
        return undecodable(Reason.NULL_VALUE, "the record must have a value")

    def _of_array(self, read: Read, array: list[Any]) -> Read:
        """The document to read of an array: itself where the path of the text leads into it, or its only message."""
        if not read.is_batch and self._text_in(array) is not ABSENT:
            return read
        if self._input.arrays == "skip":
            raise passed_over(PassedOverReason.ARRAY)
        if self._input.arrays == "single" and len(array) == 1 and isinstance(array[0], str | dict):
            return Read(array[0]) if read.element is None else read.element(array[0])
        refused = Reason.NOT_OBJECT if read.event is None else Reason.WRONG_TYPE
        raise undecodable(Reason.INVALID_CLOUDEVENT if read.is_batch else refused, _ONE_QUESTION)

    def _of_envelope(self, read: Read) -> Read:
        """The document to read of a Connect envelope: the event in it, unless the path of the text leads past that."""
        if type(read.content) is not dict or read.element is None or self._input.envelope != "auto":
            return read
        payload = payload_of(read.content)
        if type(payload) is not dict or any(self._text_in(level) is not ABSENT for level in (read.content, payload)):
            return read
        inner = read.element(payload)
        if inner.event is None:
            return read
        return self._of_array(inner, inner.content) if type(inner.content) is list else inner

    def _find_text(self, document: Any) -> tuple[str, list[Any]]:
        """The text, and the documents that may have id and namespace: that of the text, then those around it."""
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

    def _is_left_out(self, text: str, row: Any) -> bool:
        """True if the text, or a field of it, is what Debezium sends in its place, no text that speaks of that."""
        if self._template is None or type(row) is str:
            parts = [text]
        else:
            parts = [find(row, path.split(".")) for path in self._template.paths]
        return self._input.envelope == "auto" and UNAVAILABLE in parts

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
        if not 0 < len(found) <= MAX_ID_CHARACTERS or not is_visible(found):
            raise undecodable(
                Reason.INVALID_ID, f"an id has 1 to {MAX_ID_CHARACTERS} characters, a visible one at least"
            )
        return found

    def _decimal_id(self, found: Any) -> str:
        if type(found) not in (int, float):
            raise undecodable(Reason.WRONG_TYPE, f"`{self._input.id_field}` must be a string or a number")
        if type(found) is float and abs(found) >= _EXACT_FLOAT:
            raise undecodable(
                Reason.INVALID_ID, f"a number this large must be sent as a string in `{self._input.id_field}`"
            )
        return plain_number(found)

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


def open_decoder(settings: Settings, sentences_of: Callable[[str], KnownSentences] = no_sentences) -> QuestionDecoder:
    """The decoder of the input topic by these settings, and by what is known of the mails of a namespace."""
    return QuestionDecoder(settings.input, settings.clusters.namespace, sentences_of)


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
