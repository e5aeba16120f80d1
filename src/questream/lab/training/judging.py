"""A judge of close calls, trained: a cross-encoder on pairs of the same question and of near ones that differ."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from questream.encoder import Encoder, load_encoder, load_judge
from questream.encoder.device import choose_device
from questream.errors import QuestreamError
from questream.lab.training.comparing import Change, compare_scores
from questream.lab.training.corpus import Corpus
from questream.lab.training.fitting import Checkpoints, Reporter, arguments_of, require_room, step_of
from questream.lab.training.place import MODEL, kept_pairs, open_checkpoints, plan_of, publish, reporting_full_disk
from questream.lab.training.recipe import scaled_warm_up
from questream.lab.training.report import Order, Watch
from questream.lab.training.sampling import TrainingPairs, draw_pairs
from questream.lab.training.split import bounded, split
from questream.settings import JudgeSettings, Settings

_FEWEST_DIFFERENT = 2


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """The result of a judge's training: its pairs, and the figures on held-out ones.

    `taken_for_same` are the shares of the held-out pairs of the same and of different questions that the judge takes
    for the same, at `min_probability`.
    """

    folder: str
    base: str
    base_revision: str
    steps: int
    resumed_at: int
    trained_on_same: int
    trained_on_different: int
    held_out_same: int
    held_out_different: int
    precision: Change
    min_probability: float
    taken_for_same: tuple[float, float]


def train_judge(settings: Settings, corpus: Corpus, order: Order, watch: Watch) -> JudgeReport:
    """Train a cross-encoder from the weights of the model that the settings name, and write it to the order's folder.

    It learns from pairs of the same question, from pairs that somebody labelled as different, and from near questions
    of other groups, which are what a worker asks a judge about. Raises QuestreamError where there is too little data or
    the folder is in use, ModelError where the model cannot be had.
    """
    halves = split(corpus, order.held_out_share, order.recipe.seed)
    compared = bounded(halves.held_out, order.compared_questions, order.recipe.seed)
    watch.announce("the model before training")
    base = load_encoder(settings.model)
    checkpoints = open_checkpoints(order, plan_of(base, corpus, order, "judge"))
    pairs = kept_pairs(checkpoints, halves.train, base, order.recipe, watch)
    held_out, cosines = _held_out(compared, base, order)
    source, name, revision = base.folder, base.name, base.revision
    del base
    for one in (pairs, held_out):
        if int((one.labels == 0).sum()) < _FEWEST_DIFFERENT:
            raise QuestreamError(
                "there are too few pairs of different questions to train a judge",
                "give --pairs with label 0, or more groups and --hard-negatives",
            )
    steps, resumed_at = _fit(settings, source, halves.train, pairs, checkpoints, order, watch)
    watch.announce("the judge on the held-out part")
    judge = load_judge(
        JudgeSettings(model=str(checkpoints / MODEL), min_probability=settings.judge.min_probability),
        settings.model.device,
    )
    asked = [(compared.texts[one], compared.texts[other]) for one, other in held_out.labelled.tolist()]
    probabilities = np.array(judge.probabilities(asked) if judge else [])
    same = held_out.labels == 1
    taken = probabilities >= settings.judge.min_probability
    report = JudgeReport(
        str(order.folder),
        name,
        revision,
        steps,
        resumed_at,
        int(pairs.labels.sum()),
        int((pairs.labels == 0).sum()),
        int(same.sum()),
        int((~same).sum()),
        compare_scores(
            "average precision of near pairs", same, cosines, probabilities, np.random.default_rng(order.recipe.seed)
        ),
        settings.judge.min_probability,
        (float(taken[same].mean()), float(taken[~same].mean())),
    )
    publish(checkpoints, order.folder)
    return report


def _held_out(compared: Corpus, base: Encoder, order: Order) -> tuple[TrainingPairs, Any]:
    """Pairs of held-out questions, drawn as those that are trained on, and the cosine of each by the base model."""
    vectors = base.encode(compared.texts)
    pairs = draw_pairs(compared, vectors, order.recipe)
    return pairs, np.einsum("ij,ij->i", vectors[pairs.labelled[:, 0]], vectors[pairs.labelled[:, 1]])


def _fit(
    settings: Settings,
    source: Path,
    corpus: Corpus,
    pairs: TrainingPairs,
    checkpoints: Path,
    order: Order,
    watch: Watch,
) -> tuple[int, int]:
    """Train, and leave the judge in the folder of the checkpoints: steps in all, and the one it went on from."""
    recipe, device = order.recipe, choose_device(settings.model.device)
    torch.manual_seed(recipe.seed)  # the head begins as chance has it
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    verbosity = transformers_logging.get_verbosity()
    # It would log at length that the head is new.
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # as above
    library = CrossEncoder(str(source), num_labels=1, device=str(device), local_files_only=True)
    transformers_logging.set_verbosity(verbosity)
    library.max_seq_length = min(2 * recipe.max_tokens, library.max_seq_length or 2 * recipe.max_tokens)
    place = Checkpoints(checkpoints, order.save_every)
    require_room(library, checkpoints)
    arguments = arguments_of(CrossEncoderTrainingArguments, recipe, place, device, "float32")
    arguments.eval_strategy = "no"
    trainer = _Trainer(
        model=library,
        args=arguments,
        train_dataset=_dataset(corpus, pairs),
        loss=BinaryCrossEntropyLoss(library),
        callbacks=[Reporter(watch)],
    )
    trainer.remove_callback(PrinterCallback)
    arguments.warmup_steps = scaled_warm_up(recipe, len(trainer.get_train_dataloader()) * recipe.epochs)
    found = place.newest()
    with reporting_full_disk(checkpoints):
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        shutil.rmtree(checkpoints / MODEL, ignore_errors=True)
        library.save_pretrained(str(checkpoints / MODEL), create_model_card=False)
    return trainer.state.global_step, step_of(found) if found else 0


def _dataset(corpus: Corpus, pairs: TrainingPairs) -> Dataset:
    return Dataset.from_dict(
        {
            "text_a": [corpus.texts[i] for i in pairs.labelled[:, 0]],
            "text_b": [corpus.texts[i] for i in pairs.labelled[:, 1]],
            "label": pairs.labels.astype(np.float64).tolist(),
        }
    )


class _Trainer(CrossEncoderTrainer):  # type: ignore[misc]  # untyped in sentence-transformers
    """The library's trainer without its model card, which would quote the questions."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        pass

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002 - the base's signature
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)
