"""The demo's screen: it fits, and what it shows cannot steer the terminal."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files

import pytest
from rich.console import Console
from rich.spinner import Spinner

from questream.lab.demo.picture import draw_picture
from questream.lab.demo.plain import PlainLines
from questream.lab.demo.screen import (
    intents_that_fit,
    printable,
    render_answer,
    render_end,
    render_snapshot,
    render_summary,
)
from questream.lab.demo.snapshot import Answer, ClusterView, Figures, IntentView, Snapshot, Stage, Summary
from questream.lab.evaluation.agreement import Agreement

AGREEMENT = dict.fromkeys(
    ("clusters", "intents", "topics"), Agreement(2002, 143, 77, 0.6, 0.5, 0.5454, 0.41, 0.7, 0.5, 0.4, 0.45, 0.1, 0.0)
)
HOSTILE = "\x1b[2J\x1b]0;title\x07[red]why[/red]\r\nis my card\tgone? " + "very " * 60


def console_of(width: int, height: int) -> Console:
    return Console(width=width, height=height, force_terminal=True, color_system=None, file=io.StringIO())


def output_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def intent(number: int) -> IntentView:
    """One that stands alone, or one of five clusters, in turn."""
    views = tuple(ClusterView(f"c{12_345 + n}", 12_345 - n, HOSTILE) for n in range(1 if number % 3 == 2 else 3))
    return IntentView(f"i{12_345 + number}", 123_456, views, 2 if len(views) == 3 else 0)


def busy(clusters: int) -> Snapshot:
    return Snapshot(
        title="1,000,000 questions of my-own-questions-of-the-last-year.csv",
        stages=(
            Stage("Servers", "broker 127.0.0.1:65535, store 127.0.0.1:65534", 0.2, finished=True),
            Stage("Worker", "questream run, all-MiniLM-L6-v2, granularity duplicate", 123.4, finished=True),
            Stage("Questions", "999,999 of 1,000,000", 1234.5, finished=False, done_share=0.5),
        ),
        figures=Figures(
            999_999, 12, 999_998, 12_345, 1_234, 11_111, 12_345.6, 12_345.6, 123_456.7,
            1_111, 999,
            tuple(intent(n) for n in range(clusters)),
        ),
    )  # fmt: skip


def summary(agreement: Mapping[str, Agreement]) -> Summary:
    return Summary(busy(0).figures, 12.3, 64, 9.8, agreement, "http://127.0.0.1:9464/metrics", "BANKING77, CC BY 4.0")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (60, 20)])
def test_screen_fits_the_terminal(width: int, height: int) -> None:
    console = console_of(width, height)
    console.print(render_snapshot(busy(intents_that_fit(console)), console, Spinner("dots")))
    lines = output_of(console).splitlines()
    assert max(len(line) for line in lines) <= width
    # One line is left for the cursor, else the terminal scrolls with every frame.
    assert len(lines) < height


def test_figures_do_not_touch_each_other_on_a_narrow_terminal() -> None:
    console = console_of(80, 24)
    console.print(render_snapshot(busy(3), console, Spinner("dots")))
    assert re.search(r"questions/s\s+p50\s+p99\s+clusters\s+joined\s+created\s+merged\s+refused", output_of(console))


def test_questions_cannot_steer_the_terminal_nor_style_it() -> None:
    shown = printable(HOSTILE).plain
    assert shown.isprintable()
    assert "[red]why[/red]" in shown
    console = console_of(120, 40)
    console.print(render_snapshot(busy(12), console, Spinner("dots")))
    lines = [line for line in output_of(console).splitlines() if "why" in line]
    assert len(lines) > 12
    assert all("[red]why[/red]" in line for line in lines)


def test_plain_lines_hold_no_control_characters() -> None:
    console = Console(file=io.StringIO(), width=80)
    PlainLines(console).finish(busy(3), summary({}))
    assert all(character.isprintable() or character == "\n" for character in output_of(console))


def test_plain_lines_say_each_stage_once() -> None:
    console = Console(file=io.StringIO(), width=80)
    lines = PlainLines(console)
    for _ in range(5):
        lines.show(busy(0))
    said = Counter(output_of(console).splitlines())
    assert said["Servers ..."] == 1
    assert said["Servers: broker 127.0.0.1:65535, store 127.0.0.1:65534 (0.2 s)"] == 1
    assert "Questions: 999,999 of 1,000,000 (1234.5 s)" not in said


def test_summary_speaks_of_agreement_only_where_there_is_gold() -> None:
    console = console_of(120, 40)
    console.print(render_summary(summary({})))
    assert "BCubed" not in output_of(console)
    console.print(render_summary(summary(AGREEMENT)))
    said = "with 77 gold groups, BCubed F1 / ARI: clusters 0.545 / 0.410, intents 0.545 / 0.410, topics 0.545 / 0.410"
    assert said in output_of(console)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_end_and_the_prompt_below_it_fit_the_terminal(width: int, height: int) -> None:
    console = console_of(width, height)
    console.print(render_end(busy(20), summary(AGREEMENT), console))
    # What `converse` prints: an empty line, its hint, an empty line and the prompt.
    lines = [*output_of(console).splitlines(), "", "Type a question", "", "? "]
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    # The biggest one with clusters, and others.
    assert any("c12346" in line for line in lines)
    assert all(any(f"i{number}" in line and "(5 clusters)" in line for line in lines) for number in (12_345, 12_346))


def test_an_answer_shows_cluster_score_and_runner_up() -> None:
    console = console_of(80, 24)
    answer = Answer("joined", "c12", 41, 0.7123, 0.4, "Where is my card?", "c88", 0.4321, HOSTILE)
    console.print(render_answer(answer, console.width))
    first, second, third = output_of(console).splitlines()
    assert first.split() == ["joined", "0.712", "c12", "Where", "is", "my", "card?", "(41)"]
    assert second.split()[:3] == ["runner-up", "0.432", "c88"]
    assert third.split() == ["threshold", "0.400"]


def test_an_answer_shows_the_intent_of_its_cluster() -> None:
    console = console_of(80, 24)
    answer = Answer(
        "created",
        "c12",
        1,
        1.0,
        0.4,
        "Where is it?",
        None,
        None,
        "",
        IntentView("i7", 99, (ClusterView("c3", 50, "Where is my card?"),), 4),
    )
    console.print(render_answer(answer, console.width))
    second = output_of(console).splitlines()[1]
    assert second.split() == ["intent", "i7", "Where", "is", "my", "card?", "(99", "in", "5", "clusters)"]


def test_picture_loads_nothing_from_elsewhere() -> None:
    picture = draw_picture(busy(12), summary({}))
    assert "@font-face" not in picture
    assert not re.search(r"""(href|src)=|url\(["']?http|@import""", picture.replace("url(#", ""))
    assert len(picture.encode()) < 200_000


def test_sample_holds_26_real_questions_of_each_of_77_intents() -> None:
    sample = files("questream.lab.demo") / "banking77.jsonl"
    rows = [json.loads(line) for line in sample.read_text(encoding="utf-8").splitlines()]
    intents = Counter(row["gold"] for row in rows)
    assert (len(rows), len(intents), set(intents.values())) == (2002, 77, {26})
    assert len({row["id"] for row in rows}) == 2002
    assert "CC BY 4.0" in (files("questream.lab.demo") / "ATTRIBUTION.txt").read_text(encoding="utf-8")
