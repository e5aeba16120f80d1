"""The options that every command takes which changes what people decided, and what they ask for."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from questream.cli.clusters import NamespaceOption
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.signatures import as_called, parameters_of

if TYPE_CHECKING:
    from questream.operations import By
    from questream.settings import Settings

Own = ParamSpec("Own")


@dataclass(frozen=True, slots=True)
class Change:
    """The options of every command that changes clusters.

    A dry run is tried on `looked_at` of the last decisions, where the command prints that; `yes`: ask nothing.
    """

    settings: Settings
    namespace: str | None
    actor: str | None
    reason: str
    id: str | None
    dry_run: bool
    yes: bool
    as_json: bool
    looked_at: int | None = None

    @property
    def by(self) -> By:
        """The actor of the operation, by default the user of this machine."""
        from questream.operations import By

        return By(self.actor if self.actor is not None else getpass.getuser(), self.reason, self.id or "")


def _options(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    actor: Annotated[
        str | None, typer.Option(help="Actor of the operation; default: the user of this machine.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, kept in the history.")] = "",
    id_: Annotated[
        str | None, typer.Option("--id", help="Idempotency key: a repeated call returns the result of the first one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    looked_at: Annotated[
        int, typer.Option("--questions", min=0, help="With --dry-run: how many of the last decisions to test it on.")
    ] = 10_000,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Only its parameters are used: they are the options of every change."""


_OPTIONS = parameters_of(_options)


def change_command(
    app: typer.Typer, name: str, *, previews: bool = False, **texts: Any
) -> Callable[[Callable[Concatenate[Change, Own], None]], Callable[Concatenate[Change, Own], None]]:
    """Add a function as a command, as `with_options` does; returns the function unchanged."""

    def add(decide: Callable[Concatenate[Change, Own], None]) -> Callable[Concatenate[Change, Own], None]:
        app.command(name, **texts)(with_options(decide, previews=previews))
        return decide

    return add


def with_options(decide: Callable[Concatenate[Change, ...], None], *, previews: bool = False) -> Callable[..., None]:
    """A command with the parameters of `decide`, after its `Change`, and the options that make one.

    A parameter of the function's own takes the place of the option of its name. `previews`: a dry run is tried on the
    last decisions.
    """
    _, *own = parameters_of(decide)
    names = {parameter.name for parameter in own}
    shared = [option for option in _OPTIONS if option.name not in names]
    if not previews:
        shared = [option for option in shared if option.name != "looked_at"]

    def command(config: Path | None, set_: list[str] | None, **given: Any) -> None:
        change = Change(
            settings=load(config, set_),
            namespace=given["namespace"],
            actor=given["actor"],
            reason=given["reason"],
            id=given["id_"],
            dry_run=given["dry_run"],
            yes=given["yes"],
            as_json=given["as_json"],
            looked_at=given["looked_at"] if previews else None,
        )
        decide(change, **{name: given[name] for name in names})

    return as_called(command, decide, [*own, *shared])
