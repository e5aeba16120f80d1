"""From data and settings to a trained model in a folder, compared with the one before, with its card."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sentence_transformers.base.evaluation import BaseEvaluator

from questream.deciding.config import rules_of
from questream.encoder import load_encoder
from questream.encoder.device import choose_device, choose_dtype
from questream.encoder.library import open_library
from questream.lab.training.card import write_card
from questream.lab.training.comparing import Subject, compare
from questream.lab.training.corpus import Corpus
from questream.lab.training.evaluators import held_out_evaluators
from questream.lab.training.fitting import Checkpoints, fit
from questream.lab.training.place import MODEL, kept_pairs, open_checkpoints, plan_of, publish, reporting_full_disk
from questream.lab.training.report import Fitted, Order, Report, Sizes, Watch
from questream.lab.training.sampling import TrainingPairs
from questream.lab.training.split import bounded, split
from questream.settings import Settings


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
    checkpoints = open_checkpoints(order, plan_of(base, corpus, order, "embedding"))
    before = Subject(base.encode(compared.texts), rules_of(settings, base))
    pairs = kept_pairs(checkpoints, halves.train, base, order.recipe, watch)
    source, name, revision = base.folder, base.name, base.revision
    del base
    evaluators = held_out_evaluators(compared, before.rules)
    fitted = _fit(settings, source, halves.train, pairs, evaluators, checkpoints, order, watch)
    watch.announce("the model after training")
    trained = load_encoder(settings.model.model_copy(update={"name": str(checkpoints / MODEL), "revision": None}))
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
    write_card(checkpoints / MODEL, source, report)
    publish(checkpoints, order.folder)
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
    with reporting_full_disk(checkpoints):
        fitted = fit(library, corpus, pairs, order.recipe, evaluators, place, device, dtype, watch)
        shutil.rmtree(checkpoints / MODEL, ignore_errors=True)
        library.save_pretrained(str(checkpoints / MODEL), create_model_card=False)
    return fitted


def _count(corpus: Corpus) -> int:
    return int(corpus.groups.max()) + 1
