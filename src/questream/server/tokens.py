"""The file of bearer tokens: a JSON object a line, with the SHA-256 of a token, its name, and roles by namespace.

`{"name": "anna", "sha256": "9f86...", "grants": {"*": "operator"}}`. A token is 32 random bytes: no guess finds it, so
that a plain hash does what a slow one does for passwords.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from questream.errors import SettingsError

logger = logging.getLogger(__name__)

_MOST_BYTES = 4 * 1024 * 1024
_PREFIX = "qs_"


class Token(BaseModel):
    """A token's login and hash; the token itself is not kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=128)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    grants: dict[str, Literal["viewer", "operator", "admin"]]


class TokenFile:
    """The tokens of a file, which is read again when it has changed. For any thread."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError for a file that is there and cannot be read."""
        self._path = path
        self._guard = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._tokens: dict[str, Token] = {}
        if not path.exists():
            logger.warning("serve.tokens_file does not exist yet: no login is possible", extra={"path": str(path)})
        self._read()

    def find(self, token: str) -> Token | None:
        """The entry of a token, or None. A file that cannot be read now leaves the former entries in force."""
        with self._guard:
            try:
                self._read()
            except SettingsError as error:
                logger.warning("serve.tokens_file cannot be read", extra={"reason": str(error)})
            return self._tokens.get(_digest(token))

    def _read(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._tokens = None, {}
            return
        except OSError as error:
            raise SettingsError(f"serve.tokens_file cannot be read: {error.strerror}") from None
        if self._seen == (found.st_mtime_ns, found.st_size):
            return
        self._tokens = {token.sha256: token for token in read_tokens(self._path)}
        self._seen = (found.st_mtime_ns, found.st_size)


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file. Raises SettingsError, which names the line and shows nothing of it."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"serve.tokens_file cannot be read: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"serve.tokens_file is longer than {_MOST_BYTES} bytes")
    tokens = []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                tokens.append(Token.model_validate(orjson.loads(line)))
            except (orjson.JSONDecodeError, ValidationError):
                raise SettingsError(
                    f"line {number} of serve.tokens_file is no token", "questream serve-token writes them"
                ) from None
    return tokens


def make_token(path: Path, name: str, grants: dict[str, str]) -> str:
    """Add a token to the file, which nobody but its owner may read, and return it: it is kept nowhere.

    Raises SettingsError if the name is taken or the file cannot be written.
    """
    if path.exists() and any(token.name == name for token in read_tokens(path)):
        raise SettingsError(
            f"serve.tokens_file has a token of the name {name!r} already", "take its line out, or give another name"
        )
    token = _PREFIX + secrets.token_urlsafe(32)
    try:
        entry = Token.model_validate({"name": name, "sha256": _digest(token), "grants": grants})
    except ValidationError:
        raise SettingsError("a token needs a name of 1 to 128 characters and roles: viewer, operator, admin") from None
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab+") as file:
            file.write(orjson.dumps(entry.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise SettingsError(f"serve.tokens_file cannot be written: {error.strerror}") from None
    return token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
