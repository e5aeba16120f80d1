"""The recipe of a training: by default that of the card of all-mpnet-base-questions-clustering-en."""

from __future__ import annotations

from dataclasses import dataclass

# Below the card's 1,000 only where these are more than a tenth of all steps: a small set would never leave the warm-up.
_WARM_UP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parameters of a training; the defaults are the card's.

    `batch` pairs a step of either loss, `mini_batch` of them at once on the device where it is set (gradient cache);
    `max_tokens` of a text are trained on. `pairs_per_group` bounds what is drawn from one group of questions, and
    `hard_negatives` are looked for to each such pair.
    """

    batch: int = 32
    mini_batch: int | None = None
    epochs: int = 2
    learning_rate: float = 2e-5
    warm_up_steps: int = 1000
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_tokens: int = 384
    scale: float = 20.0
    pairs_per_group: int = 64
    hard_negatives: int = 1
    seed: int = 0


def scaled_warm_up(recipe: Recipe, steps: int) -> int:
    """The recipe's warm-up steps, or a tenth of all `steps` where that is less."""
    return min(recipe.warm_up_steps, max(1, round(steps * _WARM_UP_SHARE)))
