"""A server over a stream, for the program of a language model that started it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from questream.server.access import Access, Login
from questream.server.mcp.reads import Reads
from questream.server.mcp.toolset import Caller, Toolset, build_server
from questream.server.mcp.writes import Writes
from questream.server.starting import open_services
from questream.settings import ServeSettings, Settings


def serve_reads(settings: Settings, login: Login) -> None:
    """Answer on stdin and stdout until stdin ends; nothing can be changed."""
    _serve(settings, login, [Reads])


def serve_reads_and_writes(settings: Settings, login: Login) -> None:
    """As `serve_reads`, with the operations."""
    _serve(settings, login, [Reads, Writes])


def _serve(settings: Settings, login: Login, kinds: Sequence[Callable[[Caller], Toolset]]) -> None:
    # Nothing listens: where people log in to the page is of no matter here.
    services, running = open_services(settings, Access(ServeSettings()))
    caller = Caller(services, login)
    server = build_server(*(kind(caller) for kind in kinds))
    with running():
        server.run("stdio")
