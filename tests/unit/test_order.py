"""The order in which a parallel run begins the files."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import FOLDERS, LONGEST, turn_of

TESTS = Path(__file__).parents[1]


def test_the_longest_files_are_there_and_each_has_a_turn_of_its_own() -> None:
    assert [turn_of(TESTS / name) for name in LONGEST if (TESTS / name).is_file()] == list(range(len(LONGEST)))


def test_every_file_has_a_turn() -> None:
    turns = {turn_of(path) for path in TESTS.glob("*/test_*.py")}
    assert turns == set(range(len(LONGEST) + len(FOLDERS)))
