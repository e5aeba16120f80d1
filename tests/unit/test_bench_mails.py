"""Mails that are made around questions, and what is told of how they are prepared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.errors import ExitCode
from questream.lab.bench.mails.making import LANGUAGES, mails_around, wording_of
from questream.lab.bench.mails.measure import left_of, measure_mails
from questream.preparing import without_frame
from tests.kit.command import questream
from tests.kit.vectors import hash_encoder

QUESTIONS = [f"Is 1 < 2 & where is card {name}?" for name in ("amber", "beryl", "coral", "diamond", "emerald", "flint")]


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = ""

    def handle_data(self, data: str) -> None:
        self.seen += data + "\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_mail_has_its_question_whole_and_nothing_unfilled(language: str) -> None:
    questions = QUESTIONS * 40
    mails = list(mails_around(questions, wording_of(language), 3))
    marked = [mail for mail in mails if mail.startswith("<html>")]
    assert 0.15 < len(marked) / len(mails) < 0.35
    for question, mail in zip(questions, mails, strict=True):
        read = Text()
        read.feed(mail if mail in marked else mail.replace("&", "&amp;").replace("<", "&lt;"))
        assert question in read.seen
        assert "{" not in mail
        assert len(read.seen.split("\n")) > 3


def test_the_same_seed_makes_the_same_mails() -> None:
    english = wording_of("en")
    assert list(mails_around(QUESTIONS, english, 1)) == list(mails_around(QUESTIONS, english, 1))
    assert list(mails_around(QUESTIONS, english, 1)) != list(mails_around(QUESTIONS, english, 2))


def test_what_is_left_of_a_mail_is_told_as_exact_lost_or_words_beside() -> None:
    prepare = {"1": "a\n b", "2": "x c d y", "3": "e"}.__getitem__
    left, prepared = left_of(["a b", "c d", "e f"], ["1", "2", "3"], prepare)
    assert (left.mails, left.exact, left.lost, left.words_beside) == (3, 1, 1, 2.0)
    assert prepared == ["a\n b", "x c d y", "e"]


def test_no_question_of_the_mails_is_lost() -> None:
    for language in LANGUAGES:
        mails = list(mails_around(QUESTIONS * 40, wording_of(language), 5))
        assert left_of(QUESTIONS * 40, mails, without_frame)[0].lost == 0


def test_prepared_mails_are_clustered_as_plain_questions_where_nothing_of_the_frame_is_left() -> None:
    def encode(texts: Sequence[str]) -> Matrix:
        """Each question has a direction of its own, and each mail another."""
        found = [next((at for at, one in enumerate(QUESTIONS) if one == text), None) for text in texts]
        rows = [np.eye(64, dtype=np.float32)[at if at is not None else 6 + i % 58] for i, at in enumerate(found)]
        return np.array(rows)

    def prepare(mail: str) -> str:
        return next(one for one in QUESTIONS if one.split()[-1] in mail)

    questions = QUESTIONS * 8
    gold = np.arange(len(questions)) % len(QUESTIONS)
    (told,) = measure_mails(questions, gold, ["en"], 0, lambda: prepare, encode, Rules(0.9, 0.9, similarity="cosine"))
    assert told.left.exact == told.left.mails == len(questions)
    assert told.prepared.bcubed_f1 == 1.0
    assert told.mail.bcubed_f1 < 0.5


def test_the_command_tells_each_language_beside_the_plain_questions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("questream.encoder.load_encoder", lambda _: hash_encoder())
    file = tmp_path / "asked.csv"
    file.write_text("text,gold\n" + "".join(f"where is my {name} card,{name}\n" for name in ("red", "blue")) * 5)
    outcome = questream("bench", "mails", str(file), "--language=de", "--language=en", "--json")
    assert outcome.code == 0, outcome.err
    told = outcome.json["files"][str(file)]
    assert told["plain"]["questions"] == 10
    assert [one["language"] for one in told["mails"]] == ["de", "en"]
    assert all(one["left"]["mails"] == one["mail"]["questions"] == 10 for one in told["mails"])
    shown = questream("bench", "mails", str(file), "--language=fr")
    assert re.search(r"^fr +\d+\.\d% +\d+\.\d%", shown.out, re.MULTILINE)


def test_a_language_without_mails_is_refused(tmp_path: Path) -> None:
    outcome = questream("bench", "mails", str(tmp_path / "asked.csv"), "--language=it")
    assert outcome.code == ExitCode.USAGE
    assert "it is none of en, de, fr, es" in outcome.err
