"""Rows of a file as records of the input topic: which column is text, id, time, namespace, field or header."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from questream.domain import Record, Source
from questream.errors import BadRecord
from questream.records import QuestionDecoder, open_decoder
from questream.records.files import TIME_COLUMNS, file_stem, value_of
from questream.records.questions import QuestionEncoder, QuestionRecord
from questream.records.rows import FileFormat, QuestionFileError, Refuse, Row, at_line, raise_error, read_rows

if TYPE_CHECKING:
    from questream.settings import Settings

ALL_COLUMNS = "*"

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
# The size of a number decides its unit: seconds, then milli-, micro- and nanoseconds.
_UNITS_PER_MS = ((1e11, 0.001), (1e14, 1.0), (1e17, 1e3), (math.inf, 1e6))
# A time outside is not that of a question, but a counter or another unit.
_EARLIEST_MS = datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000
_LATEST_MS = datetime(2200, 1, 1, tzinfo=UTC).timestamp() * 1000


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file by their use; None and empty where the user named none.

    `text` is a column's name or a template such as `{subject} {body}`; several are joined by a space.
    """

    text: Sequence[str] = ()
    id: str | None = None
    timestamp: str | None = None
    namespace: str | None = None
    fields: Sequence[str] = ()
    headers: Sequence[str] = ()

    @property
    def text_names(self) -> list[str]:
        """The columns that the text is made of."""
        return [name for part in self.text for name in _PLACEHOLDER.findall(part) or [part]]

    @property
    def named(self) -> list[str]:
        """All columns that the user named."""
        single = [name for name in (self.id, self.timestamp, self.namespace) if name is not None]
        kept = [name for name in (*self.fields, *self.headers) if name != ALL_COLUMNS]
        return [*self.text_names, *single, *kept]


class FileRecord(NamedTuple):
    """A record to send, and its line; without a timestamp it gets that of its sending."""

    line: int
    record: QuestionRecord
    timestamp_ms: int | None


