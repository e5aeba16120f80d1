"""The training itself, by the trainer of sentence-transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetBatchSamplers, NoDuplicatesBatchSampler
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
    OnlineContrastiveLoss,
)
from torch.utils.data import RandomSampler
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging as transformers_logging

from questream.errors import QuestreamError
from questream.lab.evaluation.agreement import Labels
from questream.lab.training.corpus import Corpus
from questream.lab.training.recipe import Recipe, scaled_warm_up
from questream.lab.training.report import Fitted, Watch
from questream.lab.training.sampling import TrainingPairs

_Arguments = TypeVar("_Arguments", bound=TrainingArguments)

RANKING, CONTRASTIVE = "ranking", "contrastive"

_CHECKPOINTS_KEPT = 2
_LOGGED_STEPS = 10
# Weights, and the two moments that AdamW keeps of each.
_FLOATS_PER_WEIGHT = 3
# The file that the trainer writes last: a checkpoint without it was cut off.
_LAST_WRITTEN = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The folder of checkpoints, and the steps between them."""

    folder: Path
    every: int

    def newest(self) -> Path | None:
        """The newest that was written to its end."""
        whole = [path for path in self.folder.glob("checkpoint-*") if (path / _LAST_WRITTEN).is_file()]
        return max(whole, key=step_of, default=None)


def fit(
    model: SentenceTransformer,
    corpus: Corpus,
    pairs: TrainingPairs,
    recipe: Recipe,
    evaluators: Sequence[BaseEvaluator],
    checkpoints: Checkpoints,
    device: torch.device,
    dtype: str,
    watch: Watch,
) -> Fitted:
    """Train `model` in place on pairs of the corpus; the evaluators run one after the other when an epoch ends.

    Weights stay float32; the passes through the model are in `dtype`, float32 or bfloat16.
    Goes on from the newest checkpoint, if there is one, as if it had never stopped.
    Raises QuestreamError where the disk has no room.
    """
    datasets = _datasets(corpus.texts, pairs)
    batches = _batches(pairs, corpus.groups, recipe)
    require_room(model, checkpoints.folder)
    arguments = arguments_of(SentenceTransformerTrainingArguments, recipe, checkpoints, device, dtype)
    losses = _losses(model, recipe, list(datasets))
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=datasets,
        loss=losses,
        evaluator=list(evaluators),
        callbacks=[Reporter(watch)],
        batches=batches,
        groups_of_pairs=corpus.groups[pairs.positives[:, 0]],
    )
    trainer.remove_callback(PrinterCallback)
    steps = len(trainer.get_train_dataloader()) * recipe.epochs
    arguments.warmup_steps = scaled_warm_up(recipe, steps)
    found = checkpoints.newest()
    # The library's own bar, for each checkpoint, would run through ours.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped in transformers
    limit = model.max_seq_length
    model.max_seq_length = min(recipe.max_tokens, limit or recipe.max_tokens)
    try:
        trainer.train(resume_from_checkpoint=str(found) if found else None)
    finally:
        # It is saved with the model, which shall read as much of a text as before.
        model.max_seq_length = limit
    return Fitted(
        steps=trainer.state.global_step,
        warm_up_steps=int(arguments.warmup_steps),
        resumed_at=step_of(found) if found else 0,
        batches={name: batches[name] for name in datasets},
        losses={name: type(loss).__name__ for name, loss in losses.items()},
        dtype=dtype,
    )


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def _datasets(texts: Sequence[str], pairs: TrainingPairs) -> DatasetDict:
    def column(of: np.ndarray[Any, Any]) -> list[str]:
        return [texts[i] for i in of]

    made = {
        RANKING: Dataset.from_dict({"anchor": column(pairs.positives[:, 0]), "positive": column(pairs.positives[:, 1])})
    }
    if len(pairs.labelled):
        made[CONTRASTIVE] = Dataset.from_dict(
            {
                "text_a": column(pairs.labelled[:, 0]),
                "text_b": column(pairs.labelled[:, 1]),
                "label": pairs.labels.tolist(),
            }
        )
    return DatasetDict(made)


