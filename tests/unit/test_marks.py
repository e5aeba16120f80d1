"""What people say of a cluster as a whole is declared once, for commands, API, page and language models."""

from __future__ import annotations

from typing import get_args

import pytest

from questream.domain import OperationKind, Ruling
from questream.marks import MARKS, MarkKind
from questream.operations import By, Decisions
from questream.store.reference.store import MemoryStore
from tests.unit.test_cli import COMMANDS

KINDS: tuple[MarkKind, ...] = get_args(MarkKind)


def test_each_is_declared_and_a_kind_of_operation() -> None:
    assert tuple(MARKS) == KINDS
    assert set(KINDS) <= set(get_args(OperationKind))


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_command(kind: MarkKind) -> None:
    assert f"questream clusters {kind}" in COMMANDS


@pytest.mark.parametrize(("one", "other"), [("pin", "unpin"), ("mute", "unmute"), ("resolve", "reopen")])
def test_each_takes_another_back(one: MarkKind, other: MarkKind) -> None:
    marked = MARKS[one].change(Ruling(), 3)
    assert marked != Ruling()
    assert MARKS[other].change(marked, 3) == Ruling()


def test_an_id_that_an_earlier_release_was_told_is_that_of_the_same_request() -> None:
    decisions = Decisions(MemoryStore(), "shop", By("ann"))
    assert (decisions.mark("pin", 1).asked, decisions.mark("resolve", 2).asked) == (
        "d5d75477a237f8cf",
        "b62df031b82f026f",
    )
