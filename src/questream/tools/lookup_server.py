"""Ask a running `questream serve` which cluster a question would join."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from questream.errors import QuestreamError

_TIMEOUT_SECONDS = 30.0
_MOST_BYTES = 4 * 1024 * 1024
_MOST_TOKEN_BYTES = 4096


def ask_server(server: str, namespace: str, text: str, token_file: Path | None = None) -> dict[str, Any]:
    """The server's answer to `POST .../assign`. Raises QuestreamError with the server's message where it refuses."""
    if urlsplit(server).scheme not in ("http", "https"):
        raise QuestreamError("the server's address is not one of http or https", "such as http://127.0.0.1:8464")
    url = f"{server.rstrip('/')}/api/v1/namespaces/{quote(namespace, safe='')}/assign"
    headers = {"Content-Type": "application/json", **_login(token_file)}
    request = urllib.request.Request(url, json.dumps({"text": text}).encode(), headers)  # noqa: S310 - http alone
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http alone
            document = json.loads(answer.read(_MOST_BYTES))
    except urllib.error.HTTPError as error:
        raise _refusal(error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise QuestreamError(f"the server did not answer: {type(reason).__name__}", "does it run there?") from None
    if not isinstance(document, dict) or not document.keys() >= {"cluster", "nearest", "truncated", "unknown_share"}:
        raise QuestreamError("the server's answer is not one of questream serve", "check its address")
    return document


def _login(token_file: Path | None) -> dict[str, str]:
    if token_file is None:
        return {}
    try:
        with token_file.open() as file:
            token = file.read(_MOST_TOKEN_BYTES).strip()
    except (OSError, UnicodeDecodeError):
        raise QuestreamError("the file with the token cannot be read") from None
    if not token.isascii() or not token.isprintable():
        raise QuestreamError("the file with the token holds something else")
    return {"Authorization": f"Bearer {token}"}


def _refusal(error: urllib.error.HTTPError) -> QuestreamError:
    try:
        problem = json.loads(error.read(_MOST_BYTES))
        return QuestreamError(f"the server answers {error.code}: {problem['detail']}", problem.get("remedy"))
    except (OSError, ValueError, KeyError, TypeError):
        return QuestreamError(f"the server answers {error.code}")