def _batches(pairs: TrainingPairs, groups: Labels, recipe: Recipe) -> dict[str, int]:
    """Pairs of a batch by loss.

    The ranking loss takes the other pairs of a batch as examples of what differs: one pair of each group at most. The
    gradient cache is of that loss alone, so that the other's batch is what the device takes at once.
    """
    different_groups = len(np.unique(groups[pairs.positives[:, 0]]))
    return {RANKING: min(recipe.batch, different_groups), CONTRASTIVE: recipe.mini_batch or recipe.batch}


def _losses(model: SentenceTransformer, recipe: Recipe, names: Sequence[str]) -> dict[str, torch.nn.Module]:
    ranking = (
        MultipleNegativesRankingLoss(model, scale=recipe.scale)
        if recipe.mini_batch is None
        else CachedMultipleNegativesRankingLoss(model, scale=recipe.scale, mini_batch_size=recipe.mini_batch)
    )
    losses = {RANKING: ranking, CONTRASTIVE: OnlineContrastiveLoss(model)}
    return {name: losses[name] for name in names}


def arguments_of(
    kind: Callable[..., _Arguments], recipe: Recipe, checkpoints: Checkpoints, device: torch.device, dtype: str
) -> _Arguments:
    """The arguments of the library's trainer, of this kind."""
    return kind(
        output_dir=str(checkpoints.folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch",
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.ROUND_ROBIN,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=dtype == "bfloat16",
        use_cpu=device.type == "cpu",
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=checkpoints.every,
        save_total_limit=_CHECKPOINTS_KEPT,
        logging_strategy="steps",
        logging_steps=_LOGGED_STEPS,
        disable_tqdm=True,
        # No service gets a report, and nothing is sent to the hub.
        report_to="none",
        push_to_hub=False,
        dataloader_pin_memory=device.type == "cuda",
    )


class _Trainer(SentenceTransformerTrainer):  # type: ignore[misc]  # untyped in sentence-transformers
    """The library's trainer without its model card, which would quote the questions, and with batches of our own."""

    def __init__(self, *, batches: dict[str, int], groups_of_pairs: Labels, **arguments: Any) -> None:
        self._batches = batches
        self._groups_of_pairs = groups_of_pairs
        super().__init__(**arguments)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        pass

    def get_batch_sampler(self, dataset: Dataset, **options: Any) -> DefaultBatchSampler:
        if "label" in dataset.column_names:
            options["batch_size"] = self._batches[CONTRASTIVE]
            return DefaultBatchSampler(RandomSampler(dataset, generator=options["generator"]), **options)
        options["batch_size"] = self._batches[RANKING]
        # The library keeps a text from being twice in a batch; given groups alone, it keeps two pairs of one
        # group apart, whose texts would be each other's negatives.
        return NoDuplicatesBatchSampler(Dataset.from_dict({"group": self._groups_of_pairs.tolist()}), **options)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002 - the base's signature
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)


class Reporter(TrainerCallback):
    """Reports steps, losses and evaluations to the watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002 - the base's signature
        self._watch.step(state.global_step, state.max_steps)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:  # noqa: ARG002 - the base's signature
        if "loss" in event["logs"]:
            self._watch.loss(float(event["logs"]["loss"]))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:  # noqa: ARG002 - the base's signature
        figures = {name.removeprefix("eval_"): float(value) for name, value in event["metrics"].items()}
        self._watch.evaluated(float(state.epoch or 0), figures)


def require_room(model: torch.nn.Module, folder: Path) -> None:
    """Raise QuestreamError where the folder's disk has no room for the checkpoints of the model and itself."""
    weights = sum(parameter.numel() for parameter in model.parameters()) * 4
    # One checkpoint more than are kept exists while it is written; the model itself comes last.
    needed = weights * (_FLOATS_PER_WEIGHT * (_CHECKPOINTS_KEPT + 1) + 1)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise QuestreamError(
            f"{folder} has {free / 1e9:.1f} GB free, its checkpoints and the model take {needed / 1e9:.1f} GB"
        )
