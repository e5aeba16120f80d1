"""The list of guards that `make mutants` takes out, held to the source that it names."""

from __future__ import annotations

from pathlib import Path

from tests.kit.mutants.guards import EQUIVALENT, SUITES, all_mutants

ROOT = Path(__file__).parents[2]


def test_every_guard_that_is_listed_stands_in_the_source() -> None:
    names = [mutant.name for mutant in all_mutants(ROOT)]
    assert len(names) == len(set(names))
    assert EQUIVALENT.keys() <= {name.removeprefix("src/questream/") for name in names}


def test_a_mutant_is_the_source_without_its_guard() -> None:
    for mutant in all_mutants(ROOT):
        source = (ROOT / mutant.file).read_text()
        assert mutant.applied(source) != source


def test_every_suite_that_may_catch_a_mutant_is_there() -> None:
    """Where pytest finds no such file it fails, with and without the guard."""
    paths = {a for suites in SUITES.values() for suite in suites for a in suite.split() if a.startswith("tests/")}
    assert paths
    assert not [path for path in sorted(paths) if not (ROOT / path).exists()]
