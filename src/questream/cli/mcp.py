"""`questream mcp`: the reads of the API, and its operations where they are allowed, as tools of a language model."""

from __future__ import annotations

import getpass
import os
import signal
from importlib.util import find_spec
from typing import Annotated

import typer

from questream.cli.options import ConfigOption, SetOption, load_with_logs
from questream.cli.serve import RoleName
from questream.errors import ExitCode, MissingExtra, SettingsError


def mcp(
    role: Annotated[RoleName, typer.Option(help="What the model may do.")] = "viewer",
    namespace: Annotated[
        list[str] | None, typer.Option(help="A namespace that it may see; may be repeated. Default: all.")
    ] = None,
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="Offer operations too; needs the role operator.")
    ] = False,
    actor: Annotated[
        str | None, typer.Option(help="Actor in the history; default: the user of this machine, by MCP.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Offer the clusters as tools to a language model, by the Model Context Protocol on stdin and stdout.

    Example: questream mcp --role operator --allow-writes --namespace shop
    """
    if find_spec("fastapi") is None or find_spec("mcp") is None:
        raise MissingExtra("questream mcp", "fastapi and mcp", "mcp")
    if allow_writes and role == "viewer":
        raise SettingsError("--allow-writes is set, and a viewer may change nothing", "give it --role operator")
    from questream.server.access import Login, Role
    from questream.server.mcp.starting import serve_reads, serve_reads_and_writes

    # The thread that reads stdin ends with its next line alone, and the server waits for it. Nothing else is in hand.
    signal.signal(signal.SIGINT, lambda *_: os._exit(ExitCode.INTERRUPTED))
    settings = load_with_logs(config, set_)
    name = f"{getpass.getuser()} by MCP" if actor is None else actor
    grants = dict.fromkeys(namespace or ["*"], Role.parse(role))
    login = Login(name, grants, settings.serve.viewers_read_texts)
    (serve_reads_and_writes if allow_writes else serve_reads)(settings, login)
