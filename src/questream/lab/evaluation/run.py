"""Files of labelled questions through the model and the rules of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from questream.deciding.config import level_rules_of, rules_of
from questream.encoder import load_encoder, load_judge
from questream.lab.evaluation.evaluate import evaluate_groups, evaluate_pairs
from questream.lab.evaluation.files import GoldFile, PairFile, read_gold_file, read_pair_file
from questream.lab.evaluation.report.page import Evaluation, Subject
from questream.lab.evaluation.verdicts import RememberingJudge
from questream.records.files import FileTexts, holds_pairs
from questream.settings import Settings


def read_file(path: Path, questions: int, seed: int, texts: FileTexts) -> PairFile | GoldFile:
    """The questions or pairs of a file, `questions` of them at most. Raises QuestionFileError."""
    if holds_pairs(path, texts):
        return read_pair_file(path, questions, seed, texts)
    return read_gold_file(path, questions, seed, texts)


def evaluate_files(
    settings: Settings,
    files: Mapping[Path, PairFile | GoldFile],
    shuffles: int,
    seed: int,
    announce: Callable[[str], None],
) -> tuple[Subject, dict[str, Evaluation]]:
    """The subject, and the evaluation of each file by its name. Raises ModelError."""
    announce("loading the model")
    encoder = load_encoder(settings.model)
    judge = load_judge(settings.judge, settings.model.device)
    remembering = None if judge is None else RememberingJudge(judge)
    rules = rules_of(settings, encoder)
    evaluations: dict[str, Evaluation] = {}
    for path, file in files.items():
        announce(path.name)
        if isinstance(file, PairFile):
            evaluations[str(path)] = evaluate_pairs(file, encoder, rules, announce)
        else:
            evaluations[str(path)] = evaluate_groups(
                file, encoder, rules, shuffles, seed, announce, remembering, level_rules_of(settings)
            )
    by_name = settings.clusters.threshold is None and encoder.preset is None
    subject = Subject(
        model=encoder.name,
        revision=encoder.revision,
        rules=rules,
        granularity=settings.clusters.granularity if by_name else None,
        version=version("questream"),
        at=datetime.now(UTC),
    )
    return subject, evaluations
