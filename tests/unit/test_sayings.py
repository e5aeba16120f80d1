"""What people say of a cluster as a whole is declared once, for commands, API, page and language models."""

from __future__ import annotations

from typing import get_args

import pytest

from questream.domain import OperationKind, Ruling
from questream.operations import By, Decisions
from questream.operations.sayings import SAYINGS, Pinning, SayingKind, Standing
from questream.store.reference.store import MemoryStore
from tests.unit.test_cli import COMMANDS

KINDS: tuple[SayingKind, ...] = (*get_args(Pinning), *get_args(Standing))


def test_each_is_declared_and_a_kind_of_operation() -> None:
    assert tuple(SAYINGS) == KINDS
    assert set(KINDS) <= set(get_args(OperationKind))


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_command(kind: SayingKind) -> None:
    assert f"questream clusters {kind}" in COMMANDS


@pytest.mark.parametrize(("one", "other"), [("pin", "unpin"), ("mute", "unmute"), ("resolve", "reopen")])
def test_each_takes_another_back(one: SayingKind, other: SayingKind) -> None:
    said = SAYINGS[one].change(Ruling(), 3)
    assert said != Ruling()
    assert SAYINGS[other].change(said, 3) == Ruling()


def test_an_id_that_an_earlier_release_was_told_is_that_of_the_same_request() -> None:
    decisions = Decisions(MemoryStore(), "shop", By("ann"))
    assert (decisions.say("pin", 1).asked, decisions.say("resolve", 2).asked) == (
        "d5d75477a237f8cf",
        "b62df031b82f026f",
    )
