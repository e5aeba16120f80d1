"""The commands that look at namespaces, on Redis itself."""

from __future__ import annotations

import orjson
import pytest

from questream.errors import ExitCode
from tests.integration.test_cli_clusters import fill, store_at
from tests.kit.command import questream


def note(store: object, worker: str, **settings: object) -> None:
    store.note_settings("default", worker, orjson.dumps(settings), 60.0)  # type: ignore[attr-defined] # of Redis alone


def test_namespaces_are_listed_by_name_with_what_they_hold(redis_url: str) -> None:
    for name in ("tenant-b", "default"):
        fill(store_at(url=redis_url), name)
    outcome = questream("namespaces", "list", "--json", f"--redis.url={redis_url}")
    assert outcome.code == 0, outcome.err
    told = [(row["namespace"], row["clusters"], row["singletons"], row["model"]) for row in outcome.json_lines]
    assert told == [("default", 3, 1, "vectors"), ("tenant-b", 3, 1, "vectors")]
    table = questream("namespaces", "list", f"--redis.url={redis_url}").out.splitlines()
    assert [line.split()[:3] for line in table[1:]] == [["default", "3", "1"], ["tenant-b", "3", "1"]]


def test_a_namespace_is_shown_with_its_rules_and_lengths(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill(store)
    store.take_home("default", b"1 0123456789abcdef 89abcdef")
    questream("clusters", "pin", "c1", f"--redis.url={redis_url}")
    shown = questream("namespaces", "show", "default", "--json", f"--redis.url={redis_url}").json
    assert (shown["questions"], shown["clusters"], shown["aliases"], shown["next_cluster"]) == (6, 3, 0, "c4")
    assert (shown["threshold"], shown["similarity"], shown["linkage"]) == (0.9, "cosine", "adaptive")
    assert (shown["store"], shown["recovered"], shown["operations"]) == ("0123456789abcdef", True, 1)
    assert sum(shown["ledgers"].values()) >= 1
    assert shown["log_changes"] >= 1
    assert (shown["settings"], shown["settings_differ"]) == (None, [])
    lines = questream("namespaces", "show", f"--redis.url={redis_url}").out.splitlines()
    assert ["questions", "6"] in [line.split() for line in lines]


def test_rules_are_set_shown_previewed_and_taken_back(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill(store)
    redis = f"--redis.url={redis_url}"
    higher = ("namespaces", "set", "default", "threshold=0.95", "max_clusters=off", redis)
    seen = questream(*higher, "--dry-run", "--json").json
    assert (seen["operation"], seen["rules"]["after"]) == (None, {"threshold": 0.95, "max_clusters": 0})
    assert seen["effect"]["clusters"] == 3
    assert store.rules("default").values() == {}
    finer = questream("namespaces", "set", "default", "intent_resolution=40", redis, "--dry-run", "--json").json
    assert finer["rules"]["after"] == {"intent_resolution": 40}
    refused = questream("namespaces", "set", "default", "topic_resolution=0", redis)
    assert "topic_resolution cannot be '0'; it takes a number" in refused.err
    lower = questream("namespaces", "set", "default", "merge_threshold=-1", redis, "--dry-run", "--json").json
    assert lower["effect"]["would_merge"] >= 1
    assert all(one.startswith("c") for pair in lower["effect"]["examples"] for one in pair)

    done = questream(*higher, "--id", "finer", "--json").json
    assert (done["operation"], done["kind"], done["rules"]["before"]) == (1, "rules", {})
    assert questream(*higher, "--id", "finer", "--json").json["operation"] == 1
    back = questream("undo", "1", "--dry-run", "--json", redis).json
    assert (back["operation"], back["rules"]["after"], back["effect"]["clusters"]) == (None, {}, 3)
    assert "would_merge: " in questream("undo", "1", "--dry-run", redis).out
    shown = questream("namespaces", "show", "default", "--json", redis).json
    assert shown["threshold"] == 0.95
    assert shown["rules"]["threshold"] == {"value": 0.95, "source": "namespace (operation 1)"}
    assert shown["rules"]["max_clusters"] == {"value": None, "source": "namespace (operation 1)"}
    assert shown["rules"]["linkage"]["source"] == "settings given here"
    note(store, "w1", **{"clusters.threshold": 0.9, "clusters.retention_seconds": 60.0})
    note(store, "w2", **{"clusters.threshold": 0.8, "clusters.retention_seconds": 60.0})
    shown = questream("namespaces", "show", "default", "--json", redis).json
    assert (shown["settings_differ"], shown["rules"]["retention_seconds"]["value"]) == ([], 60.0)
    assert "max_clusters" in questream("namespaces", "show", "default", redis).out

    precise = questream("namespaces", "set", "default", "routing_precision=0.9", redis, "--dry-run")
    assert "without `questream namespaces calibrate default` no question is routed" in precise.err

    more = questream("namespaces", "set", "default", "linkage=average", redis)
    assert more.err == ""
    assert "operation 2: rules threshold=0.95, max_clusters=0 -> threshold=0.95, linkage=average" in more.out
    undone = questream("undo", "1", "--json", redis).json
    assert undone["rules"]["after"] == {"linkage": "average"}
    assert store.rules("default").values() == {"linkage": "average"}
    gone = questream("namespaces", "set", "default", "linkage=unset", redis)
    assert "-> as the settings" in gone.out
    again = questream("undo", "2", redis)
    assert (again.code, "decided anew since" in again.err) == (ExitCode.FAILED, True)
    assert "rules" in questream("clusters", "history", redis).out


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("threshold=2", "it takes a number from -1 to 1, or unset"),
        ("threshold=nan", "threshold cannot be 'nan'"),
        ("threshold=off", "threshold cannot be 'off'"),
        ("linkage=some", "linkage cannot be 'some'"),
        ("max_clusters=1", "it takes a whole number from 2 to "),
        ("similarity=cosine", "sets no rule of a namespace"),
        ("threshold", "sets no rule of a namespace"),
    ],
)
def test_a_rule_that_is_none_or_out_of_its_range_is_refused(redis_url: str, rule: str, told: str) -> None:
    store = store_at(url=redis_url)
    fill(store)
    outcome = questream("namespaces", "set", "default", rule, f"--redis.url={redis_url}")
    assert outcome.code == ExitCode.FAILED
    assert told in outcome.err
    assert store.operations("default", 10) == []


