"""`questream serve`: the page and the HTTP API; `questream serve-token`: who may use them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal

import typer

from questream.cli.options import ConfigOption, SetOption, load, load_with_logs
from questream.cli.output import print_line, remark
from questream.errors import MissingExtra, SettingsError

RoleName = Literal["viewer", "operator", "admin"]


def serve(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Serve the page and the HTTP API, beside the workers, until SIGTERM or Ctrl-C.

    Example: questream serve --serve.port 8464
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise MissingExtra("questream serve", "fastapi and uvicorn", "serve")
    from questream.server.starting import serve as serve_page

    serve_page(load_with_logs(config, set_))


def serve_token(
    name: Annotated[str, typer.Argument(help="Owner of the token, the actor of operations.")],
    role: Annotated[RoleName, typer.Option(help="What it allows.")] = "viewer",
    namespace: Annotated[
        list[str] | None, typer.Option(help="A namespace that it is for; may be repeated. Default: all.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Create a token for the page and the API, add its hash to serve.tokens_file, and print the token once.

    Example: questream serve-token anna --role operator --serve.tokens_file tokens.jsonl
    """
    from questream.server.tokens import make_token

    path = load(config, set_).serve.tokens_file
    if path is None:
        raise SettingsError("serve.tokens_file is not set", "name the file that the server reads")
    print_line(make_token(path, name, dict.fromkeys(namespace or ["*"], role)))
    remark(f"{path} holds its hash; a server that runs takes it at once")
