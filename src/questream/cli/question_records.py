"""Questions as records of the input topic, in the form that `input.*` says they have there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class QuestionEncoder:
    """Makes records that the worker's decoder reads back, in the form that `input.*` says they have.

    Format `text` carries no id: the worker names such a question by its place in the topic.
    """

    def __init__(self, input: InputSettings) -> None:
        self._input = input
        self._own = {path.split(".")[0] for path in (input.id_field, input.text_field, input.namespace_field) if path}

    def encode(
        self,
        id: str,
        text: str,
        namespace: str | None = None,
        fields: Mapping[str, object] | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> QuestionRecord:
        """The record of a question; `fields` stand in its JSON, except where a field of `input.*` has its place.

        Raises SettingsError if there is a namespace or there are fields, and the settings leave no place for them.
        """
        own_headers, own_fields = _namespace(self._input, namespace)
        all_headers = [*headers, *own_headers]
        if self._input.format == "text":
            if fields:
                raise SettingsError("input.format is text: a record has no place for fields", "send them as headers")
            return QuestionRecord(id.encode(), text.encode(), all_headers)
        document: dict[str, Any] = {name: value for name, value in (fields or {}).items() if name not in self._own}
        for path, value in ((self._input.id_field, id), (self._input.text_field, text), *own_fields):
            _put(document, path, value)
        if self._input.format == "cloudevents":
            all_headers = [*_event_attributes(id), *all_headers]
        return QuestionRecord(id.encode(), orjson.dumps(document), all_headers)


def _event_attributes(id: str) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", b"/questream/produce"),
        ("ce_type", b"questream.question"),
        ("content-type", b"application/json"),
    ]


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
