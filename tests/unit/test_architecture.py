"""Imports go one way, and the page that shows the plan names what is there."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import IMPORTED_TO_COLLECT

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "questream"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
# From the ground up: a package imports those before it.
LAYERS = (
    {"errors", "garbage", "guarded", "interrupts", "signatures"},
    {"domain", "marks", "prepared", "rulings"},
    {"clustering", "events", "naming"},
    {"settings", "preparing", "records", "broker", "store", "encoder", "logs", "metrics", "embedded"},
    {"deciding", "operations", "arguments"},
    {"recovery", "migration", "library"},
    {"stream", "estimator"},
    {"tools", "watch"},
    {"lab", "server"},
    {"cli"},
)


@functools.cache
def imports() -> list[tuple[str, str]]:
    """Each module of the package, as its path, with the name of what it imports."""
    return list(read_imports())


def read_imports() -> Iterator[tuple[str, str]]:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((str(path.relative_to(SOURCE)), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                yield str(path.relative_to(SOURCE)), node.module or ""


def layer(package: str) -> int:
    return next(at for at, packages in enumerate(LAYERS) if package in packages)


def test_imports_go_down() -> None:
    for module, name in imports():
        package = module.partition("/")[0].removesuffix(".py")
        imported = name.removeprefix("questream.").partition(".")[0]
        if name.startswith("questream.") and not package.startswith("__") and package != imported:
            assert layer(imported) <= layer(package), f"{module} imports {name}"


@pytest.mark.parametrize(
    ("client", "adapter"),
    [("kafka", "broker/kafka_python"), ("confluent_kafka", "broker/confluent"), ("redis", "store/redis")],
)
def test_a_client_is_imported_by_its_adapter_alone(client: str, adapter: str) -> None:
    found = {module for module, name in imports() if name.partition(".")[0] == client}
    # The programs of peers stand for what others write.
    found = {module for module in found if not module.startswith("lab/bench/peers/")}
    assert found
    assert {module for module in found if not module.startswith(adapter)} == set()


def test_the_adapter_of_the_broker_is_named_in_one_place() -> None:
    # `connect` names each as a text: what is imported is the one that is used.
    text = (SOURCE / "broker" / "connect.py").read_text()
    for adapter in ("kafka_python", "confluent"):
        assert f"questream.broker.{adapter}.connect" in text
        named = {module for module, name in imports() if name.startswith(f"questream.broker.{adapter}")}
        assert {module for module in named if not module.startswith(f"broker/{adapter}")} == set()


def test_the_plan_names_every_package_and_what_it_names_is_there() -> None:
    plan = PAGE.partition("```\n")[2].partition("```")[0]
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert packages == set(re.findall(r"^(\w+)/ ", plan, re.MULTILINE))
    named = 0
    for line in re.sub(r"\n {2,}", " ", plan).splitlines():
        own, *inner = re.findall(r"\b\w+(?:/|\.py)(?![\w.])", line)
        assert (SOURCE / own).exists(), own
        for name in inner:
            within = SOURCE if (SOURCE / name).exists() or own.endswith(".py") else SOURCE / own
            assert any(within.rglob(name.removesuffix("/"))), f"{own} has no {name}"
            named += 1
    assert named > 20


def test_the_files_and_functions_that_the_page_names_are_there() -> None:
    named = re.findall(r"`((?:[a-z0-9_]+/)*[a-z0-9_]+\.(?:py|lua))`(?:\s`([A-Za-z_.]+)`)?", PAGE)
    assert len(named) > 70
    for file, name in named:
        path = SOURCE / (f"store/redis/{file}" if file.startswith("lua/") else file)
        path = path if path.exists() else ROOT / file
        text = path.read_text()
        for part in filter(None, name.split(".")):
            assert re.search(rf"(?:class|def) {part}\b", text), f"{file} has no {part}"


def test_the_names_that_the_page_has_without_a_file_are_there() -> None:
    text = "\n".join(path.read_text() for path in [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.lua")])
    words = set(re.findall(r"\w+", text))
    named = re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_]+)*)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    assert len(named) > 50
    assert {name for name in named if not words.issuperset(name.split("."))} == set()


def test_collecting_tests_imports_nothing_that_takes_seconds(pytestconfig: pytest.Config) -> None:
    """Each process of a parallel run collects all tests: what takes seconds is imported where it is used."""
    libraries = ("pandas", "presidio_analyzer", "scipy", "sentence_transformers", "sklearn", "spacy", "torch")
    imported = pytestconfig.stash[IMPORTED_TO_COLLECT]
    assert imported.intersection(libraries) == set()
