"""The order, the progress and the result of a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from questream.lab.training.comparing import Change
from questream.lab.training.corpus import LeftOut
from questream.lab.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a training: the folder to write, how the model is trained, the share held out and how many of its
    questions are compared, and after how many steps a checkpoint is written."""

    folder: Path
    recipe: Recipe
    held_out_share: float
    compared_questions: int
    save_every: int
    resume: bool


class Watch(Protocol):
    """Receives the progress of a training."""

    def announce(self, what: str) -> None:
        """Report the present step."""

    def step(self, done: int, steps: int) -> None:
        """So many of all steps are done."""

    def loss(self, mean: float) -> None:
        """The mean loss of the last steps, of both kinds of loss together."""

    def evaluated(self, epoch: float, figures: dict[str, float]) -> None:
        """The figures of the held-out part after an epoch."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The course of a training: steps in all and of the warm-up, the step resumed from, pairs a step of each loss, the
    losses by name, and the number format."""

    steps: int
    warm_up_steps: int
    resumed_at: int
    batches: dict[str, int]
    losses: dict[str, str]
    dtype: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """The amount of data of one side; `positives` and `negatives` are pairs."""

    texts: int
    groups: int
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a training, and its data."""

    folder: str
    base: str
    base_revision: str
    recipe: Recipe
    trained_on: Sizes
    held_out: Sizes
    left_out: LeftOut
    fitted: Fitted
    changes: list[Change]
