"""From questions and what is known of them to a proposed value: each way that `questream calibrate` has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from questream.clustering.levels import LEVEL_NAMES
from questream.clustering.rules import Rules
from questream.deciding.config import level_rules_of, rules_of
from questream.domain import Matrix
from questream.encoder import load_encoder
from questream.lab.calibration.answers import Inquiry
from questream.lab.calibration.groups import propose_from_groups, require_groups
from questream.lab.calibration.level_sweep import sweep_level
from questream.lab.calibration.pairs import pair_stream, propose_from_pairs
from questream.lab.calibration.proposal import Proposal
from questream.lab.calibration.sample import newest_of_topic, sample_of_file
from questream.lab.calibration.sweep import Sweep, grid_of, require_enough, sweep
from questream.lab.calibration.unlabelled import propose_resolution, propose_unlabelled
from questream.lab.evaluation.files import read_gold_file
from questream.lab.evaluation.stream import orders_of
from questream.records.files import FileTexts, LabelledPair, read_pairs
from questream.settings import Granularity, Settings


@dataclass(frozen=True)
class Wish:
    """The options of every calibration; `questions` is the most that are read of a file or topic.

    With a `level`, `intent` or `topic`, its resolution is calibrated, else the threshold, of a `granularity` if given.
    """

    settings: Settings
    level: str | None
    granularity: Granularity | None
    questions: int
    false_join_cost: float
    seed: int
    announce: Callable[[str], None]

    @cached_property
    def texts(self) -> FileTexts:
        """Which texts of a file are embedded, as a worker with the settings prepares them."""
        return FileTexts(self.settings.input)

    def sample(self, file: Path | None, from_topic: bool) -> list[str]:
        """Questions of the stream: the newest of the input topic, else those of a file, if there is one."""
        if from_topic:
            self.announce(f"{self.settings.kafka.input_topic}: the newest {self.questions:,} questions")
            return newest_of_topic(self.settings, self.questions)
        return [] if file is None else sample_of_file(file, self.questions, self.seed, self.texts)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A proposal, and what it was made from."""

    way: str
    proposal: Proposal
    sweep: Sweep
    texts: list[str]
    rules: Rules
    answers: int | None = None


def from_groups(wish: Wish, file: Path, shuffles: int) -> Calibrated:
    """From a file of questions with gold groups, in `shuffles` orders. Raises QuestreamError for one of no use."""
    read = read_gold_file(file, wish.questions, wish.seed, wish.texts)
    # Before the model, which takes seconds to load.
    require_groups(read.gold)
    vectors, rules = _embedded(wish, read.texts)
    orders = orders_of(len(read.texts), shuffles, wish.seed)
    sweeps = [_swept(wish, vectors[order], [read.texts[at] for at in order], rules) for order in orders]
    golds = [read.gold[order] for order in orders]
    proposal = propose_from_groups(sweeps, golds, wish.false_join_cost, wish.seed)
    return Calibrated("gold groups", proposal, sweeps[0], list(read.texts), rules)


def from_pairs(wish: Wish, file: Path, background: list[str]) -> Calibrated:
    """From a file of labelled pairs, whose questions compete with those of the `background`."""
    pairs = [pair for pair in read_pairs(file, wish.texts) if pair.text_a.strip() and pair.text_b.strip()]
    stream = pair_stream(pairs, background, wish.seed)
    vectors, rules = _embedded(wish, stream.texts)
    swept = _swept(wish, vectors, stream.texts, rules)
    proposal = propose_from_pairs(swept, stream, wish.false_join_cost, wish.seed)
    return Calibrated("labelled pairs", proposal, swept, stream.texts, rules)


def from_sample(wish: Wish, texts: list[str]) -> Calibrated:
    """From questions of which nothing is known. Raises QuestreamError for too few."""
    require_enough(len(texts))
    vectors, rules = _embedded(wish, texts)
    swept = _swept(wish, vectors, texts, rules)
    if wish.level is not None:
        proposal = propose_resolution(swept, vectors, rules, wish.false_join_cost)
    else:
        proposal = propose_unlabelled(swept, vectors, rules, wish.granularity, wish.false_join_cost)
    return Calibrated("a sample without labels", proposal, swept, texts, rules)


def inquire(wish: Wish, texts: Sequence[str], known: Sequence[LabelledPair]) -> tuple[Calibrated, Inquiry, int]:
    """The calibration by the sample alone, an inquiry with the `known` answers, and the number of useless ones."""
    # Answers that were given to calibrate hold texts as they were shown: prepared.
    sampled = set(texts)

    def prepared(text: str) -> str:
        return text if text in sampled else wish.texts.prepare(text)

    answers = [LabelledPair(prepared(pair.text_a), prepared(pair.text_b), pair.same) for pair in known]
    # Each text once: whether a text is the same as itself need not be asked. What the sample lacks comes last, so that
    # the same sample is clustered in the same order however many answers there are.
    once = list(dict.fromkeys([*texts, *(text for pair in answers for text in (pair.text_a, pair.text_b))]))
    alone = from_sample(wish, once)
    inquiry = Inquiry(alone.sweep, alone.proposal.value, wish.false_join_cost, wish.seed, _in_force(wish))
    place = {text: at for at, text in enumerate(once)}
    useless = sum(not inquiry.add_answer(place[pair.text_a], place[pair.text_b], pair.same) for pair in answers)
    return alone, inquiry, useless


def _swept(wish: Wish, vectors: Matrix, texts: Sequence[str], rules: Rules) -> Sweep:
    if wish.level is not None:
        return sweep_level(vectors, texts, rules, level_rules_of(wish.settings), wish.level, wish.announce)
    return sweep(vectors, rules, grid_of(rules, wish.granularity), wish.announce, texts)


def _in_force(wish: Wish) -> float | None:
    """The resolution of the level as the settings have it; a threshold is proposed whatever it is."""
    if wish.level is None:
        return None
    return level_rules_of(wish.settings).resolutions[LEVEL_NAMES.index(wish.level)]


def _embedded(wish: Wish, texts: Sequence[str]) -> tuple[Matrix, Rules]:
    """The unit vectors (n, d) of the texts by the model of the settings, and the rules that hold with it."""
    wish.announce("loading the model")
    encoder = load_encoder(wish.settings.model)
    wish.announce(f"{len(texts):,} questions through the model")
    return encoder.encode(texts), rules_of(wish.settings, encoder)
