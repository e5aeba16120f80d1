"""The classes that a model's files may ask for: those of the libraries that load it, never code of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from questream.errors import ModelError

# Data, which can be large and names no class.
_DATA = frozenset({"tokenizer.json", "vocab.json", "added_tokens.json"})
_TRUSTED = ("sentence_transformers.", "torch.nn.modules.")
_NAMES_A_CLASS = frozenset({"type", "types", "tokenizer_class", "activation_function"})


def require_no_code(folder: Path) -> None:
    """Raise ModelError if a configuration file in `folder` or below names a class from outside of the libraries.

    sentence-transformers imports some of these names whatever `trust_remote_code` says: a Router's submodules and a
    tokenizer's class from anywhere that Python finds them.
    """
    for path in sorted(folder.rglob("*.json")):
        if path.name in _DATA or path.name.endswith(".index.json"):
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            # The code that needs it reports that it is broken.
            continue
        for foreign in _foreign_classes(document):
            raise ModelError(
                f"The model in {folder} needs code of its own ({foreign} in {path.relative_to(folder)}), "
                "which is never run."
            )


def _foreign_classes(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for part in document:
            yield from _foreign_classes(part)
    if not isinstance(document, dict):
        return
    for key, value in document.items():
        if key == "auto_map" and value:
            yield "auto_map"
        elif key in _NAMES_A_CLASS:
            names = value.values() if isinstance(value, dict) else [value]
            # A name without a dot is one of the library's own.
            yield from (name for name in names if isinstance(name, str) and "." in name and not _is_trusted(name))
        yield from _foreign_classes(value)


def _is_trusted(name: str) -> bool:
    return name.startswith(_TRUSTED)
