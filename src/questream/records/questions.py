"""Questions as records of the input topic, in the form that `input.*` says they have there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from questream.errors import SettingsError
from questream.records.formats import open_serializer
from questream.records.formats.json import put

if TYPE_CHECKING:
    from questream.settings import InputSettings


class QuestionRecord(NamedTuple):
    """Key, value and headers of a record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class QuestionEncoder:
    """Makes records that the worker's decoder reads back, in the form that `input.*` says they have.

    Raises SettingsError where questions cannot be written in `input.format`.
    """

    def __init__(self, input: InputSettings) -> None:
        self._input = input
        self._serialize = open_serializer(input)
        self._own = {path.split(".")[0] for path in (input.id_field, input.text_field, input.namespace_field) if path}

    def require_fields(self) -> None:
        """Raise SettingsError where a record of this format has no place for fields."""
        if not self._serialize.has_fields:
            raise SettingsError(
                f"input.format is {self._input.format}: a record has no place for fields", "send them as headers"
            )

    def encode(
        self,
        id: str,
        text: str,
        namespace: str | None = None,
        fields: Mapping[str, object] | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> QuestionRecord:
        """The record of a question; `fields` are in its value, except where a field of `input.*` has its place.

        Raises SettingsError if there is a namespace or there are fields, and the settings leave no place for them.
        """
        if fields:
            self.require_fields()
        document: dict[str, Any] = {name: value for name, value in (fields or {}).items() if name not in self._own}
        own_headers = [] if namespace is None else self._place(namespace, document)
        value, of_format = self._serialize(id, text, document)
        return QuestionRecord(id.encode(), value, [*of_format, *headers, *own_headers])

    def _place(self, namespace: str, document: dict[str, Any]) -> list[tuple[str, bytes]]:
        """Put the namespace where the worker reads it: into a header that is returned, or into the document."""
        input = self._input
        if input.namespace_header is not None:
            return [(input.namespace_header, namespace.encode())]
        if input.namespace_field is not None and self._serialize.has_fields:
            put(document, input.namespace_field, namespace)
            return []
        raise SettingsError(
            "the settings give a namespace no place that the worker reads it from",
            "set input.namespace_header or input.namespace_field",
        )
