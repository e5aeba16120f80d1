from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.domain import Record, Source
from questream.errors import SettingsError
from questream.records import QuestionDecoder
from questream.records.formats import is_written
from questream.records.parsing import is_visible
from questream.records.questions import QuestionEncoder
from questream.settings import InputSettings
from questream.settings.formats import FORMATS

TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(is_visible)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50).filter(is_visible)


def sent_and_read(input: InputSettings, id: str, text: str, namespace: str | None) -> Any:
    encoded = QuestionEncoder(input).encode(id, text, namespace)
    record = Record(Source("questions", 0, 7, 0), encoded.key, encoded.value, tuple(encoded.headers))
    return QuestionDecoder(input, "default").decode(record)


@given(format=st.sampled_from(["json", "cloudevents", "auto"]), id=IDS, text=TEXTS)
def test_the_worker_reads_back_what_is_produced(format: Any, id: str, text: str) -> None:
    question = sent_and_read(InputSettings(format=format), id, text, None)
    assert (question.id, question.text, question.namespace) == (id, text, "default")


@given(text=TEXTS)
def test_plain_text_carries_no_id(text: str) -> None:
    question = sent_and_read(InputSettings(format="text"), "mine", text, None)
    assert (question.id, question.text) == ("questions/0/7", text)


@pytest.mark.parametrize("format", [name for name in FORMATS if is_written(name)])
def test_the_namespace_is_read_from_the_header_that_the_settings_name(format: Any) -> None:
    input = InputSettings(format=format, namespace_header="tenant", namespace_field="other")
    assert sent_and_read(input, "1", "Why?", "bank").namespace == "bank"


@pytest.mark.parametrize("format", ["auto", "json", "cloudevents"])
def test_the_namespace_is_read_from_the_field_that_the_settings_name(format: Any) -> None:
    input = InputSettings(format=format, namespace_field="meta.tenant")
    assert sent_and_read(input, "1", "Why?", "bank").namespace == "bank"


@pytest.mark.parametrize("format", ["auto", "json", "cloudevents"])
def test_fields_stand_where_the_settings_say(format: Any) -> None:
    input = InputSettings(format=format, id_field="payload.id", text_field="payload.question.text")
    question = sent_and_read(input, "mine", "Why?", None)
    assert (question.id, question.text) == ("mine", "Why?")


def test_a_format_that_questions_cannot_be_written_in_is_refused_with_those_that_they_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FORMATS, "text", f"{__name__}:no_deserializer")
    with pytest.raises(SettingsError, match=r"input\.format = 'text'.*one of auto, json, cloudevents"):
        QuestionEncoder(InputSettings(format="text"))


@pytest.mark.parametrize(
    "input", [InputSettings(), InputSettings(format="text", namespace_field="tenant")], ids=["nowhere", "text"]
)
def test_a_namespace_that_the_worker_would_not_read_is_refused(input: InputSettings) -> None:
    with pytest.raises(SettingsError, match=r"input\.namespace_header"):
        QuestionEncoder(input).encode("1", "Why?", "bank")
