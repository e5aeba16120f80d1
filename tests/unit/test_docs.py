"""The pages of docs/ name commands, metrics and functions that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from questream.cli.app import COMMANDS as TREE
from questream.cli.app import command_tree
from questream.cli.options import expand_setting_flags
from tests.kit.serving import store_with

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), *(ROOT / name for name in ("README.md", "SECURITY.md", "worker/README.md"))])
BARE = str.maketrans("", "", "[]")
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def commands_of(page: str) -> list[str]:
    """What is named between backquotes, and what stands in consoles and indented blocks."""
    joined = (ROOT / page).read_text("utf-8").replace("\\\n", " ")
    inline = re.findall(r"(?<!`)`(questream [a-z][^`]*)`(?!`)", joined)
    lines = re.findall(r"^ *(?:\$ +| {4})(?:[A-Z_]+=\S+ )*(questream [a-z][^\n|>]*)", joined, re.MULTILINE)
    return [" ".join(command.split()) for command in (*inline, *lines)]


def found(words: list[str]) -> tuple[Any, list[str]]:
    """The command, or group of commands, that these words name, and what is given to it."""
    command, rest = command_tree(*TREE), words
    while rest and hasattr(command, "commands"):
        if rest[0] not in command.commands:
            raise AssertionError(f"there is no command {rest[0]}")
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def refusal(command: Any, given: list[str]) -> str | None:
    """Why a command does not take this; what is missing a page may leave out, as what it is not about."""
    try:
        command.make_context("", expand_setting_flags(given))
    except Exception as error:
        return None if type(error).__name__ == "MissingParameter" else str(error)
    return None


@pytest.mark.parametrize("page", NAMES)
def test_each_command_of_a_page_exists_and_takes_what_it_is_given(page: str) -> None:
    for line in commands_of(page):
        # N stands for a number, and what may be left out is between brackets.
        command, given = found(["1" if word == "N" else word for word in shlex.split(line.translate(BARE))[1:]])
        assert not given or refusal(command, given) is None, line


def test_what_operations_do_from_python_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "open_store" in code)
    store = store_with({"default": [f"question {number}" for number in range(42)]})
    monkeypatch.setattr("questream.store.redis.store.open_store", lambda _: store)
    exec(example, {})
    pinned, other = store.states("default", [17, 42])
    assert pinned.ruling.pinned
    assert pinned.ruling.is_separate_from(other.ruling)
    assert [one.actor for one in store.operations("default", 9)] == ["ann@example.com"] * 2
