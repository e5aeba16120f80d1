"""The command `questream calibrate` on files, with a model made up of words: no torch."""

from __future__ import annotations

import builtins
import io
import json
import os
import pty
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from questream.domain import Matrix
from questream.settings import GRANULARITY_THRESHOLDS
from tests.kit.command import questream
from tests.kit.stepping import unit_rows

SUBJECTS = 10
QUESTIONS = 240


def embed(texts: Sequence[str]) -> Matrix:
    """Of "subject zg case zdl wording zf": near its subject, nearer to its case."""
    rows = []
    for text in texts:
        subject, case = text.split(" case ")[0], text.split(" wording ")[0]
        parts = zip((subject, case, text), (1.0, 1.0, 0.5), strict=True)
        rows.append(sum(size * np.random.default_rng(crc32(part.encode())).normal(size=48) for part, size in parts))
    return unit_rows(np.array(rows, np.float32))


@pytest.fixture(autouse=True)
def _clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("QUESTREAM_"):
            monkeypatch.delenv(name)
    model = SimpleNamespace(encode=embed, preset=None, name="words", revision="1", dimension=48)
    monkeypatch.setattr("questream.lab.calibration.calibrate.load_encoder", lambda _: model)


def word_of(number: int) -> str:
    """A number in letters: to a second look questions with other numbers are others."""
    return "z" + "".join("bdfghjklmn"[int(digit)] for digit in str(number))


def text_of(number: int) -> str:
    case = number // 3
    return f"subject {word_of(case % SUBJECTS)} case {word_of(case)} wording {word_of(number)}"


def case_of(text: str) -> str:
    return text.split(" wording ")[0]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    order = np.random.default_rng(1).permutation(QUESTIONS).tolist()
    path.write_text("".join(text_of(number) + "\n" for number in order))
    return path


def write_pairs(path: Path, count: int = 60, header: str = "text_a,text_b,label\n") -> Path:
    rows = [
        f"{text_of(3 * i)},{text_of(3 * i + 1)},1\n{text_of(3 * i)},{text_of(3 * i + 30)},0\n" for i in range(count)
    ]
    path.write_text(header + "".join(rows))
    return path


def test_a_sample_alone_gives_a_guess_and_says_what_would_tell(sample: Path) -> None:
    document = questream("calibrate", str(sample), "--json").json
    assert (document["threshold"], document["granularity"], document["toml"]) == (None, None, None)
    assert document["guess"] in [row["threshold"] for row in document["settings"]]
    assert "--ask 40" in document["remarks"][0]
    outcome = questream("calibrate", str(sample))
    assert outcome.code == 0
    assert outcome.out.startswith("No threshold: ")
    assert f"{document['guess']:.3f} is a guess" in outcome.out
    assert "(guessed)" in outcome.out
    assert "proposed" not in outcome.out
    assert "questream.toml" not in outcome.out
    assert "--ask 40" in outcome.err


def test_a_sample_and_a_level_give_a_threshold_with_its_interval_and_examples(sample: Path) -> None:
    document = questream("calibrate", str(sample), "--granularity", "question", "--json").json
    assert document["guess"] is None
    assert document["way"] == "a sample without labels"
    assert document["questions"] == QUESTIONS
    low, high = document["interval"]["low"], document["interval"]["high"]
    assert (low or -1) <= document["threshold"] <= (high or 1)
    assert [row["threshold"] for row in document["settings"]] == sorted(
        row["threshold"] for row in document["settings"]
    )
    lower, proposed, higher = document["previews"]
    assert lower["threshold"] < proposed["threshold"] == document["threshold"] < higher["threshold"]
    assert proposed["biggest"][0]["size"] >= len(proposed["biggest"][0]["texts"]) > 1


def test_the_report_says_how_sure_it_is_what_else_costs_and_what_to_paste(sample: Path) -> None:
    outcome = questream("calibrate", str(sample), "--granularity", "question")
    assert outcome.code == 0
    threshold = outcome.out.split()[1].rstrip(",")
    for told in ("How sure: ", "moved: ", f"> {threshold}", f"At {float(threshold) - 0.05:.3f}: ", "(proposed)"):
        assert told in outcome.out, told
    assert float(threshold) == GRANULARITY_THRESHOLDS["question"]
    assert outcome.out.rstrip().endswith('[clusters]\ngranularity = "question"')


def test_labelled_pairs_and_gold_groups_agree_on_the_same_level(tmp_path: Path) -> None:
    groups = tmp_path / "groups.jsonl"
    order = np.random.default_rng(1).permutation(QUESTIONS).tolist()
    rows = [{"text": text_of(number), "gold": case_of(text_of(number))} for number in order]
    groups.write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_groups = questream("calibrate", "--groups", str(groups), "--shuffles", "0", "--json").json
    by_pairs = questream("calibrate", "--pairs", str(write_pairs(tmp_path / "pairs.csv")), "--json").json
    assert by_groups["threshold"] == pytest.approx(by_pairs["threshold"], abs=0.101)
    for document in (by_groups, by_pairs):
        low, high = document["settings"][0]["mistakes"], document["settings"][-1]["mistakes"]
        assert low["false_joins"] > high["false_joins"]
        assert low["missed_joins"] < high["missed_joins"]


