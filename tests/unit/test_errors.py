from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import questream
from questream import errors
from questream.errors import (
    POLICIES,
    BadRecord,
    Contended,
    ExitCode,
    IdentityMismatch,
    KafkaHungUp,
    LostMemory,
    NamespaceHeld,
    PassedOver,
    Policy,
    QuestreamError,
    Recourse,
    StoreUnavailable,
    policy_of,
    recourse_of,
)

SOURCE = Path(questream.__file__).parent


def kinds(base: type[QuestreamError] = QuestreamError) -> Iterator[type[QuestreamError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def test_the_tree_on_the_first_screen_is_the_tree() -> None:
    page = errors.__doc__ or ""
    named = {name for line in page.splitlines() if "─" in line for name in re.findall(r"[A-Z]\w+", line)}
    own = {kind.__name__ for kind in kinds() if kind.__module__ == "questream.errors"}
    assert named == own - {"QuestreamError"}


def test_every_error_has_a_policy_by_itself_or_by_its_base() -> None:
    for module in pkgutil.walk_packages(questream.__path__, "questream."):
        if "__main__" not in module.name and not module.name.startswith("questream.lab"):
            importlib.import_module(module.name)
    own = [kind for kind in kinds() if kind.__module__.startswith("questream.")]
    assert len(own) > 20
    for kind in own:
        nearest = next(base for base in kind.__mro__ if base in POLICIES)
        # A kind without a line of its own is one of what its base says, not of "everything else".
        assert nearest is not QuestreamError or QuestreamError in kind.__bases__ or kind is QuestreamError, kind


def test_every_policy_is_taken_somewhere() -> None:
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "errors.py")
    taken = {recourse for recourse in Recourse if f"Recourse.{recourse.name}" in code}
    assert ".may_pass" in code
    assert taken | {recourse for recourse in Recourse if recourse.may_pass} | {Recourse.STOP} == set(Recourse)
    assert {policy.recourse for policy in POLICIES.values()} == set(Recourse)


def test_no_line_of_the_table_repeats_that_of_its_base() -> None:
    for kind, policy in POLICIES.items():
        above = next((POLICIES[base] for base in kind.__mro__[1:] if base in POLICIES), None)
        assert policy != above, kind


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (StoreUnavailable("x"), Policy(Recourse.RETRY, ExitCode.UNREACHABLE)),
        (NamespaceHeld("x"), Policy(Recourse.WAIT, ExitCode.UNREACHABLE)),
        (Contended("x"), Policy(Recourse.RETRY, ExitCode.FAILED)),
        (IdentityMismatch("x"), Policy(Recourse.SET_ASIDE, ExitCode.REFUSED)),
        (LostMemory("x"), Policy(Recourse.RESTART, ExitCode.FAILED)),
        (KafkaHungUp("x"), Policy(Recourse.RESTART, ExitCode.REFUSED)),
        (BadRecord("decode", "x", "x"), Policy(Recourse.DEAD_LETTER, ExitCode.FAILED)),
        (PassedOver("decode", "x", "x"), Policy(Recourse.SKIP, ExitCode.FAILED)),
        (ValueError("x"), Policy(Recourse.STOP, ExitCode.FAILED)),
    ],
)
def test_the_narrowest_kind_counts(error: Exception, policy: Policy) -> None:
    assert policy_of(error) == policy
    assert recourse_of(error) is policy.recourse
