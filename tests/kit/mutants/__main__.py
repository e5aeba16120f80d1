"""Take each guard out of a copy of the tree and run the tests that may miss it: `-m tests.kit.mutants --help`."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.kit.mutants.guards import EQUIVALENT, Mutant, all_mutants

ROOT = Path(__file__).parents[3]
_SUITE_SECONDS = 900
# Nothing was run: a suite's arguments are wrong, or select no test.
_NOTHING_RUN = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".hypothesis", ".*_cache", "node_modules")


def main() -> None:
    """Run the mutants that are asked for; exit code 1 where one survives that is not known to be equivalent."""
    arguments = _arguments()
    mutants = [mutant for mutant in all_mutants(ROOT) if arguments.only in mutant.name]
    if arguments.list:
        sys.stdout.writelines(f"{mutant.name}\n" for mutant in mutants)
        return
    known = _known(arguments.results)
    waiting = [mutant for mutant in mutants if mutant.name not in known]
    trees: SimpleQueue[Path] = SimpleQueue()
    sound: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        for job in range(arguments.jobs):
            trees.put(Path(shutil.copytree(ROOT, Path(folder) / str(job), ignore=_LEFT_OUT, symlinks=True)))
        for mutant, caught in zip(
            waiting, pool.map(lambda m: _caught_by(m, trees, arguments.suites, sound), waiting), strict=True
        ):
            known[mutant.name] = caught
            sys.stdout.write(f"{'SURVIVED' if caught is None else 'caught'}  {mutant.name}  {caught or ''}\n")
            sys.stdout.flush()
            with arguments.results.open("a") as results:
                results.write(json.dumps({"mutant": mutant.name, "caught": caught}) + "\n")
    survivors = [m.name for m in mutants if known[m.name] is None and m.name not in EQUIVALENT]
    counted = Counter("caught" if known[mutant.name] else "survived" for mutant in mutants)
    sys.stdout.write(
        f"{len(mutants)} mutants, {counted['caught']} caught, {len(survivors)} live and are not equivalent\n"
    )
    sys.exit(1 if survivors else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kit.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name has this text, such as commit.lua")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once, each in a copy of the tree")
    parser.add_argument("--suites", type=int, default=99, help="of the tests that may catch one, the first so many")
    parser.add_argument("--list", action="store_true", help="name the mutants and run none")
    parser.add_argument(
        "--results", type=Path, default=ROOT / ".mutants.jsonl", help="what is known already, which is not run again"
    )
    return parser.parse_args()


def _known(results: Path) -> dict[str, str | None]:
    if not results.exists():
        return {}
    return {result["mutant"]: result["caught"] for result in map(json.loads, results.read_text().splitlines())}


def _caught_by(mutant: Mutant, trees: SimpleQueue[Path], most_suites: int, sound: set[str]) -> str | None:
    """The test that fails without the guard, or the suite that hangs; None if all pass.

    Raises ValueError where one fails with the guard, too. `sound` are the suites that do not.
    """
    tree = trees.get()
    try:
        for suite in mutant.suites[:most_suites]:
            with _mutated(tree / mutant.file, mutant):
                caught = _failing(tree, suite)
            if caught is not None:
                if suite not in sound and (fails := _failing(tree, suite)) is not None:
                    raise ValueError(f"{fails} fails without any mutant, and catches none")
                sound.add(suite)
                return caught
        return None
    finally:
        trees.put(tree)


@contextmanager
def _mutated(path: Path, mutant: Mutant) -> Iterator[None]:
    source = path.read_text()
    path.write_text(mutant.applied(source))
    try:
        yield
    finally:
        path.write_text(source)


def _failing(tree: Path, suite: str) -> str | None:
    # The copy goes before the installed package. Nobody reads the shortest sequence of calls that a mutant fails in.
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "QUESTREAM_TEST_AS_FOUND": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *shlex.split(suite)]
    try:
        ran = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_SUITE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{suite} hangs"
    if ran.returncode in _NOTHING_RUN:
        raise ValueError(f"no test is run by {suite!r}: mend SUITES in tests/kit/mutants/guards.py")
    if ran.returncode == 0:
        return None
    # A line of a log has more than one space there.
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    return failed[0] if failed else f"{suite} ended with {ran.returncode}"


if __name__ == "__main__":
    main()
