"""The order in which a parallel run begins the files."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from xdist.scheduler import LoadFileScheduling

from tests.conftest import FOLDERS, LONGEST, pytest_xdist_make_scheduler, turn_of
from tests.kit.together import OF_THE_LIBRARY

TESTS = Path(__file__).parents[1]


def test_the_longest_files_are_there_and_each_has_a_turn_of_its_own() -> None:
    assert [turn_of(TESTS / name) for name in LONGEST if (TESTS / name).is_file()] == list(range(len(LONGEST)))


def test_every_file_has_a_turn() -> None:
    turns = {turn_of(path) for path in TESTS.glob("*/test_*.py")}
    assert turns == set(range(len(LONGEST) + len(FOLDERS)))


def test_files_that_import_the_library_are_given_to_one_process() -> None:
    imports = re.compile(r"^ +(?:from|import) (?:sentence_transformers|tests\.kit\.models)\b", re.MULTILINE)
    root = TESTS.parent
    import_it = {f"{path.relative_to(root)}" for path in TESTS.glob("*/test_*.py") if imports.search(path.read_text())}
    assert import_it
    assert import_it <= OF_THE_LIBRARY
    assert all((root / file).is_file() for file in OF_THE_LIBRARY)
    scheduler = scheduler_of("loadfile")
    assert scheduler is not None
    files = [*sorted(OF_THE_LIBRARY), "tests/unit/test_order.py", "tests/unit/test_garbage.py"]
    scopes = [scheduler._split_scope(f"{file}::test_it[a::b]") for file in files]
    assert len(set(scopes)) == 3
    assert len(set(scopes[: len(OF_THE_LIBRARY)])) == 1


def test_a_run_that_is_not_by_files_is_scheduled_as_it_asks() -> None:
    assert scheduler_of("load") is None


def scheduler_of(dist: str) -> LoadFileScheduling | None:
    options = {"dist": dist, "tx": ["popen"]}
    asked: Any = SimpleNamespace(getoption=options.get, getvalue=options.get)
    return pytest_xdist_make_scheduler(asked, None)