def test_a_level_is_kept_to(sample: Path) -> None:
    document = questream("calibrate", str(sample), "--granularity", "duplicate", "--json").json
    assert document["threshold"] == 0.95
    assert document["toml"] == '[clusters]\ngranularity = "duplicate"'
    assert min(row["threshold"] for row in document["settings"]) >= 0.8


def test_settings_that_the_threshold_needs_are_pasted_with_it(sample: Path) -> None:
    document = questream(
        *("calibrate", str(sample), "--granularity", "question", "--json"),
        *("--clusters.threshold=0.5", "--clusters.merge_threshold=0.6"),
    ).json
    threshold = document["threshold"]
    assert document["toml"] == f"[clusters]\nthreshold = {threshold:g}\nmerge_threshold = {threshold + 0.1:g}"


class Terminal:
    """Types the answers of one who knows the groups into `input`, by what stands on the screen."""

    def __init__(
        self, screen: io.StringIO, answers: int, end: str | type[BaseException], group_of: Callable[[str], str]
    ) -> None:
        self.screen, self.left, self.end, self.group_of = screen, answers, end, group_of

    def __call__(self, *_: object) -> str:
        if not self.left:
            if isinstance(self.end, str):
                return self.end
            raise self.end
        self.left -= 1
        first, second = (line.strip() for line in self.screen.getvalue().splitlines()[-3:-1])
        return "y" if self.group_of(first) == self.group_of(second) else "n"


def type_answers(
    monkeypatch: pytest.MonkeyPatch,
    answers: int,
    end: str | type[BaseException] = "q",
    group_of: Callable[[str], str] = case_of,
) -> None:
    def typed(*arguments: object) -> str:
        assert isinstance(sys.stderr, io.StringIO)
        terminal.screen = sys.stderr
        return terminal(*arguments)

    terminal = Terminal(io.StringIO(), answers, end, group_of)
    monkeypatch.setattr(builtins, "input", typed)
    monkeypatch.setenv("COLUMNS", "200")


