"""What the checker calls an intent whose id changed its meaning: evidence of two versions, written by hand."""

from __future__ import annotations

import json

import pytest

from tests.kit.checker import Evidence, Rules
from tests.kit.checker.evidence import Entry
from tests.kit.checker.levels import check_levels
from tests.kit.checker.published import read_run


def version(number: int, clusters: list[str]) -> Entry:
    """Intent i1 has these clusters."""
    told = {"version": number, "part": 0, "parts": 1, "within": {"i1": clusters}, "next": [2, 1], "opened": 4}
    return Entry(0, number, 0, f"default/levels/{number}".encode(), json.dumps(told).encode())


def merged(number: int, into: int) -> Entry:
    """A cluster has become another."""
    times = {"created_at": "1970-01-01T00:00:00Z", "last_seen_at": "1970-01-01T00:00:00Z"}
    told = {"size": 1, "revision": 1, "vector": None, "merged_into": f"c{into}", "label": None, "route": None}
    body = json.dumps({**told, **times, "representative": None}).encode()
    return Entry(0, 10 + number, 0, f"default/c{number}".encode(), body)


@pytest.mark.parametrize(
    ("merges", "broken"),
    [([], 1), ([(1, 2)], 1), ([(1, 2), (2, 3)], 0), ([(1, 3)], 0), ([(4, 3)], 1)],
)
def test_an_intent_keeps_one_of_its_clusters_or_what_they_have_become(
    merges: list[tuple[int, int]], broken: int
) -> None:
    states = [version(1, ["c1"]), *(merged(*one) for one in merges), version(2, ["c3"])]
    found = Evidence("asked", [], {}, [], [], states, {}, {})
    rules = Rules(0.6)
    assert len(list(check_levels(read_run(found, rules), rules))) == broken


@pytest.mark.parametrize(("cluster", "decided_ms", "broken"), [(5, 1500, 0), (5, 2500, 1), (4, 1500, 1)])
def test_an_intent_keeps_a_cluster_that_was_opened_in_it(cluster: int, decided_ms: int, broken: int) -> None:
    """c1 has left and c3 has come; whether a decision told in time that the other was opened in the intent."""
    told = {
        "source": {"topic": "asked", "partition": 0, "offset": 0, "timestamp": 0},
        "namespace": "default",
        "cluster_id": f"c{cluster}",
        "outcome": "joined",
        "similarity": 1.0,
        "cluster_size": 2,
        "runner_up": None,
        "threshold": 0.6,
        "decided_at": f"1970-01-01T00:00:{decided_ms / 1000:06.3f}Z",
        "path": ["i1", "i1", f"c{cluster}"],
    }
    states = [version(1000, ["c1"]), version(2000, ["c3", f"c{cluster}"])]
    output = [Entry(0, 0, 0, b"", json.dumps(told).encode())]
    found = Evidence("asked", [], {}, output, [], states, {}, {})
    rules = Rules(0.6)
    assert (
        len([one for one in check_levels(read_run(found, rules), rules) if "which these became" in str(one)]) == broken
    )
