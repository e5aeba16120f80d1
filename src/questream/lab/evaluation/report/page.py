"""The page: evaluations put in order for people, question texts shown as texts and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from questream.clustering.rules import Rules
from questream.errors import QuestreamError
from questream.lab.evaluation.decisions import centred
from questream.lab.evaluation.evaluate import GroupEvaluation, PairEvaluation
from questream.lab.evaluation.groups import GroupFigures
from questream.lab.evaluation.mixing import broken_down, largest, most_broken, worst_false_joins
from questream.lab.evaluation.report import plots
from questream.lab.evaluation.report.words import group_verdict, pair_verdict
from questream.lab.evaluation.sampling import sampled_similarities

Evaluation = PairEvaluation | GroupEvaluation

_BIG_CLUSTERS = 10
_SPLIT_GROUPS = 10
_WORST = 12
_TEXT_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of an evaluation: model, rules (`granularity` None if a threshold was set), and time."""

    model: str
    revision: str
    rules: Rules
    granularity: str | None
    version: str
    at: datetime


def write_report(path: Path, subject: Subject, evaluations: Mapping[str, Evaluation]) -> None:
    """Write the page; `evaluations` by the name of the file.

    Raises QuestreamError without matplotlib, or if the file cannot be written.
    """
    plots.require_matplotlib()
    sections = [_section(name, subject.rules, evaluation) for name, evaluation in evaluations.items()]
    page = _environment().get_template("page.html.j2").render(subject=subject, sections=sections)
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise QuestreamError(f"{path} cannot be written: {error.strerror}") from None


def _section(name: str, rules: Rules, evaluation: Evaluation) -> dict[str, Any]:
    section: dict[str, Any] = {"name": name, "file": evaluation.file, "figures": evaluation.figures}
    if isinstance(evaluation, PairEvaluation):
        return section | _pairs(evaluation, rules)
    return section | _groups(evaluation, rules)


def _pairs(evaluation: PairEvaluation, rules: Rules) -> dict[str, Any]:
    figures, scores, same = evaluation.figures, evaluation.similarities, np.array(evaluation.file.same)
    marks = {"setting": rules.threshold, "best F1": figures.best.threshold}
    same_by_score = scores >= rules.threshold
    return {
        "kind": "pairs",
        "verdict": pair_verdict(figures),
        "plots": {
            "How alike the pairs are": plots.similarities(scores[same], scores[~same], marks),
            "What other thresholds would give": plots.pair_curve(figures.curve, rules.threshold),
        },
        "false": _shown_pairs(evaluation, np.flatnonzero(same_by_score & ~same), -scores),
        "missed": _shown_pairs(evaluation, np.flatnonzero(~same_by_score & same), scores),
    }


def _shown_pairs(evaluation: PairEvaluation, chosen: Any, rank: Any) -> list[dict[str, Any]]:
    worst = chosen[np.argsort(rank[chosen], kind="stable")][:_WORST]
    file = evaluation.file
    return [
        {"similarity": float(evaluation.similarities[i]), "first": file.first[i], "second": file.second[i]}
        for i in worst
    ]


def _groups(evaluation: GroupEvaluation, rules: Rules) -> dict[str, Any]:
    figures, stream, after = evaluation.figures, evaluation.stream, evaluation.clustering.after
    shifted = centred(stream.vectors, rules.similarity)
    same, different = sampled_similarities(shifted, stream.gold)
    published = evaluation.clustering.as_published
    return {
        "kind": "groups",
        "verdict": group_verdict(figures, rules.threshold),
        "texts": stream.texts,
        "gold": stream.gold,
        "plots": {
            "What other thresholds would give": plots.threshold_curve(figures.curve, rules.threshold),
            "How many clusters they would give": plots.cluster_count(
                figures.curve, rules.threshold, len(evaluation.file.groups)
            ),
            "How alike questions of one group and of two groups are": plots.similarities(
                same, different, {"setting": rules.threshold}
            ),
            "How large clusters and gold groups are": plots.sizes(figures.by_size),
        }
        | _reliability(figures),
        "halves": evaluation.mixed_clusters[:_BIG_CLUSTERS],
        "mixed": broken_down(after, stream.gold, largest(after, _BIG_CLUSTERS)),
        "split": broken_down(stream.gold, after, most_broken(stream.gold, after, _SPLIT_GROUPS)),
        "joins": worst_false_joins(published, stream.gold, shifted, _WORST),
    }


def _reliability(figures: GroupFigures) -> dict[str, str]:
    if figures.reliability is None:
        return {}
    return {"How often joins are right at each confidence": plots.reliability_diagram(figures.reliability)}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("questream.lab.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": lambda value: f"{value:.1%}",
        "figure": lambda value: "" if np.isnan(value) else f"{value:.3f}",
        "count": lambda value: f"{value:,.0f}",
        "text": _text,
        "svg": Markup,
    }
    environment.globals["size_name"] = plots.size_name
    environment.globals["measures"] = ("cossim", "manhattan", "euclidean", "dot")
    return environment


def _text(text: str) -> Markup:
    """A question as it was asked, cut where it is long, in a box that its writing direction cannot leave."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    cut = shown if len(shown) <= _TEXT_CHARACTERS else shown[:_TEXT_CHARACTERS].rstrip() + " …"
    return Markup("<bdi>{}</bdi>").format(cut)
