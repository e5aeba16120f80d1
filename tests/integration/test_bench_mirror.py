"""`questream bench mirror` as a user would run it, with few clusters."""

from __future__ import annotations

from tests.kit.command import questream


def test_clusters_are_loaded_while_others_change_them(redis_url: str) -> None:
    size = ("--clusters", "3000", "--dimension", "8", "--changes", "500")
    ran = questream("bench", "mirror", *size, "--json", "--redis-url", redis_url)
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["clusters"] == 3000
    assert told["load_seconds"] > 0
    assert told["differing_clusters"] == 0
