"""What `questream calibrate` tells: a table and examples for people, a document for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from questream.cli.output import print_line, print_table, printable, remark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from questream.lab.calibration.calibrate import Calibrated
    from questream.lab.calibration.preview import Preview
    from questream.lab.calibration.proposal import Proposal, Setting
    from questream.settings import Granularity, Settings

_ROWS_BESIDE = 6
_BESIDE = (-0.05, 0.0, 0.05)


def as_document(
    done: Calibrated, previews: Sequence[Preview], settings: Settings, false_join_cost: float
) -> dict[str, Any]:
    """All of it, texts of examples included."""
    from questream.lab.calibration.proposal import CONFIDENCE

    proposal = done.proposal
    return {
        "way": done.way,
        "threshold": proposal.threshold if proposal.is_known else None,
        "guess": None if proposal.is_known else proposal.threshold,
        "granularity": _level_of(done) if proposal.is_known else None,
        "interval": {"low": proposal.low, "high": proposal.high, "confidence": CONFIDENCE},
        "measure": proposal.measure,
        "false_join_cost": false_join_cost,
        "questions": len(done.texts),
        "answers": done.answers,
        "settings": [asdict(setting) for setting in proposal.settings],
        "previews": [asdict(one) for one in previews],
        "toml": toml_of(done, settings) if proposal.is_known else None,
        "remarks": list(proposal.remarks),
    }


def print_report(done: Calibrated, previews: Sequence[Preview], settings: Settings) -> None:
    """The proposal with how sure it is, what other thresholds would do, examples, and the lines to paste."""
    proposal, level = done.proposal, _level_of(done)
    near = "" if level is None else f", nearest to granularity {level}"
    known = "" if done.answers is None else f"{done.answers:,} "
    made_from = f"{known}{done.way}, {len(done.texts):,} questions"
    if proposal.is_known:
        print_line(f"Threshold {proposal.threshold:.3f}{near}: from {made_from}.")
        print_line(_certainty(proposal))
    else:
        print_line(f"No threshold: {made_from}, which do not tell it.")
        print_line(
            f"For clusters as wide as intents {proposal.threshold:.3f} is a guess; by default intents stand above them."
        )
    for what in proposal.remarks:
        remark(f"mind: {what}")
    if proposal.is_known and level is None and _has_levels(done):
        remark("mind: clusters so wide are intents; levels find these above the clusters of granularity question, and")
        remark("questream evaluate tells which come closer")
    print_line("")
    _print_settings(proposal)
    _print_costs(proposal)
    for one in previews:
        _print_preview(one, proposal)
    if proposal.is_known:
        print_line("\nFor questream.toml:\n")
        print_line(toml_of(done, settings))


def toml_of(done: Calibrated, settings: Settings) -> str:
    """The lines for questream.toml: what the proposal needs beside what the settings say already."""
    from questream.settings import GRANULARITY_THRESHOLDS

    rules, clusters, threshold = done.rules, settings.clusters, done.proposal.threshold
    level = _level_of(done)
    lines = ["[clusters]"]
    # A threshold of its own would hide the granularity's.
    if level is not None and clusters.threshold is None and threshold == GRANULARITY_THRESHOLDS[level]:
        lines.append(f'granularity = "{level}"')
    else:
        lines.append(f"threshold = {threshold:g}")
        # What a model's preset brings, it brings only as long as no threshold is set.
        lines += [f'similarity = "{rules.similarity}"'] if rules.similarity != clusters.similarity else []
        lines += [f'linkage = "{rules.linkage}"'] if rules.linkage != clusters.linkage else []
    if clusters.merge_threshold is not None:
        lines.append(f"merge_threshold = {threshold + rules.merge_threshold - rules.threshold:g}")
    return "\n".join(lines)


def _level_of(done: Calibrated) -> Granularity | None:
    from questream.lab.calibration.sweep import nearest_level

    return nearest_level(done.proposal.threshold) if _has_levels(done) else None


def _has_levels(done: Calibrated) -> bool:
    from questream.lab.calibration.sweep import has_levels

    return has_levels(done.rules)


def _certainty(proposal: Proposal) -> str:
    low, high = proposal.low, proposal.high
    if low is None and high is None:
        return "How sure: not at all; nothing here bounds it."
    if low is None:
        return f"How sure: with 90 % the best is at most {high:.3f}; how low it may be is open."
    if high is None:
        return f"How sure: with 90 % the best is at least {low:.3f}; how high it may be is open."
    return f"How sure: with 90 % the best lies between {low:.3f} and {high:.3f}."


def _print_settings(proposal: Proposal) -> None:
    mistakes = proposal.settings[0].mistakes
    columns = ["threshold#", f"{proposal.measure}#", "clusters#", "of one question#", "moved#"]
    if mistakes is not None:
        columns += ["falsely joined#", "missed#"]
    at = proposal.settings.index(proposal.setting_at(proposal.threshold))
    shown = proposal.settings[max(0, at - _ROWS_BESIDE) : at + _ROWS_BESIDE + 1]
    print_table(columns, [_row(setting, proposal) for setting in shown])
    print_line("moved: of a mean question's company, what is not the same as at the proposed threshold.")
    if mistakes is not None:
        print_line(f"falsely joined, missed: per 1,000 {mistakes.per}.")


def _row(setting: Setting, proposal: Proposal) -> list[str]:
    mark = "> " if setting.threshold == proposal.setting_at(proposal.threshold).threshold else ""
    cells = [
        f"{mark}{setting.threshold:.3f}",
        f"{setting.score:.3f}",
        f"{setting.clusters:,}",
        f"{setting.single_questions:,}",
        f"{setting.moved:.1%}",
    ]
    if setting.mistakes is not None:
        cells += [f"{setting.mistakes.false_joins:,.0f}", f"{setting.mistakes.missed_joins:,.0f}"]
    return cells


def _print_costs(proposal: Proposal) -> None:
    """What it costs to be wrong by .05 on either side."""
    chosen = proposal.setting_at(proposal.threshold)
    for step in _BESIDE:
        beside = proposal.setting_at(proposal.threshold + step)
        if step == 0.0 or beside.threshold == chosen.threshold:
            continue
        text = f"At {beside.threshold:.3f}: {beside.clusters:,} clusters, not {chosen.clusters:,}"
        text += f"; {beside.moved:.1%} moved"
        if beside.mistakes is not None and chosen.mistakes is not None:
            text += (
                f"; {beside.mistakes.false_joins - chosen.mistakes.false_joins:+,.0f} false joins and"
                f" {beside.mistakes.missed_joins - chosen.mistakes.missed_joins:+,.0f} missed ones"
                f" per 1,000 {chosen.mistakes.per}"
            )
        print_line(text + ".")


def _print_preview(one: Preview, proposal: Proposal) -> None:
    proposed = proposal.threshold
    side = "lower" if one.threshold < proposed else "higher"
    if abs(one.threshold - proposed) < 1e-9:
        side = "proposed" if proposal.is_known else "guessed"
    print_line(f"\nAt {one.threshold:.3f} ({side}), the biggest clusters:")
    rows = []
    for cluster in one.biggest:
        for at, text in enumerate(cluster.texts):
            rows.append([f"{cluster.size:,}" if at == 0 else "", printable(text)])
    print_table(["size#", "questions"], rows)
    if one.parts:
        print_line("It parts what a lower threshold joins:")
        print_table(["one", "other"], [[printable(text) for text in pair] for pair in one.parts])
