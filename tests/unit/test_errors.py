from __future__ import annotations

import ast
import importlib
import pickle
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
    Problem,
    QuestreamError,
    Recourse,
    SettingsError,
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


def test_an_error_reads_as_its_problems_each_with_its_remedy() -> None:
    assert str(KafkaHungUp("the broker closed the connection")) == "the broker closed the connection"
    refused = KafkaHungUp("the broker closed the connection", "check kafka.options")
    assert str(refused) == "the broker closed the connection; check kafka.options"
    assert refused.problems == (Problem("the broker closed the connection", "check kafka.options"),)
    wrong = SettingsError.of_each([Problem("log.level is 'loud'", "allowed: one of info, debug"), Problem("a table")])
    assert str(wrong) == "log.level is 'loud'; allowed: one of info, debug\na table"
    copied = pickle.loads(pickle.dumps(refused))
    assert copied.problems == refused.problems


def test_a_remedy_is_a_field_and_no_part_of_what_is_wrong() -> None:
    names = {kind.__name__ for kind in kinds()}
    for path in SOURCE.rglob("*.py"):
        source = path.read_text()
        assert 'partition("; ")' not in source, path
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names and call.args:
                pieces = [piece.value for piece in ast.walk(call.args[0]) if isinstance(piece, ast.Constant)]
                assert not any(isinstance(piece, str) and "; " in piece for piece in pieces), (path, call.lineno)
