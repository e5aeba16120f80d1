"""`questream intents check`: what is wrong with the labels that people gave, on Redis itself."""

from __future__ import annotations

import pytest

from questream.errors import ExitCode
from tests.integration.test_cli_clusters import fill, store_at
from tests.integration.test_cli_suggestions import pinned
from tests.kit.command import questream

__all__ = ["pinned"]

FUTURE = "2999-01-01T00:00:00Z"


@pytest.fixture
def filled(redis_url: str) -> str:
    """URL of a Redis with c1 of three questions, c2 of two, c3 of one."""
    fill(store_at(url=redis_url))
    return redis_url


def checked(url: str, *arguments: str) -> list[tuple[str, list[str], list[str]]]:
    outcome = questream("intents", "check", "--json", *arguments, f"--redis.url={url}")
    assert outcome.code == 0, outcome.err
    return [(row["finding"], row["labels"], row["clusters"]) for row in outcome.json_lines]


def label(url: str, cluster: str, name: str) -> None:
    assert questream("clusters", "label", cluster, "--label", name, f"--redis.url={url}").code == 0


def test_labels_of_clusters_that_would_merge_overlap(pinned: str) -> None:
    label(pinned, "c1", "refunds")
    label(pinned, "c2", "fraud")
    assert checked(pinned) == [("overlap", ["refunds", "fraud"], ["c1", "c2"])]


def test_a_label_is_unasked_only_where_none_of_its_clusters_has_a_question(filled: str) -> None:
    for cluster in ("c2", "c3"):
        label(filled, cluster, "refunds")
    assert [one for one in checked(filled) if one[0] == "unasked"] == []
    late = [one for one in checked(filled, "--unasked-since", FUTURE) if one[0] == "unasked"]
    assert late == [("unasked", ["refunds"], ["c2", "c3"])]


def test_big_clusters_without_a_label_are_told_and_small_ones_are_not(filled: str) -> None:
    assert checked(filled) == [("unnamed", [], ["c1"])]
    label(filled, "c1", "cards")
    assert checked(filled) == []


def test_the_check_is_a_table_for_people(filled: str) -> None:
    lines = questream("intents", "check", f"--redis.url={filled}").out.splitlines()
    assert lines[0].split() == ["finding", "labels", "clusters", "size", "last", "seen", "question"]
    assert lines[1].split()[:3] == ["unnamed", "c1", "3"]
    refused = questream("intents", "check", "--unasked-since", "yesterday", f"--redis.url={filled}")
    assert (refused.code, "--unasked-since takes" in refused.err) == (ExitCode.USAGE, True)
