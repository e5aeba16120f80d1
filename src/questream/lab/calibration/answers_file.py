"""Answers of people in a file of labelled pairs."""

from __future__ import annotations

from pathlib import Path

import orjson

from questream.errors import QuestreamError
from questream.records.files import LabelledPair, read_pairs


def read_answers(path: Path) -> list[LabelledPair]:
    """The answers of a file of labelled pairs.

    Raises QuestionFileError, or QuestreamError where there are none.
    """
    answers = [pair for pair in read_pairs(path) if pair.text_a.strip() and pair.text_b.strip()]
    if not answers:
        raise QuestreamError(f"{path} holds no answers", f"questream calibrate --ask 40 --answers {path} asks for some")
    return answers


def append_answer(file: Path, answer: LabelledPair) -> None:
    """Add an answer. Raises QuestreamError if the file cannot be written."""
    line = orjson.dumps({"text_a": answer.text_a, "text_b": answer.text_b, "label": int(answer.same)})
    try:
        with file.open("ab") as out:
            out.write(line + b"\n")
    except OSError as error:
        raise QuestreamError(f"{file}: {error.strerror or 'cannot be written'}") from error
