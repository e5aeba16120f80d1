"""The confidence of a namespace, fitted to what people answered and to what operators moved and turned away."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from questream.clustering.confidence import Confidence, model_mark
from questream.clustering.rules import Rules
from questream.deciding.config import rules_of
from questream.operations.confidence import Answer, Reliability, fit, of_operators, of_pairs, reliability_of
from questream.operations.lookup import require_namespace, require_same_model
from questream.records.files import FileTexts, read_pairs
from questream.settings import Settings
from questream.store.redis.store import RedisStore
from questream.tools.lookup import encoder_of


@dataclass(frozen=True, slots=True)
class Fitted:
    """A confidence, and what it was fitted to; `reliability` is by answers that it was not fitted to."""

    confidence: Confidence
    rules: Rules
    answers: int
    of_operators: int
    belonging: int
    reliability: Reliability

    def document(self) -> dict[str, Any]:
        """It in JSON."""
        rules = self.rules
        return {
            "slope": self.confidence.slope,
            "intercept": self.confidence.intercept,
            "model": self.confidence.model,
            "at_threshold": self.confidence.of(rules.threshold),
            "answers": self.answers,
            "of_operators": self.of_operators,
            "belonging": self.belonging,
            "reliability": asdict(self.reliability),
        }


def fit_confidence(store: RedisStore, namespace: str, settings: Settings, answers: Path | None) -> Fitted:
    """The confidence of a namespace as people's answers have it; nothing is changed.

    `answers` is a file of labelled pairs, as `questream calibrate --answers` writes it; operators' own are those that
    clusters keep. Raises QuestreamError for too few, and where the namespace is of another model; QuestionFileError.
    """
    texts = FileTexts(settings.input)
    pairs = [] if answers is None else read_pairs(answers, texts)
    pairs = [pair for pair in pairs if pair.text_a.strip() and pair.text_b.strip()]
    whole = require_namespace(store, namespace)
    encoder = encoder_of(settings, whole)
    require_same_model(store, namespace, encoder)
    mirror = store.load(namespace)
    rules = rules_of(settings, encoder).in_force(mirror.rules)
    found: list[Answer] = list(of_operators(mirror, rules, store.summaries(namespace)))
    own = len(found)
    if pairs:
        once = list(dict.fromkeys(text for pair in pairs for text in (pair.text_a, pair.text_b)))
        place = {text: at for at, text in enumerate(once)}
        vectors = encoder.encode(once)
        first, second = ([vectors[place[getattr(pair, name)]] for pair in pairs] for name in ("text_a", "text_b"))
        found += of_pairs(mirror, rules, first, second, [pair.same for pair in pairs])
    confidence = fit(found, model_mark(encoder.name, encoder.revision))
    return Fitted(confidence, rules, len(found), own, sum(one.belongs for one in found), reliability_of(found))
