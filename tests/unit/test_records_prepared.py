"""The text of a question as settings make it: of several fields, of a mail, by a function of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from questream.domain import Question, Record, Source
from questream.errors import BadRecord, SettingsError
from questream.records import QuestionDecoder
from questream.records.files import FileQuestion, FileTexts, LabelledPair, holds_pairs, read_pairs, read_questions
from questream.records.rows import QuestionFileError
from questream.settings import InputSettings, load_settings

SOURCE = Source("questions", 3, 7, 1_795_486_680_123)
MAIL = "Hello,\n\nwhere is my card?\n\nBest regards\nAnna"


def read(value: Any, **settings: Any) -> Question:
    encoded = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    return QuestionDecoder(InputSettings(**settings), "default").decode(Record(SOURCE, None, encoded))


def test_a_mail_is_read_as_the_question_in_it_and_says_so() -> None:
    for value in (MAIL, {"text": MAIL}):
        question = read(value)
        assert (question.text, question.prepared_by) == ("where is my card?", "mail-6")


def test_a_plain_question_is_as_it_was_sent() -> None:
    question = read({"text": " where is\tmy card? "})
    assert (question.text, question.prepared_by) == (" where is\tmy card? ", "")


def test_nothing_is_prepared_where_it_is_off() -> None:
    question = read({"text": MAIL}, prepare="off")
    assert (question.text, question.prepared_by) == (MAIL, "")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"subject": "Card", "ticket": {"body": "Where is it?"}}, "Card\nWhere is it?"),
        ({"subject": "Card", "ticket": {}}, "Card"),
        ({"subject": None, "ticket": {"body": "Where is it?"}}, "Where is it?"),
        ({"subject": 17, "ticket": {"body": 2.5}}, "17\n2.5"),
        ({"subject": "{body}", "ticket": {"body": "{0}"}}, "{body}\n{0}"),
    ],
)
def test_a_template_makes_the_text_of_several_fields(document: Any, text: str) -> None:
    assert read(document, text="{subject}\n{ticket.body}").text == text


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"text": "Where is it?"}, "missing_text"),
        ({"subject": None, "body": None}, "missing_text"),
        ({"subject": ["Card"], "body": "x"}, "wrong_type"),
        ({"subject": True, "body": "x"}, "wrong_type"),
        ({"subject": " ", "body": ""}, "empty_text"),
    ],
)
def test_a_template_that_finds_no_text_refuses_the_record(document: Any, reason: str) -> None:
    with pytest.raises(BadRecord) as refused:
        read(document, text="{subject}\n{body}")
    assert refused.value.reason == reason


def test_a_template_reads_the_row_in_an_envelope() -> None:
    value = {"op": "c", "source": {}, "after": {"id": "r1", "subject": "Card", "body": "Where?"}}
    question = read(value, text="{subject}: {body}")
    assert (question.id, question.text) == ("r1", "Card: Where?")


@pytest.mark.parametrize("template", ["no field", "{}", "{a", "{a!r}", "{a:>8}"])
def test_a_template_without_a_path_is_refused_by_name(template: str) -> None:
    with pytest.raises(SettingsError, match=r"input\.text") as refused:
        load_settings(overrides={"input.text": template})
    assert "dotted paths in braces" in str(refused.value)


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's with hooks."""
    (tmp_path / "own_hooks.py").write_text(
        "shout = str.upper\n"
        "def fails(text): raise ValueError(text)\n"
        "def nothing(text): return None\n"
        "def empties(text): return ''\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_hooks"


def test_a_hook_is_called_last(hooks: str) -> None:
    question = read(MAIL, prepare_hook=f"{hooks}:shout")
    assert (question.text, question.prepared_by) == ("WHERE IS MY CARD?", f"mail-6+{hooks}:shout")


@pytest.mark.parametrize(
    ("function", "stage", "reason"),
    [("fails", "prepare", "hook_failed"), ("nothing", "prepare", "hook_failed"), ("empties", "decode", "empty_text")],
)
def test_what_a_hook_fails_at_is_refused_without_its_text(hooks: str, function: str, stage: str, reason: str) -> None:
    with pytest.raises(BadRecord) as refused:
        read("a secret question", prepare_hook=f"{hooks}:{function}")
    assert (refused.value.stage, refused.value.reason) == (stage, reason)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


@pytest.mark.parametrize("name", ["no_such_module:f", "json:no_such_function", "own_hooks:number"])
def test_a_hook_that_is_not_there_ends_the_start_by_name(hooks: str, name: str) -> None:
    with pytest.raises(SettingsError, match=r"input\.prepare_hook"):
        read("x", prepare_hook=name)


@pytest.mark.parametrize(
    ("settings", "row"),
    [
        ({}, {"text": MAIL}),
        ({}, {"text": " where is\tmy card? "}),
        ({"prepare": "off"}, {"text": MAIL}),
        ({"text": "{subject}\n{ticket.body}"}, {"subject": "Card", "ticket": {"body": f"{MAIL}"}}),
        ({"text": "{subject} {body}"}, {"subject": None, "body": "Where is it?", "text": "not this"}),
        ({"text_field": "payload.text"}, {"payload": {"text": MAIL}}),
        ({"prepare_hook": "textwrap:dedent"}, {"text": "  where?"}),
    ],
)
def test_a_row_of_a_file_is_read_as_its_record_is(tmp_path: Path, settings: Any, row: Any) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(row | {"id": "a", "gold": "g"}))
    as_decoded = read(row, **settings).text
    assert list(read_questions(path, FileTexts(InputSettings(**settings)))) == [FileQuestion("a", as_decoded, "g")]


def test_a_table_with_the_fields_of_the_template_needs_no_text(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("subject,body\nCard,Where is it?\n,Where?\n")
    texts = FileTexts(InputSettings(text="{subject} {body}"))
    assert [question.text for question in read_questions(path, texts)] == ["Card Where is it?", "Where?"]
    assert not holds_pairs(path, texts)


def test_pairs_of_a_file_are_prepared(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"a": MAIL, "b": "where?", "label": 1}))
    assert list(read_pairs(path, FileTexts(InputSettings()))) == [LabelledPair("where is my card?", "where?", True)]
    assert next(read_pairs(path)).text_a == MAIL


def test_a_file_that_a_hook_fails_at_is_refused_by_its_line(hooks: str, tmp_path: Path) -> None:
    texts = FileTexts(InputSettings(prepare_hook=f"{hooks}:fails"))
    for reading, row in ((read_questions, {"text": "a secret"}), (read_pairs, {"a": "a secret", "b": "c", "label": 1})):
        path = tmp_path / "q.jsonl"
        path.write_text(json.dumps(row))
        with pytest.raises(QuestionFileError, match=r"line 1: input\.prepare_hook failed") as refused:
            list(reading(path, texts))
        assert "secret" not in str(refused.value)
