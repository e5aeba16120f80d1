"""From data and settings to a trained model in a folder, compared with the one before, with its card."""

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
from sentence_transformers.base.evaluation import BaseEvaluator

from questream.deciding.config import rules_of
from questream.encoder import Encoder, load_encoder
from questream.encoder.device import choose_device, choose_dtype
from questream.encoder.library import open_library
from questream.errors import QuestreamError
from questream.lab.training.card import write_card
from questream.lab.training.comparing import Subject, compare
from questream.lab.training.corpus import Corpus
from questream.lab.training.evaluators import held_out_evaluators
from questream.lab.training.fitting import Checkpoints, fit
from questream.lab.training.recipe import Recipe
from questream.lab.training.report import Fitted, Order, Report, Sizes, Watch
from questream.lab.training.sampling import TrainingPairs, draw_pairs
from questream.lab.training.split import bounded, split
from questream.settings import Settings

_CHECKPOINTS = "checkpoints"
# Less than the smallest file of a checkpoint that does not fit.
_FULL_BYTES = 16 * 1024 * 1024
_PLAN, _PAIRS, _MODEL = "plan.json", "pairs.npz", "model"


def train(settings: Settings, corpus: Corpus, order: Order, watch: Watch) -> Report:
    """Train the model that the settings name on a corpus, and write it with its card to the folder of the order.

    Until it is done the folder holds `checkpoints` alone, from which the same order with `resume` goes on.
    Raises QuestreamError where there is too little data or the folder is in use, ModelError where the model cannot be
    had.
    """
    halves = split(corpus, order.held_out_share, order.recipe.seed)
    compared = bounded(halves.held_out, order.compared_questions, order.recipe.seed)
    watch.announce("the model before training")
    base = load_encoder(settings.model)
    checkpoints = _checkpoints(order, _plan(base, corpus, order))
    before = Subject(base.encode(compared.texts), rules_of(settings, base))
    pairs = _pairs(checkpoints, halves.train, base, order.recipe, watch)
    source, name, revision = base.folder, base.name, base.revision
    del base
    evaluators = held_out_evaluators(compared, before.rules)
    fitted = _fit(settings, source, halves.train, pairs, evaluators, checkpoints, order, watch)
    watch.announce("the model after training")
    trained = load_encoder(settings.model.model_copy(update={"name": str(checkpoints / _MODEL), "revision": None}))
    watch.announce("both on what was held out")
    after = Subject(trained.encode(compared.texts), rules_of(settings, trained))
    report = Report(
        str(order.folder),
        name,
        revision,
        order.recipe,
        Sizes(
            len(halves.train.texts),
            _count(halves.train),
            len(pairs.positives),
            int((pairs.labels == 0).sum()),
        ),
        Sizes(len(compared.texts), _count(compared), len(compared.same), len(compared.different)),
        halves.left_out,
        fitted,
        compare(compared, before, after, order.recipe.seed),
    )
    write_card(checkpoints / _MODEL, source, report)
    _publish(checkpoints, order.folder)
    return report


def _fit(
    settings: Settings,
    source: Path,
    corpus: Corpus,
    pairs: TrainingPairs,
    evaluators: Sequence[BaseEvaluator],
    checkpoints: Path,
    order: Order,
    watch: Watch,
) -> Fitted:
    """Train, and leave the model in the folder of the checkpoints."""
    library = open_library(source)
    place = Checkpoints(checkpoints, order.save_every)
    device = choose_device(settings.model.device)
    dtype = "float32" if device.type == "cpu" else str(choose_dtype(settings.model.dtype, device, "")).split(".")[-1]
    with _full_disk_is_told(checkpoints):
        fitted = fit(library, corpus, pairs, order.recipe, evaluators, place, device, dtype, watch)
        shutil.rmtree(checkpoints / _MODEL, ignore_errors=True)
        library.save_pretrained(str(checkpoints / _MODEL), create_model_card=False)
    return fitted


@contextmanager
def _full_disk_is_told(folder: Path) -> Iterator[None]:
    try:
        yield
    # A disk that is full is an OSError, what safetensors makes of one, or a RuntimeError of torch without a number.
    except (OSError, RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(folder).free > _FULL_BYTES:
            raise
        raise QuestreamError(f"{folder}: no space left", "make room and go on with --resume") from error


def _checkpoints(order: Order, plan: dict[str, Any]) -> Path:
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


def _plan(base: Encoder, corpus: Corpus, order: Order) -> dict[str, Any]:
    data = hashlib.sha256("\0".join(corpus.texts).encode())
    for array in (corpus.groups, corpus.same, corpus.different):
        data.update(array.tobytes())
    model = {"model": f"{base.name} {base.revision}", "held_out": order.held_out_share}
    return {**model, "data": data.hexdigest(), **asdict(order.recipe)}


def _require_same(begun: dict[str, Any], asked: dict[str, Any]) -> None:
    other = sorted(name.replace("_", "-") for name in asked if begun.get(name) != asked[name])
    if other:
        raise QuestreamError(f"training began with other {', '.join(other)}", "go on with the same files and options")


def _pairs(checkpoints: Path, corpus: Corpus, base: Encoder, recipe: Recipe, watch: Watch) -> TrainingPairs:
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


def _publish(checkpoints: Path, folder: Path) -> None:
    """Move the model into the folder, what makes it one to its readers last, and remove the checkpoints."""
    parts: Sequence[Path] = sorted((checkpoints / _MODEL).iterdir(), key=lambda path: path.name == "modules.json")
    for part in parts:
        if part.suffix == ".safetensors":
            # The library writes weights for their owner's eyes alone; workers may be another user.
            part.chmod((checkpoints / _PLAN).stat().st_mode)
        if (folder / part.name).is_dir():
            # Of an earlier run, killed right here: a folder replaces an empty one alone.
            shutil.rmtree(folder / part.name)
        part.replace(folder / part.name)
    shutil.rmtree(checkpoints)


def _count(corpus: Corpus) -> int:
    return int(corpus.groups.max()) + 1
