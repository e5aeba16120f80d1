"""Questions as records of the input topic, in the form that `input.*` says they have there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from questream.errors import SettingsError

if TYPE_CHECKING:
    from questream.settings import InputSettings


class QuestionRecord(NamedTuple):
    """Key, value and headers of a record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def question_encoder(input: InputSettings, namespace: str | None) -> Callable[[str, str], QuestionRecord]:
    """A function from id and text to a record that the worker's decoder reads back.

    Format `text` carries no id: the worker names such a question by its place in the topic.
    Raises SettingsError if there is a namespace and the settings say nowhere where it is read.
    """
    headers, fields = _namespace(input, namespace)

    def as_json(id: str, text: str) -> QuestionRecord:
        document: dict[str, Any] = {}
        for path, value in ((input.id_field, id), (input.text_field, text), *fields):
            _put(document, path, value)
        return QuestionRecord(id.encode(), orjson.dumps(document), headers)

    def as_text(id: str, text: str) -> QuestionRecord:
        return QuestionRecord(id.encode(), text.encode(), headers)

    def as_event(id: str, text: str) -> QuestionRecord:
        record = as_json(id, text)
        attributes = [
            ("ce_specversion", b"1.0"),
            ("ce_id", id.encode()),
            ("ce_source", b"/questream/produce"),
            ("ce_type", b"questream.question"),
            ("content-type", b"application/json"),
        ]
        return record._replace(headers=[*attributes, *headers])

    return {"auto": as_json, "json": as_json, "text": as_text, "cloudevents": as_event}[input.format]


def _namespace(input: InputSettings, namespace: str | None) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    """Headers and fields that say the namespace."""
    if namespace is None:
        return [], []
    if input.namespace_header is not None:
        return [(input.namespace_header, namespace.encode())], []
    if input.namespace_field is not None and input.format != "text":
        return [], [(input.namespace_field, namespace)]
    raise SettingsError(
        "--namespace needs input.namespace_header or input.namespace_field: without, the worker would not read it"
    )


def _put(document: dict[str, Any], path: str, value: str) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = value
