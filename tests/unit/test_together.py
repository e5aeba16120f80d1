"""In which order a parallel run of the tests gives files to its processes."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest

from tests.kit.together import OF_THE_LIBRARY, FilesTogether


class Process:
    """What a scheduler sees of a process of the run."""

    shutting_down = False

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="of a test")
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def given(files: list[str], *processes: Process) -> list[list[str]]:
    """The files of each process, in the order in which it gets them, where all tests take equally long."""
    tests = [f"{file}::test_{number}" for file in files for number in range(3)]
    options: dict[str, Any] = {"tx": [f"{len(processes)}*popen"], "loadscopereorder": False}
    config = SimpleNamespace(getvalue=options.get, option=SimpleNamespace(**options))
    scheduler = FilesTogether(config)
    for process in processes:
        scheduler.add_node(process)
    for process in processes:
        scheduler.add_node_collection(process, tests)
    scheduler.schedule()
    done = 0
    while not scheduler.tests_finished or any(len(process.given) > done for process in processes):
        for process in processes:
            if len(process.given) > done:
                scheduler.mark_test_complete(process, process.given[done])
        done += 1
    return [list(dict.fromkeys(tests[index].partition("::")[0] for index in process.given)) for process in processes]


def test_the_first_process_begins_at_the_end_and_all_files_are_given_once() -> None:
    files = [f"tests/{name}.py" for name in "abcdefg"]
    first, *others = given(files, Process(), Process(), Process())
    assert first == sorted(first, reverse=True)
    assert first[0] == "tests/g.py"
    assert [other[0] for other in others] == ["tests/a.py", "tests/b.py"]
    assert all(other == sorted(other) for other in others)
    assert sorted(chain(first, *others)) == files


@pytest.mark.parametrize("count", [1, 2])
def test_files_that_import_the_library_go_to_one_process(count: int) -> None:
    library = sorted(OF_THE_LIBRARY)
    files = [library[0], "tests/a.py", *library[1:], "tests/b.py"]
    of_each = given(files, *(Process() for _ in range(count)))
    assert [process for process in of_each if set(library) <= set(process)]
    assert sorted(chain(*of_each)) == sorted(files)
