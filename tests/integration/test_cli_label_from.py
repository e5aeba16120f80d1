"""Labels and routes out of a file that `clusters export` wrote, on Redis itself."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from questream.errors import ExitCode
from tests.integration.test_cli_clusters import filled
from tests.kit.command import Outcome, questream

__all__ = ["filled"]

Edit = Callable[[dict[str, str]], None]


@pytest.fixture
def at(filled: str) -> str:
    return f"--redis.url={filled}"


def label_from(path: Path, at: str, *arguments: str) -> Outcome:
    return questream("clusters", "label", "--from", str(path), *arguments, at)


def exported(path: Path, at: str, edits: dict[str, dict[str, str]]) -> Path:
    """What was exported, with these cells changed, by cluster id."""
    assert questream("clusters", "export", "--output", str(path), at).code == 0
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **edits.get(row["cluster_id"], {})} for row in rows)
    return path


def namings(at: str) -> dict[str, tuple[str | None, str | None]]:
    rows = questream("clusters", "list", "--json", at).json_lines
    return {row["cluster_id"]: (row["label"], row["route"]) for row in rows}


def history(at: str) -> list[int]:
    return [one["operation"] for one in questream("clusters", "history", "--json", at).json_lines]


def test_a_reviewed_export_is_one_operation_that_can_be_undone(at: str, tmp_path: Path) -> None:
    questream("clusters", "label", "c3", "--label", "old", "--route", "old-team", at)
    edits = {"c1": {"label": "lost card", "route": "cards"}, "c3": {"label": "", "route": ""}}
    path = exported(tmp_path / "clusters.csv", at, edits)
    done = label_from(path, at, "--yes", "--actor", "ann", "--reason", "reviewed", "--json").json
    assert (done["operation"], done["kind"], done["actor"], sorted(done["after"])) == (2, "label", "ann", ["c1", "c3"])
    assert namings(at) == {"c1": ("lost card", "cards"), "c2": (None, None), "c3": (None, None)}
    assert questream("undo", "2", at).code == 0
    assert namings(at) == {"c1": (None, None), "c2": (None, None), "c3": ("old", "old-team")}


def test_an_unchanged_export_changes_nothing(at: str, tmp_path: Path) -> None:
    # An export puts an apostrophe before what a spreadsheet would compute.
    questream("clusters", "label", "c1", "--label", "=refund", "--route", "-", at)
    path = exported(tmp_path / "clusters.csv", at, {})
    assert "'=refund" in path.read_text("utf-8")
    outcome = label_from(path, at)
    assert (outcome.code, outcome.out) == (0, "all clusters of the file are named so already\n")
    assert (namings(at)["c1"], history(at)) == (("=refund", "-"), [1])


def test_nothing_is_changed_unasked_or_by_a_dry_run(at: str, tmp_path: Path) -> None:
    path = exported(tmp_path / "clusters.csv", at, {"c1": {"label": "lost card"}})
    shown = label_from(path, at, "--dry-run")
    assert shown.out == "would change: c1: label -, route - -> label lost card, route -\n"
    refused = label_from(path, at)
    assert (refused.code, "c1: label -, route - -> label lost card" in refused.err) == (ExitCode.FAILED, True)
    assert "say --yes" in refused.err
    assert history(at) == []


def test_a_file_that_is_given_twice_with_its_id_is_one_operation(at: str, tmp_path: Path) -> None:
    path = exported(tmp_path / "clusters.csv", at, {"c1": {"label": "lost card"}})
    first = label_from(path, at, "--yes", "--id", "review", "--json").json
    assert label_from(path, at, "--yes", "--id", "review", "--json").json == first
    assert history(at) == [1]


def test_clusters_that_are_one_by_now_must_be_named_alike(at: str, tmp_path: Path) -> None:
    edits = {"c1": {"label": "lost card"}, "c2": {"label": "stolen card"}}
    path = exported(tmp_path / "clusters.csv", at, edits)
    assert questream("clusters", "merge", "c1", "c2", at).code == 0
    merged = history(at)
    refused = label_from(path, at, "--yes")
    assert (refused.code, "c2 and another are c1 by now" in refused.err) == (ExitCode.FAILED, True)
    assert history(at) == merged


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("cluster_id,label\nseven,x\n", "the letter c and a positive number"),
        ("cluster_id,label\nc1,x\nc1,y\n", "named in a line before"),
        ("cluster_id,namespace,label\nc1,bank,x\n", "of another namespace"),
        ("cluster_id,size\nc1,3\n", "a label, a route or both"),
        ("cluster_id,label\nc99,x\n", "there is no cluster c99"),
    ],
    ids=["no cluster id", "twice", "namespace", "nothing to name", "unknown cluster"],
)
def test_a_file_that_cannot_be_taken_changes_nothing(at: str, tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "clusters.csv"
    path.write_text(content, "utf-8")
    refused = label_from(path, at, "--yes")
    assert (refused.code, told in refused.err) == (ExitCode.FAILED, True), refused.err
    assert history(at) == []


def test_a_file_stands_alone_and_one_of_both_is_needed(at: str, tmp_path: Path) -> None:
    for arguments in (["label"], ["label", "c1", "--from", str(tmp_path / "x.csv")]):
        assert questream("clusters", *arguments, at).code == ExitCode.USAGE
