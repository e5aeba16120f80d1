"""`questream suggestions`: what merging leaves to people, on Redis itself."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from questream import QuestionClusterer
from questream.errors import ExitCode
from tests.integration.test_cli_clusters import store_at
from tests.kit.command import questream


@pytest.fixture
def pinned(redis_url: str) -> str:
    """URL of a Redis where c1 is pinned, and c2 near enough to be merged with it; c3 is far."""
    store = store_at(url=redis_url)
    rules = {"threshold": 0.9, "merge_threshold": 0.8}
    clusterer = QuestionClusterer(dimension=8, similarity="cosine", linkage="average", store=store, **rules)  # type: ignore[arg-type] # numbers alone
    vectors = np.eye(8, dtype=np.float32)[[0, 0, 3]]
    vectors[1, [0, 1]] = 0.85, (1 - 0.85**2) ** 0.5
    clusterer.assign(vectors[:1])
    assert questream("clusters", "pin", "c1", f"--redis.url={redis_url}").code == 0
    clusterer.assign(vectors[1:])
    noted = orjson.dumps({"clusters.merge_threshold": 0.8, "clusters.threshold": 0.9})
    store.note_settings("default", "w1", noted, 60.0)
    return redis_url


def pairs(url: str) -> list[list[str]]:
    outcome = questream("suggestions", "list", "--json", f"--redis.url={url}")
    assert outcome.code == 0, outcome.err
    return [[one["cluster_id"] for one in row["clusters"]] for row in outcome.json_lines]


def test_what_workers_may_not_merge_is_listed_by_the_rules_that_they_noted(pinned: str) -> None:
    (row,) = questream("suggestions", "list", "--json", f"--redis.url={pinned}").json_lines
    assert (row["namespace"], row["suggestion"], row["forbidden_by"], row["size"]) == ("default", "merge", ["pin"], 2)
    assert [(one["cluster_id"], one["pinned"]) for one in row["clusters"]] == [("c1", True), ("c2", False)]
    table = questream("suggestions", "list", f"--redis.url={pinned}").out.splitlines()
    assert table[1].split()[:4] == ["c1", "c2", "2", "pin"]


def test_a_dismissed_suggestion_is_an_operation_and_not_made_again(pinned: str) -> None:
    preview = questream("suggestions", "dismiss", "c1", "c2", "--dry-run", "--json", f"--redis.url={pinned}")
    assert (preview.code, preview.json["operation"]) == (0, None)
    assert pairs(pinned) == [["c1", "c2"]]
    arguments = ["--actor", "ann", "--reason", "on and off", "--id", "answer-a", "--json"]
    done = questream("suggestions", "dismiss", "c1", "c2", *arguments, f"--redis.url={pinned}")
    assert (done.json["kind"], done.json["actor"], done.json["reason"]) == ("separate", "ann", "on and off")
    again = questream("suggestions", "dismiss", "c1", "c2", *arguments, f"--redis.url={pinned}")
    assert again.json["operation"] == done.json["operation"]
    assert pairs(pinned) == []
    questream("undo", str(done.json["operation"]), f"--redis.url={pinned}")
    assert pairs(pinned) == [["c1", "c2"]]


def test_an_accepted_suggestion_is_merged(pinned: str) -> None:
    assert questream("suggestions", "accept", "c1", "c2", "--yes", f"--redis.url={pinned}").code == 0
    assert pairs(pinned) == []
    assert questream("clusters", "show", "c2", "--json", f"--redis.url={pinned}").json["cluster_id"] == "c1"


def test_a_large_cluster_is_suggested_to_be_named_until_it_is_or_nobody_wants_it(redis_url: str) -> None:
    clusterer = QuestionClusterer(dimension=8, similarity="cosine", store=store_at(url=redis_url))
    clusterer.assign(np.eye(8, dtype=np.float32)[[0, 0, 0, 0, 3, 3, 3, 5]])
    at = f"--redis.url={redis_url}"

    def unnamed() -> list[str]:
        rows = questream("suggestions", "list", "--kind", "name", "--json", at).json_lines
        assert all(row["suggestion"] == "name" for row in rows)
        return [row["clusters"][0]["cluster_id"] for row in rows]

    assert unnamed() == ["c1", "c2"]
    assert questream("suggestions", "list", "--kind", "name", at).out.splitlines()[1].split()[:2] == ["c1", "4"]
    command = ("suggestions", "dismiss", "c1", "--kind", "name", "--json", at)
    assert questream(*command, "--dry-run").json["operation"] is None
    done = questream(*command, "--actor", "ann").json
    assert (done["kind"], done["after"]["c1"]["dismissed"]) == ("dismiss", ["name"])
    assert unnamed() == ["c2"]
    assert questream("intents", "check", "--json", at).json_lines[0]["clusters"] == ["c2"]
    assert questream("undo", "1", at).code == 0
    assert unnamed() == ["c1", "c2"]
    assert questream("suggestions", "accept", "c1", "--label", "cards", at).code == 0
    # Smaller than what has a label.
    assert unnamed() == []
    assert questream("suggestions", "dismiss", "c1", at).code == 2
    assert questream("suggestions", "dismiss", "c1", "c2", "--kind", "name", at).code == 2


def test_a_namespace_that_is_not_there_is_told(redis_url: str) -> None:
    outcome = questream("suggestions", "list", "--namespace", "bank", f"--redis.url={redis_url}")
    assert outcome.code == ExitCode.FAILED
    assert "there is no namespace 'bank'" in outcome.err
