"""The registry of record formats: each is there, and a format of one's own is a file and a line."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import get_args

import pytest

import questream.records.formats
from questream.domain import Headers, Record, Source
from questream.errors import DeserializerUnavailable, Recourse, recourse_of
from questream.records import QuestionDecoder
from questream.records.formats import Deserializer, Read, open_deserializer
from questream.settings import InputSettings
from questream.settings.formats import FORMATS, Format
from questream.stream.retry import Retry

RECORD = Record(Source("questions", 0, 7, -1), None, b"Where is my card?", ())
registry_answers = threading.Event()


def waiting(_input: InputSettings) -> Deserializer:
    """A format whose registry does not answer at first."""

    def read(value: bytes, _headers: Headers) -> Read:
        if not registry_answers.is_set():
            registry_answers.set()
            raise DeserializerUnavailable("the schema registry did not answer", "check that it runs")
        return Read(value.decode())

    return read


def test_the_setting_takes_what_the_registry_has() -> None:
    assert get_args(Format) == tuple(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_opens_and_stands_in_a_file_of_its_name(format: str) -> None:
    assert callable(open_deserializer(InputSettings(format=format)))
    folder = Path(questream.records.formats.__file__).parent
    assert (folder / f"{format}.py").is_file()


def test_a_decode_that_may_succeed_later_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "text", f"{__name__}:waiting")
    registry_answers.clear()
    decoder, retry = QuestionDecoder(InputSettings(format="text"), "default"), Retry(threading.Event())
    with pytest.raises(DeserializerUnavailable) as caught:
        decoder.decode(RECORD)
    assert recourse_of(caught.value) is Recourse.RETRY
    registry_answers.clear()
    assert retry.call(decoder.decode, RECORD).text == "Where is my card?"
    assert retry.available
