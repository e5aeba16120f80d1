"""Evaluation on the held-out part between two epochs; nothing is chosen by it."""

from __future__ import annotations

from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

from questream.clustering.rules import Rules
from questream.lab.training.comparing import Subject, worth
from questream.lab.training.corpus import Corpus

_NAME = "held-out"


def held_out_evaluators(held_out: Corpus, rules: Rules) -> list[BaseEvaluator]:
    """Evaluators that the trainer runs in sequence: the pairs that somebody labelled, where both labels occur, and the
    questions as a stream."""
    evaluators: list[BaseEvaluator] = []
    if len(held_out.same) and len(held_out.different):
        pairs = [*held_out.same.tolist(), *held_out.different.tolist()]
        evaluators.append(
            BinaryClassificationEvaluator(
                sentences1=[held_out.texts[one] for one, _ in pairs],
                sentences2=[held_out.texts[other] for _, other in pairs],
                labels=[1] * len(held_out.same) + [0] * len(held_out.different),
                name=_NAME,
                similarity_fn_names=["cosine"],
                write_csv=False,
            )
        )
    return [*evaluators, _StreamEvaluator(held_out, rules)]


class _StreamEvaluator(BaseEvaluator):  # type: ignore[misc]  # untyped in sentence-transformers
    """Average precision of all pairs and BCubed F1 of online clustering."""

    def __init__(self, held_out: Corpus, rules: Rules) -> None:
        super().__init__()
        self._held_out = held_out
        self._rules = rules
        self.primary_metric = "average_precision"

    def __call__(self, model: SentenceTransformer, *_: Any, **__: Any) -> dict[str, float]:
        vectors = model.encode(list(self._held_out.texts), normalize_embeddings=True, show_progress_bar=False)
        return worth(self._held_out, Subject(vectors, self._rules))
