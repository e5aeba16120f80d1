"""Which column of a file becomes what of a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.domain import Record, Source
from questream.errors import SettingsError
from questream.records import QuestionDecoder
from questream.records.rows import QuestionFileError
from questream.settings import InputSettings, Settings
from questream.tools.producing.file_records import Columns, FileRecord, FileRecords, check_columns, moment_ms

TICKETS = "Ticket,Subject,Body,Created,Tenant\n7,Card,Where is it?,2026-01-02T03:04:05Z,bank\n8,PIN,,,\n"


def records(folder: Path, content: str, name: str = "q.csv", input: dict[str, Any] | None = None, **more: Any) -> Any:
    path = folder / name
    path.write_text(content)
    settings = Settings(input=InputSettings(**(input or {})))
    return list(FileRecords(settings, **more).read(path))


def value(one: FileRecord) -> Any:
    return json.loads(one.record.value)


def test_a_template_joins_columns_whatever_their_capitals(tmp_path: Path) -> None:
    columns = Columns(text=["{subject}: {Body}"], id="ticket", timestamp="created")
    with pytest.raises(QuestionFileError, match='line 3: "created" is no moment'):
        records(tmp_path, TICKETS, columns=columns)
    first, second = records(tmp_path, TICKETS.replace("8,PIN,,,", "8,PIN,,1767323045,"), columns=columns)
    assert value(first) == {"id": "7", "text": "Card: Where is it?"}
    assert value(second) == {"id": "8", "text": "PIN:"}
    assert (first.timestamp_ms, second.timestamp_ms) == (1767323045000, 1767323045000)


def test_several_columns_are_joined_by_a_space(tmp_path: Path) -> None:
    first, second = records(tmp_path, TICKETS, columns=Columns(text=["Subject", "Body"]))
    assert [value(one)["text"] for one in (first, second)] == ["Card Where is it?", "PIN"]
    assert first.record.key == b"q-2"


def test_other_columns_become_fields_and_headers_on_request(tmp_path: Path) -> None:
    columns = Columns(text=["Body"], id="Ticket", fields=["*"], headers=["Tenant"])
    first = records(tmp_path, TICKETS.rpartition("8,")[0], columns=columns)[0]
    assert value(first) == {
        "id": "7",
        "text": "Where is it?",
        "Subject": "Card",
        "Created": "2026-01-02T03:04:05Z",
        "Tenant": "bank",
    }
    assert first.record.headers == [("Tenant", b"bank")]


def test_fields_of_json_keep_their_types(tmp_path: Path) -> None:
    row = json.dumps({"q": {"text": "Why?"}, "tags": ["a", 1], "n": 1.5, "none": None})
    (one,) = records(tmp_path, row, "q.jsonl", columns=Columns(text=["q.text"], fields=["tags", "n", "none"]))
    assert value(one) == {"id": "q-1", "text": "Why?", "tags": ["a", 1], "n": 1.5, "none": None}


def test_what_is_produced_is_what_run_reads(tmp_path: Path) -> None:
    input: dict[str, Any] = {"text_field": "payload.question", "id_field": "payload.key", "namespace_header": "tenant"}
    row = json.dumps({"payload": {"question": "Why?", "key": "mine"}, "who": "bank"})
    (one,) = records(tmp_path, row, "q.jsonl", input, columns=Columns(namespace="who"))
    key, sent, headers = one.record
    record = Record(Source("questions", 0, 0, 0), key, sent, tuple(headers))
    read = QuestionDecoder(InputSettings(**input), "default").decode(record)
    assert (read.id, read.text, read.namespace) == ("mine", "Why?", "bank")


@pytest.mark.parametrize(
    ("content", "columns", "told"),
    [
        ("text\nfine\n  \n\u200b\n", {}, "line 3: a worker would refuse it: a question must have a visible"),
        ("text,id\nfine," + "x" * 513, {}, "line 2: a worker would refuse it: an id has 1 to 512"),
        ("text,who\nfine,a b", {"namespace": "who"}, "line 2: a worker would refuse it: a namespace has"),
        ("text,at\nfine,soon", {"timestamp": "at"}, 'line 2: "at" is no moment'),
        ("text,key\nfine,", {"id": "key"}, 'line 2: nothing in "key"'),
        ("a,b\nfine,", {"text": ["b"]}, "line 2: no text in 'b'"),
        ("a,b\nfine,", {"text": ["c"]}, 'line 1: no column "c" in the header'),
        ("text,b\nfine,", {"fields": ["c"]}, 'line 1: no column "text" and "c" in the header'),
    ],
)
def test_a_line_that_a_worker_would_refuse_is_named_before_it_is_sent(
    tmp_path: Path, content: str, columns: dict[str, Any], told: str
) -> None:
    with pytest.raises(QuestionFileError) as refused:
        records(tmp_path, content, input={"namespace_field": "tenant"}, columns=Columns(**columns))
    assert told in str(refused.value)


def test_what_the_form_of_the_records_has_no_place_for_is_refused() -> None:
    text = Settings(input=InputSettings(format="text"))
    with pytest.raises(SettingsError, match="no place for fields"):
        check_columns(Columns(fields=["a"]), text)
    with pytest.raises(SettingsError, match="namespace_header"):
        check_columns(Columns(namespace="a"), text)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-01-02T03:04:05Z", 1767323045000),
        ("2026-01-02 04:04:05+01:00", 1767323045000),
        ("2026-01-02", 1767312000000),
        (1767323045, 1767323045000),
        ("1767323045.5", 1767323045500),
        (1767323045000, 1767323045000),
        ("1767323045000000", 1767323045000),
        (1767323045000000000, 1767323045000),
        (17, None),
        ("soon", None),
        ("nan", None),
        ("1e999", None),
        (True, None),
        ("9999-12-31T23:59:59-23:59", None),
        ([1], None),
    ],
)
def test_a_moment_is_iso_8601_or_an_epoch_of_any_unit(given: object, moment: int | None) -> None:
    assert moment_ms(given) == moment


def test_a_column_that_nobody_called_a_time_is_one_only_where_it_can_be(tmp_path: Path) -> None:
    content = "text,ts\na,1767323045\nb,17\nc,\n"
    assert [one.timestamp_ms for one in records(tmp_path, content)] == [1767323045000, None, None]
    assert [one.timestamp_ms for one in records(tmp_path, content, timestamps=False)] == [None] * 3


@given(st.text(max_size=30) | st.floats() | st.integers() | st.none() | st.booleans())
def test_no_value_is_too_strange_to_be_no_moment(given: object) -> None:
    moment = moment_ms(given)
    assert moment is None or 0 < moment < 10**13
