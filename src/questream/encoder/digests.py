"""Digests of a model's files: its weights identify it, and all of them the probe that is kept of it."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

# A model has a dozen files.
_MOST_FILES = 128


def file_digest(path: Path) -> str:
    """SHA-256 of the file's content, in hex; read once in a process while it is the same file, of the same time.

    Raises OSError.
    """
    found = path.stat()
    return _digest_of(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=_MOST_FILES)
def _digest_of(path: Path, *_which: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
