"""CloudEvents 1.0 in Kafka records: which records are events, and what their data holds.

Sources: the CloudEvents Kafka protocol binding 1.0.3 (content modes, `ce_` headers) and JSON event format 1.0.2
(`data`, `data_base64`, `datacontenttype`).
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from questream.domain import Headers
from questream.errors import BadRecord
from questream.records.formats import json
from questream.records.formats.deserializer import Content, Deserializer, Event, Read
from questream.records.formats.serializer import Serialized, Serializer
from questream.records.parsing import opens_object, parse_json, parse_object, parse_undeclared, read_plain
from questream.records.paths import ABSENT
from questream.records.reasons import Reason, undecodable

if TYPE_CHECKING:
    from questream.settings import InputSettings

_Media = Literal["undeclared", "event", "batch", "json", "text", "unsupported"]

_REQUIRED = ("specversion", "id", "source", "type")
_REQUIRED_HEADERS = tuple(f"ce_{name}" for name in _REQUIRED)
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";]*)')
_UTF8_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
# All that a core attribute or member is called; every other name is an extension's.
_CORE = frozenset(
    (*_REQUIRED, "datacontenttype", "dataschema", "subject", "time", "data", "data_base64"),
)
# A media type is a few dozen characters; the cache below must not hold a record's megabytes.
_MEDIA_TYPE_CHARACTERS = 200


class Batch(NamedTuple):
    """A record in batched mode: events in a JSON array."""

    events: list[Any]


def deserializer(_input: InputSettings) -> Deserializer:
    """Events need no settings."""
    return _read


def serializer(input: InputSettings) -> Serializer:
    """An event in binary mode, whose data are as under `json`."""
    return _Serializer(json.serializer(input))


class _Serializer:
    has_fields = True

    def __init__(self, data: Serializer) -> None:
        self._data = data

    def __call__(self, id: str, text: str, fields: dict[str, Any], /) -> Serialized:
        attributes = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.encode()),
            ("ce_source", b"/questream/produce"),
            ("ce_type", b"questream.question"),
            ("content-type", b"application/json"),
        ]
        return Serialized(self._data(id, text, fields).value, attributes)


def is_extension(name: str) -> bool:
    """True if an attribute of this name is none that the specification names."""
    return name not in _CORE


def read_declared(value: bytes, headers: Headers) -> Event | Batch | None:
    """The event, or the batch of them, of a record whose headers declare one; None where they do not.

    They do with a `content-type` that begins `application/cloudevents` (structured and batched mode) or with all four
    required attributes as `ce_` headers (binary mode). Names match in any case; of equal names the last one counts.
    Raises BadRecord `invalid_cloudevent`, or what is wrong with the data.
    """
    attributes = {name.lower(): header or b"" for name, header in headers}
    declared = attributes.get("content-type", b"")
    # Structured first: such a record may carry the `ce_` headers too.
    if declared[:23].lower() == b"application/cloudevents":
        media = _media_of(declared[:_MEDIA_TYPE_CHARACTERS].decode("latin-1"))
        if media == "batch":
            events = parse_json(value)
            if type(events) is list:
                return Batch(events)
        if media != "event":
            raise _invalid("a structured event must be in the JSON event format, application/cloudevents+json")
        return read_structured(parse_object(value))
    if not all(name in attributes for name in _REQUIRED_HEADERS):
        return None
    if not all(attributes[name] for name in _REQUIRED_HEADERS):
        raise _invalid("ce_specversion, ce_id, ce_source and ce_type must not be empty")
    _check_version(attributes["ce_specversion"].decode("latin-1"))
    media = _media_of(declared[:_MEDIA_TYPE_CHARACTERS].decode("latin-1"))

    def attribute(name: str) -> Any:
        header = attributes.get(f"ce_{name}")
        return ABSENT if header is None else header.decode("latin-1")

    return Event(_read_data(value, media), _event_id(attributes["ce_id"]), attribute)


def is_event(document: dict[str, Any]) -> bool:
    """True if a JSON object has the four attributes that make it a structured event."""
    return all(name in document for name in _REQUIRED)


def read_structured(document: dict[str, Any]) -> Event:
    """The event that a JSON object in the JSON event format holds.

    Raises BadRecord `invalid_cloudevent`, or what is wrong with the data.
    """
    for name in _REQUIRED:
        attribute = document.get(name)
        if type(attribute) is not str or not attribute:
            raise _invalid("specversion, id, source and type must be strings and not empty")
    _check_version(document["specversion"])
    content_type = document.get("datacontenttype")
    if content_type is not None and type(content_type) is not str:
        raise _invalid("datacontenttype must be a string")
    media = _media_of((content_type or "")[:_MEDIA_TYPE_CHARACTERS])
    encoded = document.get("data_base64")
    if encoded is None:
        content = _structured_content(document.get("data"), media)
    elif document.get("data") is not None:
        raise _invalid("an event has data or data_base64, not both")
    else:
        content = _read_data(_from_base64(encoded), media)
    return Event(content, document["id"], lambda name: _as_header(document.get(name, ABSENT)))


def to_read(declared: Event | Batch) -> Read:
    """An event or a batch of them, as the decoder takes it."""
    if isinstance(declared, Batch):
        return Read(declared.events, is_batch=True, element=_of_element)
    return Read(declared.content, declared, element=lambda message: Read(message, declared))


def _read(value: bytes, headers: Headers) -> Read:
    declared = read_declared(value, headers)
    if declared is not None:
        return to_read(declared)
    found = parse_json(value) if opens_object(value) or value.lstrip()[:1] == b"[" else {}
    if type(found) is list:
        return to_read(Batch(found))
    if not is_event(found):
        raise _invalid("an event has specversion, id, source and type, as ce_ headers or in its JSON")
    return to_read(read_structured(found))


def _of_element(element: str | dict[str, Any]) -> Read:
    return to_read(read_structured(element if isinstance(element, dict) else {}))


def _structured_content(data: object, media: _Media) -> Content:
    if media in ("unsupported", "event", "batch"):
        raise _invalid("data must be JSON or plain text, in UTF-8")
    if media == "text" and data is not None and type(data) is not str:
        raise undecodable(Reason.WRONG_TYPE, "data of an event with a text content type must be a string")
    return _json_content(data)


def _read_data(data: bytes, media: _Media) -> Content:
    if media == "text":
        return read_plain(data)
    if media == "json" or media == "undeclared":
        return _json_content(parse_json(data) if media == "json" or opens_object(data) else parse_undeclared(data))
    raise _invalid("data must be JSON or plain text, in UTF-8")


def _json_content(data: object) -> Content:
    if isinstance(data, str | dict | list):
        return data
    if data is None:
        raise undecodable(Reason.MISSING_TEXT, "the event must have data")
    raise undecodable(Reason.WRONG_TYPE, "data must be a JSON object, an array or a string")


@lru_cache(maxsize=256)
def _media_of(content_type: str) -> _Media:
    lowered = content_type.lower()
    media_type = lowered.partition(";")[0].strip()
    charset = _CHARSET.search(lowered)
    if charset is not None and charset[1] not in _UTF8_CHARSETS:
        return "unsupported"
    if media_type in ("application/cloudevents", "application/cloudevents+json"):
        return "event"
    if media_type == "application/cloudevents-batch+json":
        return "batch"
    if media_type.endswith(("/json", "+json")):
        return "json"
    if media_type.startswith("text/"):
        return "text"
    return "unsupported" if media_type else "undeclared"


def _check_version(specversion: str) -> None:
    # Attributes and their encoding differ in 0.x; a later 1.x only adds to 1.0.
    if not specversion.startswith("1."):
        raise _invalid("specversion must be 1.0")


def _event_id(header: bytes) -> str:
    try:
        return header.decode()
    except UnicodeDecodeError:
        pass
    raise _invalid("ce_id must be UTF-8")


def _as_header(attribute: Any) -> Any:
    """An attribute of the JSON format as the Kafka binding writes it into a header."""
    if type(attribute) is bool:
        return "true" if attribute else "false"
    return str(attribute) if type(attribute) is int else attribute


def _from_base64(encoded: object) -> bytes:
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:
            pass
    raise _invalid("data_base64 must be a string of base64")


def _invalid(expected: str) -> BadRecord:
    return undecodable(Reason.INVALID_CLOUDEVENT, expected)