@dataclass(frozen=True)
class FileRecords:
    """Reads the records of a file. Each is one that a worker with these settings reads back and does not refuse."""

    settings: Settings
    columns: Columns = Columns()
    namespace: str | None = None
    format: FileFormat | None = None
    timestamps: bool = True

    def read(self, file: Path, refuse: Refuse = raise_error) -> Iterator[FileRecord]:
        """The records in the file's order; lines that cannot be sent are given to `refuse` as `read_rows` does.

        Raises QuestionFileError, and SettingsError where the settings have no place for what is asked.
        """
        input = self.settings.input
        encoder = QuestionEncoder(input)
        decoder = open_decoder(self.settings)
        named = self.columns.named
        texts = [["text"], [input.text_field]]
        needed = [[*named]] if self.columns.text else [[*found, *named] for found in texts]
        for line, row in read_rows(file, needed, self.format, refuse, optional=["id", input.id_field, *TIME_COLUMNS]):
            try:
                yield self._record(file, line, row, encoder, decoder)
            except QuestionFileError as error:
                refuse(error)

    def _record(
        self, file: Path, line: int, row: Row, encoder: QuestionEncoder, decoder: QuestionDecoder
    ) -> FileRecord:
        def wrong(problem: str) -> QuestionFileError:
            return at_line(file, line, problem)

        text = self._text(row, wrong)
        id = self._name(row, self.columns.id or "id", self.columns.id is not None, wrong)
        if id is None and self.columns.id is None:
            id = self._name(row, self.settings.input.id_field, False, wrong)
        namespace = self.namespace
        if self.columns.namespace is not None:
            namespace = self._name(row, self.columns.namespace, False, wrong) or namespace
        record = encoder.encode(
            id or f"{file_stem(file)}-{line}", text, namespace, self._fields(row), self._headers(row)
        )
        try:
            decoder.decode(Record(Source("", 0, 0, 0), record.key, record.value, tuple(record.headers)))
        except BadRecord as error:
            raise wrong(f"a worker would refuse it: {error}") from None
        return FileRecord(line, record, self._timestamp(row, wrong))

    def _text(self, row: Row, wrong: Callable[[str], QuestionFileError]) -> str:
        if not self.columns.text:
            found = value_of(row, "text")
            text = found if found is not None else value_of(row, self.settings.input.text_field)
            if not isinstance(text, str):
                raise wrong('no string "text"')
            return text
        values: dict[str, str] = {}
        for name in self.columns.text_names:
            value = value_of(row, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
                raise wrong(f'"{name}" is no text')
            values[name] = "" if value is None else str(value)
        if not any(values.values()):
            raise wrong(f"no text in {' and '.join(f'{name!r}' for name in values)}")
        filled = (_filled(part, values) for part in self.columns.text)
        return " ".join(part for part in filled if part)

    def _name(self, row: Row, column: str, is_needed: bool, wrong: Callable[[str], QuestionFileError]) -> str | None:
        value = value_of(row, column)
        if value in (None, ""):
            if is_needed:
                raise wrong(f'nothing in "{column}"')
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise wrong(f'"{column}" is neither a string nor a whole number')
        return str(value)

    def _fields(self, row: Row) -> Mapping[str, object]:
        chosen: Sequence[str] = self.columns.fields
        if ALL_COLUMNS in chosen:
            chosen = [name for name in row if name.lower() not in self._used]
        return {name: value_of(row, name) for name in chosen}

    def _headers(self, row: Row) -> list[tuple[str, bytes]]:
        chosen: Sequence[str] = self.columns.headers
        if ALL_COLUMNS in chosen:
            chosen = [name for name in row if name.lower() not in self._used]
        found = ((name, value_of(row, name)) for name in chosen)
        return [(name, _header(value)) for name, value in found if name and value not in (None, "")]

    @property
    def _used(self) -> set[str]:
        """The columns that have other places in the record."""
        own = (self.columns.id or "id", self.columns.timestamp, self.columns.namespace)
        texts = self.columns.text_names or ["text"]
        return {name.lower() for name in (*texts, *own) if name is not None}

    def _timestamp(self, row: Row, wrong: Callable[[str], QuestionFileError]) -> int | None:
        if not self.timestamps:
            return None
        if self.columns.timestamp is None:
            found = next((value for name in TIME_COLUMNS if (value := value_of(row, name)) not in (None, "")), None)
            # Nobody has said that this column is a time: what cannot be one is none.
            return None if found is None else moment_ms(found)
        given = value_of(row, self.columns.timestamp)
        moment = None if given in (None, "") else moment_ms(given)
        if moment is None:
            raise wrong(f'"{self.columns.timestamp}" is no moment: ISO 8601, or seconds or milliseconds since 1970')
        return moment


def check_columns(columns: Columns, settings: Settings) -> None:
    """Raise SettingsError where a record of `input.format` has no field for an option."""
    encoder = QuestionEncoder(settings.input)
    if columns.fields:
        encoder.require_fields()
    if columns.namespace is not None:
        encoder.encode("1", "?", "default")


def moment_ms(value: object) -> int | None:
    """Milliseconds since the epoch of ISO 8601 or a number of any usual unit; None for anything else."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        number = _iso_ms(text)
    else:
        if isinstance(value, bool) or not math.isfinite(number):
            return None
        number /= next(per_ms for limit, per_ms in _UNITS_PER_MS if abs(number) < limit)
    return int(number) if _EARLIEST_MS <= number <= _LATEST_MS else None


def _iso_ms(text: str) -> float:
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        return math.nan


def _filled(part: str, values: Mapping[str, str]) -> str:
    if not _PLACEHOLDER.search(part):
        return values[part].strip()
    return _PLACEHOLDER.sub(lambda found: values[found[1]], part).strip()


def _header(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
