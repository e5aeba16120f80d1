"""The checker shares nothing with what it checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.kit import checker

ALLOWED = {"kafka", "redis", "numpy"}
FOLDER = Path(checker.__file__).parent
# The bugs that it has to find are planted in the product, which those who plant them must import.
PLANTING = {"planted.py", "scenarios.py"}


def modules() -> list[Path]:
    return [path for path in FOLDER.glob("*.py") if path.name not in PLANTING]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names


def test_the_checker_imports_kafka_redis_and_numpy_alone() -> None:
    assert len(modules()) > 5
    for path in modules():
        foreign = {
            name
            for name in imported(path)
            if name.split(".")[0] not in ALLOWED | sys.stdlib_module_names and not name.startswith("tests.kit.checker")
        }
        assert not foreign, f"{path.name} imports {foreign}"


def test_importing_the_checker_loads_nothing_of_the_product() -> None:
    program = "import sys, tests.kit.checker; sys.exit(any(name.split('.')[0] == 'questream' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=FOLDER.parents[2]).returncode == 0
