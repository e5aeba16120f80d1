"""Training on files of labelled pairs and of groups."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from questream.errors import MissingExtra
from questream.lab.training.corpus import Corpus, read_corpus
from questream.lab.training.report import Order, Report, Watch
from questream.records.files import FileTexts
from questream.settings import Settings

if TYPE_CHECKING:
    from questream.lab.training.judging import JudgeReport

_NEEDED = ("accelerate", "datasets")


def train_on_files(
    settings: Settings, pairs: Sequence[Path], groups: Sequence[Path], order: Order, watch: Watch
) -> Report:
    """As `training.train`, on what these files hold, prepared as a worker with these settings does.

    Raises MissingExtra before anything is read, QuestionFileError for a file that does not fit.
    """
    corpus = _read(settings, pairs, groups, watch)
    # Not before: it loads the trainer.
    from questream.lab.training.training import train

    return train(settings, corpus, order, watch)


def train_judge_on_files(
    settings: Settings, pairs: Sequence[Path], groups: Sequence[Path], order: Order, watch: Watch
) -> JudgeReport:
    """As `judging.train_judge`, on what these files hold; otherwise as `train_on_files`."""
    corpus = _read(settings, pairs, groups, watch)
    from questream.lab.training.judging import train_judge

    return train_judge(settings, corpus, order, watch)


def _read(settings: Settings, pairs: Sequence[Path], groups: Sequence[Path], watch: Watch) -> Corpus:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra("training", " and ".join(missing), "train")
    corpus = read_corpus(pairs, groups, FileTexts(settings.input))
    watch.announce(
        f"{len(corpus.texts):,} texts, {len(corpus.same):,} pairs labelled the same, {len(corpus.different):,} not"
    )
    return corpus
