"""The commands by which people decide on clusters and take it back, on Redis itself."""

from __future__ import annotations

import pytest

from questream.errors import ExitCode
from tests.integration.test_cli_clusters import fill_subjects, filled, find_levels, store_at
from tests.kit.command import questream

__all__ = ["filled"]


def test_a_cluster_is_pinned_named_and_both_are_undone(filled: str) -> None:
    at = f"--redis.url={filled}"
    pinned = questream("clusters", "pin", "c1", "--actor", "ann", "--reason", "reviewed", "--json", at).json
    assert (pinned["operation"], pinned["kind"], pinned["actor"], pinned["reason"]) == (1, "pin", "ann", "reviewed")
    assert [pinned[when]["c1"]["pinned"] for when in ("before", "after")] == [False, True]
    assert questream("clusters", "label", "c1", "--label", "cards", "--json", at).json["label"] == "cards"
    undone = questream("undo", "2", "--actor", "bob", "--json", at).json
    assert (undone["kind"], undone["undoes"], undone["after"]["c1"]["label"]) == ("undo", 2, None)
    assert undone["after"]["c1"]["pinned"]
    told = questream("clusters", "history", "c1", "--json", at).json_lines
    assert [(one["operation"], one["kind"], one["undone_by"]) for one in told] == [
        (3, "undo", None),
        (2, "label", 3),
        (1, "pin", None),
    ]
    assert questream("clusters", "history", "c2", "--json", at).json_lines == []
    assert "undone by 3" in questream("clusters", "history", at).out


def test_separated_clusters_do_not_merge_until_that_is_undone(filled: str) -> None:
    at = f"--redis.url={filled}"
    assert questream("clusters", "separate", "c1", "c2", at).code == 0
    refused = questream("clusters", "merge", "c1", "c2", "--yes", at)
    assert (refused.code, "were separated" in refused.err) == (ExitCode.FAILED, True)
    assert questream("undo", "1", at).code == 0
    assert questream("clusters", "merge", "c1", "c2", "--yes", at).code == 0


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        (["clusters", "pin", "c1"], "c1"),
        (["clusters", "separate", "c1", "c2"], "c1, c2"),
        (["clusters", "label", "c1", "--label", "x"], "c1"),
    ],
    ids=["pin", "separate", "label"],
)
def test_a_dry_run_shows_what_would_change_and_changes_nothing(filled: str, command: list[str], changed: str) -> None:
    at = f"--redis.url={filled}"
    shown = questream(*command, "--dry-run", at)
    assert shown.code == 0
    assert shown.out.startswith(f"would change: {changed}: label -, route - -> ")
    assert questream("clusters", "history", "--json", at).json_lines == []


def test_an_id_that_is_said_again_does_nothing_twice(filled: str) -> None:
    at = f"--redis.url={filled}"
    first = questream("clusters", "pin", "c1", "--id", "mine", "--json", at).json
    assert questream("clusters", "pin", "c1", "--id", "mine", "--json", at).json == first
    refused = questream("clusters", "unpin", "c1", "--id", "mine", at)
    assert (refused.code, "is that of operation 1" in refused.err) == (ExitCode.FAILED, True)


def test_what_is_not_there_is_told(filled: str) -> None:
    at = f"--redis.url={filled}"
    for command in (["clusters", "pin", "c99"], ["clusters", "separate", "c1", "c99"], ["clusters", "history", "c99"]):
        outcome = questream(*command, at)
        assert (outcome.code, "there is no cluster c99" in outcome.err) == (ExitCode.FAILED, True)
    outcome = questream("undo", "7", at)
    assert (outcome.code, "there is no operation 7" in outcome.err) == (ExitCode.FAILED, True)


def test_a_cluster_is_resolved_and_muted_and_listed_so(filled: str) -> None:
    def stands() -> tuple[str, bool]:
        (row,) = (
            one
            for one in questream("clusters", "list", "--json", f"--redis.url={filled}").json_lines
            if one["cluster_id"] == "c1"
        )
        return row["status"], row["muted"]

    assert stands() == ("open", False)
    for command, expected in (
        ("resolve", ("resolved", False)),
        ("mute", ("resolved", True)),
        ("unmute", ("resolved", False)),
        ("reopen", ("open", False)),
    ):
        before = stands()
        looked = questream("clusters", command, "c1", "--dry-run", "--json", f"--redis.url={filled}")
        assert (looked.code, looked.json["kind"], stands()) == (0, command, before)
        assert questream("clusters", command, "c1", "--actor", "ann", "--json", f"--redis.url={filled}").code == 0
        assert stands() == expected
    shown = questream("clusters", "mute", "c1", f"--redis.url={filled}").out
    assert shown.strip().endswith(", muted")


def test_what_is_in_an_intent_is_decided_and_taken_back(redis_url: str) -> None:
    """Six subjects have an intent each: i1 to i6 of c1 to c6 and those alike."""
    store, at = store_at(url=redis_url), f"--redis.url={redis_url}"
    fill_subjects(store)
    find_levels(store)

    def intent_of(cluster: str) -> str:
        path: list[str] = questream("clusters", "show", cluster, "--json", at).json["path"]
        return path[1]

    home, other = intent_of("c1"), intent_of("c2")
    shown = questream("clusters", "move", "c1", other, "--dry-run", at)
    assert (shown.code, f"would change: c1: in {home} -> in {other}" in shown.out) == (0, True)
    moved = questream("clusters", "move", "c1", other, "--actor", "ann", "--reason", "read it", "--json", at).json
    assert (moved["kind"], moved["actor"], moved["after"]["c1"]["kept_in"]) == ("move", "ann", [other])
    assert intent_of("c1") == other
    find_levels(store)
    assert intent_of("c1") == other
    assert questream("clusters", "move", "c3", "own", "--yes", at).code == 0
    assert questream("clusters", "pin", home, at).code == 0
    assert questream("clusters", "unpin", home, at).code == 0
    assert questream("clusters", "separate", home, other, at).code == 0
    refused = questream("clusters", "merge", home, other, "--yes", at)
    assert (refused.code, "were separated" in refused.err) == (ExitCode.FAILED, True)
    mixed = questream("clusters", "merge", "c1", other, at)
    assert (mixed.code, "one kind at a time" in mixed.err) == (ExitCode.USAGE, True)
    assert questream("undo", "5", at).code == 0
    questream("clusters", "label", home, "--label", "cards", at)
    questream("clusters", "label", other, "--label", "money", at)
    unsaid = questream("clusters", "merge", home, other, at)
    assert (unsaid.code, "--keep says whose stay" in unsaid.err) == (ExitCode.FAILED, True)
    merged = questream("clusters", "merge", home, other, "--keep", other, "--json", at).json
    assert {one["label"] for one in merged["levels"]["after"].values()} == {"money", None}
    assert questream("clusters", "history", other, "--json", at).json_lines[0]["kind"] == "merge"
    assert intent_of("c7") == intent_of("c8")
    questream("undo", str(merged["operation"]), at)
    find_levels(store)
    assert intent_of("c7") != intent_of("c8")
