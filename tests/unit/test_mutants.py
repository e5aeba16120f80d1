"""The list of guards that `make mutants` takes out, held to the source that it names."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.kit.mutants.__main__ import _caught_by
from tests.kit.mutants.guards import EQUIVALENT, SUITES, Mutant, all_mutants

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


@pytest.mark.parametrize("test", ["logging.error('lost'); assert is_guarded()", "assert True", "assert False"])
def test_a_suite_that_fails_with_the_guard_too_catches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: str
) -> None:
    source = "def is_guarded():\n    return True\n"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "guarded.py").write_text(source)
    (tmp_path / "test_guarded.py").write_text(
        f"import logging\nfrom guarded import is_guarded\n\ndef test_it():\n    {test}\n"
    )
    monkeypatch.setitem(SUITES, "src/guarded.py", ("test_guarded.py",))
    start = source.index("True")
    mutant = Mutant("guarded", "src/guarded.py", start, start + len("True"), "False")
    trees: SimpleQueue[Path] = SimpleQueue()
    trees.put(tmp_path)
    if test == "assert False":
        with pytest.raises(ValueError, match="fails without any mutant"):
            _caught_by(mutant, trees, 1, set())
    else:
        caught = _caught_by(mutant, trees, 1, set())
        assert caught == (None if test == "assert True" else "test_guarded.py::test_it")
    assert (tmp_path / "src" / "guarded.py").read_text() == source
