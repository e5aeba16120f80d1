"""Results of sentence-transformers for a model's probe, kept between starts: a later one need not import it.

A kept probe is trusted as far as it goes: a forward pass is held to it at each start, and one that differs has the
library asked again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from questream.domain import Matrix
from questream.encoder.digests import file_digest

logger = logging.getLogger(__name__)

FORMAT = 1
MOST_KEPT = 32

# The versions and settings that the library's vectors depend on, and the texts that they are of.
_PACKAGES = ("questream", "sentence-transformers", "transformers", "tokenizers", "safetensors", "torch")
_PARTS = frozenset({".json", ".txt", ".model", ".safetensors"})


@dataclass(frozen=True, slots=True, eq=False)
class KeptProbe:
    """The library's unit vectors (n, d) of the probe's texts, and the limit of tokens that they were made with."""

    max_tokens: int
    expected: Matrix


class KeptProbes:
    """Probes in `folder`, a small file each; of more than `MOST_KEPT` the oldest go.

    A folder that cannot be written, or a file that cannot be read, costs the time that it would have saved, no more.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> KeptProbe | None:
        """The probe that was kept under this key, or None."""
        try:
            return _read(json.loads(self._path(key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            logger.debug("the kept probe %s cannot be read (%s)", key, type(error).__name__)
            return None

    def keep(self, key: str, probe: KeptProbe) -> None:
        """Keep it under this key, in the place of an older one."""
        document = {"format": FORMAT, "max_tokens": probe.max_tokens, "expected": probe.expected.tolist()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Workers that start side by side see a whole file or none.
            with tempfile.TemporaryDirectory(dir=self._folder) as beside:
                whole = Path(beside) / "probe"
                whole.write_text(json.dumps(document), encoding="utf-8")
                whole.replace(self._path(key))
            self._drop_oldest()
        except OSError as error:
            logger.debug("the probe is not kept in %s (%s)", self._folder, error.strerror)

    def _drop_oldest(self) -> None:
        files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[MOST_KEPT:]:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _read(document: dict[str, Any]) -> KeptProbe:
    expected = np.array(document["expected"], dtype=np.float32)
    if document["format"] != FORMAT or expected.ndim != 2:
        raise ValueError
    return KeptProbe(int(document["max_tokens"]), expected)


def default_folder() -> Path:
    """The folder in which the hub's own client has other libraries keep what they make of its models (`HF_HOME`)."""
    from huggingface_hub.constants import HF_ASSETS_CACHE

    return Path(HF_ASSETS_CACHE) / "questream" / "probes"


def key_of(folder: Path, asked_tokens: int | None) -> str:
    """A digest that identifies this model at this limit of tokens, run by these versions."""
    digest = hashlib.sha256(json.dumps([asked_tokens, [version(name) for name in _PACKAGES]]).encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix in _PARTS and path.is_file():
            digest.update(f"{path.relative_to(folder)}:{file_digest(path)}\n".encode())
    return digest.hexdigest()[:32]
