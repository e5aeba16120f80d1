"""The findings of checks, and the inputs of a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from questream.broker.port import Admin
from questream.errors import QuestreamError
from questream.settings import Settings

Status = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; `remedy` says what to do where the status is not ok."""

    check: str
    status: Status
    told: str
    remedy: str | None = None


def failures(check: str, error: QuestreamError, remedy: str | None = None) -> Iterator[Finding]:
    """A finding for each problem of the error; `remedy` is for a problem that has none."""
    return (Finding(check, "fail", problem.what, problem.remedy or remedy) for problem in error.problems)


class FoundModel(NamedTuple):
    """The model as its files describe it; `family` is the transformer's model_type."""

    name: str
    revision: str
    dimension: int
    family: str


@dataclass(slots=True)
class CheckContext:
    """The inputs of the checks. The clients are set once the checks that open them have passed."""

    settings: Settings
    admin: Admin | None = None
    redis: Any = None
    model: FoundModel | None = None
    opened: ExitStack = field(default_factory=ExitStack)

    @property
    def kafka(self) -> Admin:
        """The admin client that the check of the broker opened."""
        assert self.admin is not None  # noqa: S101 - checks that need the broker run only after it was found
        return self.admin


class Check(NamedTuple):
    """A function that yields findings; it runs after the checks in `needs` have passed, for so long at most."""

    name: str
    run: Callable[[CheckContext], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    limit_seconds: float = 15.0
