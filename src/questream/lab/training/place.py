"""The folder that a training writes to: its checkpoints until it is done, then the model alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.lab.training.corpus import Corpus
from questream.lab.training.recipe import Recipe
from questream.lab.training.report import Order, Watch
from questream.lab.training.sampling import TrainingPairs, draw_pairs

MODEL = "model"
_CHECKPOINTS = "checkpoints"
# Less than the smallest file of a checkpoint that does not fit.
_FULL_BYTES = 16 * 1024 * 1024
_PLAN, _PAIRS = "plan.json", "pairs.npz"


@contextmanager
def reporting_full_disk(folder: Path) -> Iterator[None]:
    """Raises QuestreamError in place of an error that a full disk caused."""
    try:
        yield
    # A disk that is full is an OSError, what safetensors makes of one, or a RuntimeError of torch without a number.
    except (OSError, RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(folder).free > _FULL_BYTES:
            raise
        raise QuestreamError(f"{folder}: no space left", "make room and go on with --resume") from error


def open_checkpoints(order: Order, plan: dict[str, Any]) -> Path:
    """The folder of the checkpoints, with the plan in it; the folder of the order is taken into use."""
    checkpoints = order.folder / _CHECKPOINTS
    begun = checkpoints / _PLAN
    if order.folder.exists() and not order.folder.is_dir():
        raise QuestreamError(f"{order.folder} is a file", "name a folder to write the model to")
    if order.folder.is_dir() and any(order.folder.iterdir()):
        if not order.resume:
            raise QuestreamError(f"{order.folder} is not empty", "name another folder, or go on there with --resume")
        if not begun.is_file():
            raise QuestreamError(f"{order.folder} holds no training to go on with")
        _require_same(json.loads(begun.read_text("utf-8")), plan)
        return checkpoints
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        begun.write_text(json.dumps(plan), "utf-8")
    except OSError as error:
        raise QuestreamError(f"{order.folder} cannot be written: {error.strerror}") from None
    return checkpoints


def plan_of(base: Encoder, corpus: Corpus, order: Order, kind: str) -> dict[str, Any]:
    """The identity of a training: one that is resumed has to have the same."""
    data = hashlib.sha256("\0".join(corpus.texts).encode())
    for array in (corpus.groups, corpus.same, corpus.different):
        data.update(array.tobytes())
    model = {"model": f"{base.name} {base.revision}", "held_out": order.held_out_share}
    return {"kind": kind, **model, "data": data.hexdigest(), **asdict(order.recipe)}


def _require_same(begun: dict[str, Any], asked: dict[str, Any]) -> None:
    other = sorted(name.replace("_", "-") for name in asked if begun.get(name) != asked[name])
    if other:
        raise QuestreamError(f"training began with other {', '.join(other)}", "go on with the same files and options")


def kept_pairs(checkpoints: Path, corpus: Corpus, base: Encoder, recipe: Recipe, watch: Watch) -> TrainingPairs:
    """The pairs that training began with, else drawn now and kept: vectors differ a little from machine to machine."""
    path = checkpoints / _PAIRS
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return TrainingPairs(kept["positives"], kept["labelled"], kept["labels"])
    watch.announce(f"{len(corpus.texts):,} questions through the model, to find what is near and differs")
    pairs = draw_pairs(corpus, base.encode(corpus.texts), recipe)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, positives=pairs.positives, labelled=pairs.labelled, labels=pairs.labels)
    partial.replace(path)
    return pairs


def publish(checkpoints: Path, folder: Path) -> None:
    """Move the model into the folder, what makes it one to its readers last, and remove the checkpoints."""
    parts: Sequence[Path] = sorted((checkpoints / MODEL).iterdir(), key=lambda path: path.name == "modules.json")
    for part in parts:
        if part.suffix == ".safetensors":
            # The library writes weights for their owner's eyes alone; workers may be another user.
            part.chmod((checkpoints / _PLAN).stat().st_mode)
        if (folder / part.name).is_dir():
            # Of an earlier run, killed right here: a folder replaces an empty one alone.
            shutil.rmtree(folder / part.name)
        part.replace(folder / part.name)
    shutil.rmtree(checkpoints)
