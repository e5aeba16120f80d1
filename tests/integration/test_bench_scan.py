"""`questream bench scan` as a user would run it, with few clusters."""

from __future__ import annotations

from tests.kit.command import questream

OWN = ["one product", "decide, check for merges", "check with all clusters", "64 merges"]


def test_deciding_is_measured_in_products_beside_what_is_installed() -> None:
    size = ("--clusters=200", "--dimensions=32", "--questions=8,64", "--runs=2")
    ran = questream("bench", "scan", *size, "--json")
    assert ran.code == 0, ran.err
    installed = [name for name in ("faiss flat", "faiss HNSW", "usearch HNSW") if name not in ran.json["missing"]]
    told = [(one["questions"], one["way"]) for one in ran.json["scans"]]
    assert told == [(questions, way) for questions in (8, 64) for way in (*OWN, *installed)]
    for one in ran.json["scans"]:
        assert (one["clusters"], one["dimension"], one["runs"]) == (200, 32, 2)
        assert one["milliseconds"] > 0
        if one["way"] == "one product":
            assert one["gemms"] == 1
        if one["way"] == "faiss flat":
            assert one["recall"] == 1
