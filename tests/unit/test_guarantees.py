"""The page of guarantees names tests that exist, for every promise."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
}
ROWS = [line.split(" | ") for line in (ROOT / "docs/guarantees.md").read_text().splitlines() if line.startswith("| **")]


def test_every_promise_names_tests_that_exist() -> None:
    assert len(ROWS) >= 10
    for promise, _, proof, limit in ROWS:
        named = re.findall(r"`(test_\w+)`", proof)
        assert named, promise
        assert set(named) <= TESTS, promise
        assert limit.strip(" |"), promise
