"""A trained model's card, from its training as it was done. It has the amount of data, and quotes none."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from questream.lab.training.report import Report

_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)


def write_card(folder: Path, base: Path, report: Report) -> None:
    """Write README.md into a model's folder; the licence is what the card in the folder of the `base` model names."""
    from jinja2 import Environment, StrictUndefined

    source = (files("questream.lab.training") / "model_card.md.jinja").read_text("utf-8")
    # Not HTML: it has numbers, and names of models and of the folder.
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(source)  # noqa: S701
    card = template.render(report=report, name=Path(report.folder).name, licence=licence_of(base))
    (folder / "README.md").write_text(card + "\n", "utf-8")


def licence_of(folder: Path) -> str | None:
    """The licence that the front matter of a model's card names, or None."""
    try:
        card = (folder / "README.md").read_text("utf-8", "replace")
    except OSError:
        return None
    _, opened, rest = card.partition("---\n")
    found = _LICENCE.search(rest.partition("\n---")[0]) if opened else None
    return found[1] if found else None