def test_answers_are_asked_for_saved_and_taken_up_again(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answers.jsonl"
    arguments = ("calibrate", str(sample), "--ask", "12", "--answers", str(file), "--json")
    type_answers(monkeypatch, 5)
    assert questream(*arguments).json["answers"] == 5
    saved = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["label"] == 1 for row in saved] == [case_of(r["text_a"]) == case_of(r["text_b"]) for r in saved]
    type_answers(monkeypatch, 100)
    again = questream(*arguments).json
    assert again["answers"] == 12
    assert file.read_text().startswith("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in saved))
    # Without --ask the file alone is learned from, and says the same.
    assert questream("calibrate", str(sample), "--answers", str(file), "--json").json["threshold"] == again["threshold"]


@pytest.mark.parametrize("shown", ["mail", "question"])
def test_answers_about_mails_are_known_whether_they_hold_the_mail_or_the_question(tmp_path: Path, shown: str) -> None:
    def mail(number: int) -> str:
        return f"Hello,\n\n{text_of(number)}\n\nBest regards\nAnna"

    sample, answers = tmp_path / "mails.jsonl", tmp_path / "answers.jsonl"
    order = np.random.default_rng(1).permutation(QUESTIONS).tolist()
    sample.write_text("".join(json.dumps({"text": mail(number)}) + "\n" for number in order))
    written = mail if shown == "mail" else text_of
    rows = [{"text_a": written(3 * i), "text_b": written(3 * i + 1), "label": 1} for i in range(20)]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = questream("calibrate", str(sample), "--answers", str(answers), "--json").json
    assert document["questions"] == QUESTIONS
    assert document["answers"] > 0
    texts = [text for one in document["previews"] for cluster in one["biggest"] for text in cluster["texts"]]
    assert all(text.startswith("subject ") for text in texts)


def test_an_interrupt_keeps_the_answers_given(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "answers.jsonl"
    type_answers(monkeypatch, 3, KeyboardInterrupt)
    outcome = questream("calibrate", str(sample), "--ask", "40", "--answers", str(file), "--json")
    assert (outcome.code, outcome.json["answers"]) == (0, 3)
    assert len(file.read_text().splitlines()) == 3


def test_a_terminal_session_with_typed_answers(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    try:
        os.write(master, b"y\nmaybe\nn\ns\nyes\nno\n\x04")  # Ctrl-D ends
        with os.fdopen(slave) as keyboard:
            monkeypatch.setattr(sys, "stdin", keyboard)
            outcome = questream("calibrate", str(sample), "--ask", "40", "--json")
    finally:
        os.close(master)
    assert outcome.json["answers"] == 4
    assert outcome.err.count("same? y, n, s to skip, q to end:") == 7  # "maybe" is asked again
    assert "subject" in outcome.err


def test_an_interrupt_before_the_first_answer_proposes_nothing(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_answers(monkeypatch, 0, KeyboardInterrupt)
    outcome = questream("calibrate", str(sample), "--ask", "40")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no answers" in outcome.err


def subject_of(text: str) -> str:
    return text.split(" case ")[0]


def calibrate_level(*arguments: str) -> dict[str, Any]:
    """The document for intents."""
    document: dict[str, Any] = questream("calibrate", "--level", "intent", *arguments, "--json").json
    assert document["setting"] == "levels.intent_resolution"
    resolutions = [row["resolution"] for row in document["settings"]]
    assert resolutions == sorted(resolutions)
    return document


def test_gold_groups_tell_how_fine_intents_are(tmp_path: Path) -> None:
    found = []
    for group_of in (subject_of, case_of):
        groups = tmp_path / "groups.jsonl"
        order = np.random.default_rng(1).permutation(QUESTIONS).tolist()
        rows = [{"text": text_of(number), "gold": group_of(text_of(number))} for number in order]
        groups.write_text("".join(json.dumps(row) + "\n" for row in rows))
        document = calibrate_level("--groups", str(groups), "--shuffles", "0")
        found.append(document["resolution"])
        assert document["toml"] == f"[levels]\nintent_resolution = {document['resolution']:g}"
        proposed = next(row for row in document["settings"] if row["resolution"] == found[-1])
        assert proposed["score"] == max(row["score"] for row in document["settings"])
        assert document["settings"][0]["clusters"] < document["settings"][-1]["clusters"]
    subjects, cases = found
    assert subjects < cases


def test_how_fine_intents_are_is_a_guess_from_a_sample_alone(sample: Path) -> None:
    document = calibrate_level(str(sample))
    assert (document["resolution"], document["toml"]) == (None, None)
    guessed = next(row for row in document["settings"] if row["resolution"] == document["guess"])
    # Nearer to the ten subjects than to their eighty cases.
    assert guessed["clusters"] <= 2 * SUBJECTS
    assert "--ask 40" in document["remarks"][-1]


def test_answers_about_pairs_of_one_intent_are_learned_from(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_answers(monkeypatch, 100, "q", subject_of)
    arguments = ("calibrate", str(sample), "--level", "intent", "--ask", "30")
    outcome = questream(*arguments)
    assert "Are these two of one intent" in outcome.err
    assert outcome.out.startswith("Resolution ")
    assert "\n[levels]\nintent_resolution = " in outcome.out
    assert outcome.out.count("> ") == 1


def test_topics_of_a_sample_are_a_guess(sample: Path) -> None:
    outcome = questream("calibrate", str(sample), "--level", "topic")
    assert outcome.out.startswith("No resolution: ")
    assert " is a guess: " in outcome.out
    assert "--ask 40" in outcome.err
    assert "questream.toml" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "give questions"),
        (["few.txt", "--level", "intent"], 1, "100 at least"),
        (["few.txt", "--level", "intent", "--granularity", "question"], 2, "choose one"),
        (["--pairs", "p.csv", "--groups", "g.csv"], 2, "choose one"),
        (["q.txt", "--from-topic"], 2, "not both"),
        (["--groups", "g.csv", "q.txt"], 2, "no other"),
        (["q.txt", "--ask", "5", "--answers", "a.csv"], 2, ".jsonl"),
        (["few.txt"], 1, "100 at least"),
        (["empty.txt"], 1, "100 at least"),
        (["absent.txt"], 1, "No such file"),
        (["--pairs", "different.csv"], 1, "0 pairs are labelled the same"),
        (["--pairs", "none.csv"], 1, "too few"),
        (["few.txt", "--answers", "none.csv"], 1, "no answers"),
        (["--groups", "one.jsonl"], 1, "one gold group"),
        (["few.txt", "--granularity", "question", "--clusters.linkage=average"], 1, "100 at least"),
    ],
)
def test_what_cannot_tell_is_refused_with_what_to_do(
    arguments: list[str], code: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "few.txt").write_text("".join(text_of(i) + "\n" for i in range(20)))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "none.csv").write_text("text_a,text_b,label\n")
    (tmp_path / "different.csv").write_text("text_a,text_b,label\n" + "".join(f"a{i},b{i},0\n" for i in range(30)))
    (tmp_path / "one.jsonl").write_text("".join(f'{{"text": "{text_of(i)}", "gold": "g"}}\n' for i in range(120)))
    outcome = questream("calibrate", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert told in outcome.err
    assert "subject" not in outcome.err


def test_pairs_that_are_all_the_same_are_learned_from_with_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "same.csv"
    path.write_text("text_a,text_b,label\n" + "".join(f"{text_of(3 * i)},{text_of(3 * i + 1)},1\n" for i in range(60)))
    document = questream("calibrate", "--pairs", str(path), "--json").json
    assert any("false joins cannot be counted" in remark for remark in document["remarks"])
