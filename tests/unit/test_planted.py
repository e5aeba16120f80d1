"""The bugs that are planted for the checker, held to the source that they change."""

from __future__ import annotations

from pathlib import Path

from tests.kit.checker.planted import BUGS, LEVEL_BUGS, OPERATION_BUGS, SCRIPT_EDITS

LUA = Path(__file__).parents[2] / "src/questream/store/redis/lua"


def test_every_bug_in_a_script_finds_what_it_changes() -> None:
    assert SCRIPT_EDITS.keys() <= BUGS.keys() | OPERATION_BUGS.keys() | LEVEL_BUGS.keys()
    scripts = [path.read_text() for path in LUA.glob("*.lua")]
    for bug, edits in SCRIPT_EDITS.items():
        for old in edits:
            assert any(old in script for script in scripts), (bug, old)
