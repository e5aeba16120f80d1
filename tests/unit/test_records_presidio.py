"""The example of `docs/records.md` that takes personal data out of questions with Presidio, as it stands there."""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from questream.domain import Question, Record, Source
from questream.records import QuestionDecoder
from questream.settings import InputSettings

# Looked for and not imported: with spaCy behind it that takes seconds, in each process that collects tests.
pytestmark = pytest.mark.skipif(find_spec("presidio_analyzer") is None, reason="presidio-analyzer has the recognizers")

HOOK = "redaction:without_personal_data"


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuestionDecoder:
    """A decoder whose hook is the example, on a machine that reaches no other."""

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the example asks the network")

    page = (Path(__file__).parents[2] / "docs/records.md").read_text()
    examples = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "presidio" in code]
    assert len(examples) == 1
    (tmp_path / "redaction.py").write_text(examples[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    return QuestionDecoder(InputSettings(prepare_hook=HOOK), "default")


def read(decoder: QuestionDecoder, text: str) -> Question:
    return decoder.decode(Record(Source("questions", 3, 7, 1_795_486_680_123), None, text.encode()))


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("Was ann@example.com charged twice?", "Was <EMAIL_ADDRESS> charged twice?"),
        ("Why was card 4111 1111 1111 1111 declined?", "Why was card <CREDIT_CARD> declined?"),
        ("When does DE89370400440532013000 get the money?", "When does <IBAN_CODE> get the money?"),
        ("Can you call (212) 555-0100 about my card?", "Can you call <PHONE_NUMBER> about my card?"),
        (
            "Hello,\n\ncan you write to ann@example.com?\n\nBest regards\nAnn Lee\n+49 30 123456",
            "can you write to <EMAIL_ADDRESS>?",
        ),
    ],
)
def test_personal_data_is_told_by_its_kind_alone(decoder: QuestionDecoder, text: str, without: str) -> None:
    question = read(decoder, text)
    assert question.text == without
    assert question.prepared_by.endswith(HOOK)


@pytest.mark.parametrize(
    "text",
    [
        "Where is my card?",
        " why was I charged $45  on 2024-05-01?",
        "Error 0x80070057 in order 4823910?",
        "Wo ist meine Karte @ 5 Uhr?",
    ],
)
def test_a_question_without_personal_data_stays_to_the_byte(decoder: QuestionDecoder, text: str) -> None:
    assert read(decoder, text).text == text