def test_settings_that_workers_do_not_share_are_told(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill(store)
    note(store, "w1", **{"clusters.threshold": 0.9, "delivery": "exactly-once"})
    note(store, "w2", **{"clusters.threshold": 0.8, "delivery": "exactly-once"})
    shown = questream("namespaces", "show", "--json", f"--redis.url={redis_url}").json
    assert shown["settings_noted_by"] in ("w1", "w2")
    assert shown["settings"]["delivery"] == "exactly-once"
    (difference,) = shown["settings_differ"]
    assert difference.startswith("clusters.threshold: ")
    assert ("w1" in difference, "w2" in difference) == (True, True)
    listed = questream("namespaces", "list", f"--redis.url={redis_url}")
    assert "default: workers run by different settings: clusters.threshold" in listed.err


def test_damaged_notes_of_settings_hide_no_namespace(redis_url: str) -> None:
    store = store_at(url=redis_url)
    fill(store)
    for damage in ("no json", "[1]", '{"a": [1]}', '{"a": 7}', '{"a": {"b": 1}}'):
        store._client.hset(store._keys.of("default", "meta"), "settings", damage)
        outcome = questream("namespaces", "show", "--json", f"--redis.url={redis_url}")
        assert (outcome.code, outcome.json["settings"]) == (0, None), damage


def test_a_namespace_that_is_not_there_is_told_and_not_begun(redis_url: str) -> None:
    outcome = questream("namespaces", "show", "bank", f"--redis.url={redis_url}")
    assert outcome.code == ExitCode.FAILED
    assert "there is no namespace 'bank'" in outcome.err
    assert questream("namespaces", "list", "--json", f"--redis.url={redis_url}").out == ""
    assert store_at(url=redis_url).namespaces() == []
