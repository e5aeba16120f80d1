"""The report: one page that loads nothing, runs nothing, and shows hostile questions as text."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from questream.cli.evaluation_tables import print_figures
from questream.clustering.rules import Rules
from questream.errors import QuestreamError
from questream.lab.evaluation.evaluate import GroupEvaluation, evaluate_groups, evaluate_pairs
from questream.lab.evaluation.files import GoldFile, PairFile
from questream.lab.evaluation.mixing import MixedCluster
from questream.lab.evaluation.report.page import Evaluation, Subject, write_report
from tests.kit.vectors import hash_encoder

HOSTILE = '<script>alert("x")</script> & "quoted" $x_1$ \u202e{{ 7 * 7 }} <img src=http://h/x>'
RULES = Rules(0.5, 0.5)
SUBJECT = Subject("model", "0123456789abcdef", RULES, None, "0.1", datetime(2026, 1, 2, tzinfo=UTC))


class Page(HTMLParser):
    """What a browser would make of it: tags with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "use", "image", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def evaluations() -> dict[str, Evaluation]:
    encoder = hash_encoder()
    texts = [f"{HOSTILE} {word} {i % 4}" for i, word in enumerate(("lost", "card", "loan", "late") * 10)]
    gold = GoldFile(texts, np.arange(40) % 3, [HOSTILE, "plain", "</bdi></style>"], None, 1, 2, 3)
    pairs = PairFile(texts[:20], texts[20:], [i % 3 > 0 for i in range(20)], 4, 5)
    return {
        f"{HOSTILE}.csv": evaluate_groups(gold, encoder, RULES, 1, 0, lambda _: None),
        "pairs.csv": evaluate_pairs(pairs, encoder, RULES, lambda _: None),
    }


@pytest.fixture(scope="module")
def page(evaluations: dict[str, Evaluation], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, SUBJECT, evaluations)
    return path.read_text("utf-8")


def test_a_hostile_question_is_text_and_nothing_else(page: str) -> None:
    parsed = Page(page)
    assert not {tag for tag, _ in parsed.tags} & {"script", "img", "iframe", "object", "link", "form"}
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert '<script>alert("x")</script> & "quoted" $x_1$' in parsed.text
    assert "{{ 7 * 7 }}" in parsed.text
    assert "\u202e" not in page
    assert "</bdi></style>" in parsed.text
    assert parsed.open == []


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    loads = [
        value
        for _, attributes in Page(page).tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "srcset") and value
    ]
    assert all(value.startswith("#") for value in loads)
    styles = "".join(re.findall(r"<style.*?</style>", page, re.DOTALL))
    assert "@import" not in styles
    assert not re.findall(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_shows_every_figure_and_plot_of_both_kinds(page: str, evaluations: dict[str, Evaluation]) -> None:
    assert page.count("<svg") == 7
    text = Page(page).text
    for sentence in ("1 without a text", "2 without a gold group", "3 more were not drawn", "4 with an empty text"):
        assert sentence in text
    titles = ("biggest clusters", "surest false joins", "By size of gold group", "cossim", "setting 0.500")
    for title in (*titles, "at each confidence"):
        assert title in text
    groups = next(iter(evaluations.values())).figures
    assert f"{groups.first.after.bcubed_f1:.3f}" in text  # type: ignore[union-attr]


def test_clusters_that_look_like_two_are_told_with_examples_of_both(
    evaluations: dict[str, Evaluation], tmp_path: Path
) -> None:
    name, groups = next(iter(evaluations.items()))
    assert isinstance(groups, GroupEvaluation)
    write_report(tmp_path / "none.html", SUBJECT, {name: replace(groups, mixed_clusters=[])})
    assert "look like two" not in Page((tmp_path / "none.html").read_text("utf-8")).text
    halved = replace(groups, mixed_clusters=[MixedCluster(7, 12, [0, 4, 8], [1, 5])])
    write_report(tmp_path / "report.html", SUBJECT, {name: halved})
    text = Page((tmp_path / "report.html").read_text("utf-8")).text
    told = text.index("look like two")
    assert text.index("12 questions", told) < text.index("lost", told) < text.index("card", told)
    lines: list[str] = []
    print_figures(halved, 0.5, lines.append, lambda _, rows: lines.extend("; ".join(row) for row in rows))
    at = next(number for number, line in enumerate(lines) if "look like two" in line)
    assert "look like two: 1, 30.0% of the questions" in lines[at]
    assert lines[at + 1].startswith("12; 3, of them 1 ")


def test_plots_take_their_colours_from_the_page_in_light_and_dark(page: str) -> None:
    svgs = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--one)" in svgs
    assert set(re.findall(r"#[0-9a-f]{6}", svgs)) <= {"#ffffff"}  # transparent, behind everything
    assert "prefers-color-scheme: dark" in page


def test_the_same_evaluation_gives_the_same_page(page: str, evaluations: dict[str, Evaluation], tmp_path: Path) -> None:
    write_report(tmp_path / "again.html", SUBJECT, evaluations)
    assert (tmp_path / "again.html").read_text("utf-8") == page


def test_without_matplotlib_it_says_what_to_install(
    evaluations: dict[str, Evaluation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(QuestreamError, match=r"make setup EXTRAS=plots"):
        write_report(tmp_path / "r.html", SUBJECT, evaluations)


def test_a_folder_that_is_not_there_is_told(evaluations: dict[str, Evaluation], tmp_path: Path) -> None:
    with pytest.raises(QuestreamError, match="cannot be written"):
        write_report(tmp_path / "none" / "r.html", SUBJECT, evaluations)
