"""`questream calibrate`: the threshold that suits a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.bench import progress
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, remark
from questream.errors import SettingsError

if TYPE_CHECKING:
    from questream.clustering.rules import Rules
    from questream.encoder import Encoder
    from questream.lab.calibration.answers import Inquiry
    from questream.lab.calibration.proposal import Proposal
    from questream.lab.calibration.sweep import Sweep
    from questream.settings import Granularity, Settings


class Level(StrEnum):
    """The names of granularities."""

    INTENT = "intent"
    QUESTION = "question"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for, whichever way it is calibrated."""

    settings: Settings
    level: Granularity | None
    questions: int
    false_join_cost: float
    seed: int
    announce: Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A proposal, and what it was made from."""

    way: str
    proposal: Proposal
    sweep: Sweep
    texts: list[str]
    rules: Rules
    answers: int | None = None


def calibrate(
    sample: Annotated[
        Path | None, typer.Argument(help="Questions of the stream: text lines, CSV or JSON Lines with text.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Take the newest questions of the input topic as the sample.")
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Learn from labelled pairs: text_a, text_b, label; a sample beside them competes."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Learn from questions with gold groups: text and gold (or cluster).")
    ] = None,
    ask: Annotated[
        int, typer.Option(min=0, max=200, help='Ask so many times at most whether two are the same: "40" does.')
    ] = 0,
    answers: Annotated[
        Path | None,
        typer.Option(help="Learn from answers in this file of pairs; with --ask new ones are added to it."),
    ] = None,
    granularity: Annotated[Level | None, typer.Option(help="Search the thresholds of this level alone.")] = None,
    false_join_cost: Annotated[
        float, typer.Option(min=0.05, max=20.0, help="What joining wrongly costs, where missing a join costs 1.")
    ] = 1.0,
    questions: Annotated[int, typer.Option(min=100, max=8000, help="Most questions of a sample.")] = 2_000,
    shuffles: Annotated[int, typer.Option(min=0, help="Orders beside that of the file, with --groups.")] = 2,
    examples: Annotated[int, typer.Option(min=0, max=50, help="Clusters and pairs to show of each setting.")] = 4,
    seed: Annotated[int, typer.Option(help="Draws samples, orders and what is asked.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Propose the threshold for your stream: from labelled pairs, gold groups, a few answers, or a sample alone.

    Clusters the questions as a worker would, with its model and rules, at every threshold; reads only.
    Example: questream calibrate questions.txt --ask 40 --answers answers.jsonl
    """
    from questream.cli.calibrate_asking import ask_user
    from questream.cli.calibrate_report import as_document, print_report
    from questream.lab.calibration.preview import preview

    _check(sample, from_topic, pairs, groups, ask, answers)
    settings = load(config, set_)
    level: Granularity | None = granularity.value if granularity is not None else None
    with progress() as announce:
        wish = Wish(settings, level, questions, false_join_cost, seed, announce)
        if groups is not None:
            done = _from_groups(wish, groups, shuffles)
        elif pairs is not None:
            done = _from_pairs(wish, pairs, _sample(wish, sample, from_topic))
        elif ask or answers is not None:
            inquiry, asked_of = _inquire(wish, _sample(wish, sample, from_topic), ask, answers)
        else:
            done = _unlabelled(wish, _sample(wish, sample, from_topic))
    if ask or answers is not None:
        # Not before the line of progress has gone.
        ask_user(inquiry, asked_of.texts, ask, answers)
        done = replace(asked_of, proposal=inquiry.proposal(), answers=len(inquiry.answers))
    previews = preview(done.sweep, done.texts, done.proposal.threshold, examples) if examples else []
    if as_json:
        print_json(as_document(done, previews, settings, false_join_cost))
    else:
        print_report(done, previews, settings)


def _check(
    sample: Path | None, from_topic: bool, pairs: Path | None, groups: Path | None, ask: int, answers: Path | None
) -> None:
    ways = [pairs is not None, groups is not None, bool(ask) or answers is not None]
    if sum(ways) > 1:
        raise SettingsError("--pairs, --groups and --ask or --answers are three ways: choose one")
    if groups is not None and (sample is not None or from_topic):
        raise SettingsError("--groups is a sample itself: give no other")
    if sample is not None and from_topic:
        raise SettingsError("give a file of questions or --from-topic, not both")
    if pairs is None and groups is None and sample is None and not from_topic:
        raise SettingsError("give questions of the stream: a file, or --from-topic; or --pairs or --groups")
    if ask and answers is not None and answers.suffix.lower() not in (".jsonl", ".ndjson", ".json"):
        raise SettingsError("answers are written as JSON Lines: give --answers a name that ends in .jsonl")


