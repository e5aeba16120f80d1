"""`questream evaluate`: what it reads, prints and refuses; the model is made of arithmetic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from questream.encoder import Encoder
from questream.errors import ExitCode
from tests.kit.command import questream
from tests.kit.vectors import hash_encoder

QUESTIONS = "text,gold,ts\n" + "".join(
    f"{text},{gold},2026-01-{day:02}\n"
    for day, (text, gold) in enumerate(
        [("card lost today", "lost"), ("close my account", "close"), ("card lost yesterday", "lost")] * 4, start=1
    )
)
PAIRS = "question1,question2,is_duplicate\n" + "card lost today,card lost now,1\nclose my account,card lost,0\n" * 5


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    (tmp_path / "pairs.csv").write_text(PAIRS)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings of each model that was loaded; each is made of arithmetic."""
    asked: list[Any] = []

    def load(settings: Any) -> Encoder:
        asked.append(settings)
        return hash_encoder()

    monkeypatch.setattr("questream.lab.evaluation.run.load_encoder", load)
    return asked


def test_columns_tell_pairs_from_groups_and_one_call_takes_both(loaded: list[Any]) -> None:
    outcome = questream("evaluate", "questions.csv", "pairs.csv", "--json", "--clusters.threshold", "0.5")
    assert outcome.code == 0, outcome.err
    groups, pairs = outcome.json["files"]
    assert (groups["kind"], groups["order"], groups["first"]["after"]["questions"]) == ("groups", "time", 12)
    assert len(groups["shuffled"]) == 3
    assert outcome.json["rules"]["threshold"] == 0.5
    assert outcome.json["granularity"] is None
    assert 0.5 in [point["threshold"] for point in groups["curve"]]
    assert [level["level"] for level in groups["levels"]] == ["intent", "topic"]
    # "today" and "yesterday" beside each other.
    assert groups["two_in_one"] == {"clusters": 1, "questions": 8}
    assert all(level["after"]["questions"] == 12 and 0 <= level["changed"] <= 1 for level in groups["levels"])
    assert (pairs["kind"], pairs["pairs"], pairs["same"]) == ("pairs", 10, 5)
    assert pairs["metrics"]["cossim_ap"] == 1.0
    assert pairs["intervals"]["cossim_ap"] == [1.0, 1.0]
    assert pairs["worker"]["threshold"] == 0.5
    assert len(loaded) == 1
    # Figures alone: whoever gets them need not be one who may read the questions.
    assert "card" not in outcome.out


def test_tables_name_the_setting_and_what_it_comes_to(loaded: list[Any]) -> None:
    outcome = questream(
        "evaluate", "questions.csv", "pairs.csv", "--shuffles", "0", "--clusters.granularity", "duplicate"
    )
    assert outcome.code == 0, outcome.err
    for words in (
        *("BCubed F1", "ARI", "in heaps", "The biggest clusters", "the setting", "manhattan", "cossim"),
        "12 questions in 2 gold groups, by time",
        *("Intents and topics, groups of these clusters", "changed later"),
    ):
        assert words in outcome.out
    assert "shuffles" not in outcome.out


def test_the_report_is_written_and_named(loaded: list[Any], tmp_path: Path) -> None:
    outcome = questream("evaluate", "questions.csv", "--report", "report.html")
    assert outcome.code == 0, outcome.err
    assert "report.html" in outcome.err
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "card lost today" in page
    assert "granularity question" in page
    assert "Intents and topics" in page


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text\nq\nr\n", "names no gold groups"),
        (b"text,gold\n\xff\xfe,g\n", "line 2: not UTF-8"),
        (b"a,b,label\nq,r,1\n", "labelled 0"),
        (b"title\nq\n", 'no column "text"'),
        (b"", 'no column "text"'),
    ],
)
def test_a_file_that_cannot_be_evaluated_is_told_before_the_model_is_loaded(
    loaded: list[Any], tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    outcome = questream("evaluate", "questions.csv", "bad.csv")
    assert outcome.code == ExitCode.FAILED
    assert said in outcome.err
    assert "bad.csv" in outcome.err
    assert not loaded


def test_a_file_that_is_not_there_is_told(loaded: list[Any]) -> None:
    outcome = questream("evaluate", "none.csv")
    assert outcome.code == ExitCode.FAILED
    assert "none.csv: No such file" in outcome.err
    assert not loaded


def test_a_report_without_matplotlib_is_refused_before_any_work(
    loaded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    outcome = questream("evaluate", "questions.csv", "--report", "report.html")
    assert outcome.code == ExitCode.FAILED
    assert "make setup EXTRAS=plots" in outcome.err
    assert not loaded


def test_a_report_in_a_folder_that_is_not_there_is_refused_before_any_work(loaded: list[Any]) -> None:
    outcome = questream("evaluate", "questions.csv", "--report", "none/report.html")
    assert outcome.code == ExitCode.FAILED
    assert "none/report.html cannot be written" in outcome.err
    assert not loaded


def test_one_group_and_one_question_repeated_are_evaluated(loaded: list[Any], tmp_path: Path) -> None:
    (tmp_path / "same.csv").write_text("text,gold\n" + "where is my card,g\n" * 20)
    outcome = questream("evaluate", "same.csv", "--json", "--report", "r.html")
    assert outcome.code == 0, outcome.err
    assert outcome.json["files"][0]["first"]["after"]["bcubed_f1"] == 1.0


def test_questions_that_all_stand_alone_are_evaluated(loaded: list[Any], tmp_path: Path) -> None:
    rows = [f"{word},{word}" for word in ("alpha", "beta", "gamma", "delta")]
    (tmp_path / "alone.csv").write_text("text,gold\n" + "\n".join(rows) + "\n")
    outcome = questream("evaluate", "alone.csv", "--json", "--report", "r.html")
    assert outcome.code == 0, outcome.err
    assert outcome.json["files"][0]["first"]["published"]["falsely_joined"] == 0.0