def _sample(wish: Wish, sample: Path | None, from_topic: bool) -> list[str]:
    from questream.lab.calibration.sample import newest_of_topic, sample_of_file

    if from_topic:
        wish.announce(f"{wish.settings.kafka.input_topic}: the newest {wish.questions:,} questions")
        return newest_of_topic(wish.settings, wish.questions)
    return [] if sample is None else sample_of_file(sample, wish.questions, wish.seed)


def _encoder_and_rules(wish: Wish) -> tuple[Encoder, Rules]:
    from questream.deciding.config import rules_of
    from questream.encoder import load_encoder

    wish.announce("loading the model")
    encoder = load_encoder(wish.settings.model)
    return encoder, rules_of(wish.settings, encoder)


def _from_groups(wish: Wish, file: Path, shuffles: int) -> Calibrated:
    from questream.lab.calibration.groups import propose_from_groups, require_groups
    from questream.lab.calibration.sweep import grid_of, sweep
    from questream.lab.evaluation.files import read_gold_file
    from questream.lab.evaluation.stream import orders_of

    read = read_gold_file(file, wish.questions, wish.seed)
    # Before the model, which takes seconds to load.
    require_groups(read.gold)
    encoder, rules = _encoder_and_rules(wish)
    wish.announce(f"{len(read.texts):,} questions through the model")
    vectors = encoder.encode(read.texts)
    orders = orders_of(len(read.texts), shuffles, wish.seed)
    sweeps = [sweep(vectors[order], rules, grid_of(rules, wish.level), wish.announce) for order in orders]
    golds = [read.gold[order] for order in orders]
    proposal = propose_from_groups(sweeps, golds, wish.false_join_cost, wish.seed)
    return Calibrated("gold groups", proposal, sweeps[0], list(read.texts), rules)


def _from_pairs(wish: Wish, file: Path, background: list[str]) -> Calibrated:
    from questream.lab.calibration.pairs import pair_stream, propose_from_pairs
    from questream.lab.calibration.sweep import grid_of, sweep
    from questream.records.files import read_pairs

    pairs = [pair for pair in read_pairs(file) if pair.text_a.strip() and pair.text_b.strip()]
    stream = pair_stream(pairs, background, wish.seed)
    encoder, rules = _encoder_and_rules(wish)
    wish.announce(f"{len(stream.texts):,} questions through the model")
    swept = sweep(encoder.encode(stream.texts), rules, grid_of(rules, wish.level), wish.announce)
    proposal = propose_from_pairs(swept, stream, wish.false_join_cost, wish.seed)
    return Calibrated("labelled pairs", proposal, swept, stream.texts, rules)


def _unlabelled(wish: Wish, texts: list[str]) -> Calibrated:
    from questream.lab.calibration.sweep import grid_of, require_enough, sweep
    from questream.lab.calibration.unlabelled import propose_unlabelled

    require_enough(len(texts))
    encoder, rules = _encoder_and_rules(wish)
    wish.announce(f"{len(texts):,} questions through the model")
    vectors = encoder.encode(texts)
    swept = sweep(vectors, rules, grid_of(rules, wish.level), wish.announce)
    proposal = propose_unlabelled(swept, vectors, rules, wish.level, wish.false_join_cost)
    return Calibrated("a sample without labels", proposal, swept, texts, rules)


def _inquire(wish: Wish, texts: list[str], ask: int, file: Path | None) -> tuple[Inquiry, Calibrated]:
    """An inquiry that knows the answers of the file, and what the sample alone says."""
    from questream.cli.calibrate_asking import read_answers
    from questream.lab.calibration.answers import Inquiry

    known = read_answers(file) if file is not None and (file.exists() or not ask) else []
    # Each text once: whether a text is the same as itself need not be asked. What the sample lacks comes last, so that
    # the same sample is clustered in the same order however many answers there are.
    texts = list(dict.fromkeys([*texts, *(text for pair in known for text in (pair.text_a, pair.text_b))]))
    alone = _unlabelled(wish, texts)
    inquiry = Inquiry(alone.sweep, alone.proposal.threshold, wish.false_join_cost, wish.seed)
    place = {text: at for at, text in enumerate(texts)}
    useless = sum(not inquiry.tell(place[pair.text_a], place[pair.text_b], pair.same) for pair in known)
    if useless:
        remark(f"{useless:,} answers say nothing: their questions never meet, or they repeat others")
    return inquiry, replace(alone, way="answers")
