"""The report of `questream calibrate`: a table and examples for people, a document for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from questream.cli.output import print_line, print_table, printable, remark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from questream.lab.calibration.calibrate import Calibrated
    from questream.lab.calibration.preview import Preview
    from questream.lab.calibration.proposal import Proposal, Setting
    from questream.lab.calibration.sweep import Dial
    from questream.settings import Granularity, Settings

_ROWS_BESIDE = 6
# Of a threshold this is .05.
_STEPS_BESIDE = (-2, 2)


def as_document(
    done: Calibrated, previews: Sequence[Preview], settings: Settings, false_join_cost: float
) -> dict[str, Any]:
    """All of it, texts of examples included; a value goes by the name of what it is, `threshold` or `resolution`."""
    from questream.lab.calibration.proposal import CONFIDENCE

    proposal, name = done.proposal, done.sweep.dial.name
    return {
        "way": done.way,
        name: proposal.value if proposal.is_known else None,
        "setting": done.sweep.dial.key,
        "guess": None if proposal.is_known else proposal.value,
        "granularity": _granularity_of(done) if proposal.is_known else None,
        "interval": {"low": proposal.low, "high": proposal.high, "confidence": CONFIDENCE},
        "measure": proposal.measure,
        "false_join_cost": false_join_cost,
        "questions": len(done.texts),
        "answers": done.answers,
        "settings": [_by_name(asdict(setting), name) for setting in proposal.settings],
        "previews": [_by_name(asdict(one), name) for one in previews],
        "toml": toml_of(done, settings) if proposal.is_known else None,
        "remarks": list(proposal.remarks),
    }


def _by_name(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {name if key == "value" else key: value for key, value in document.items()}


def print_report(done: Calibrated, previews: Sequence[Preview], settings: Settings) -> None:
    """The proposal with how sure it is, what other values would do, examples, and the lines to paste."""
    proposal, dial, granularity = done.proposal, done.sweep.dial, _granularity_of(done)
    near = "" if granularity is None else f", nearest to granularity {granularity}"
    known = "" if done.answers is None else f"{done.answers:,} "
    made_from = f"{known}{done.way}, {len(done.texts):,} questions"
    if proposal.is_known:
        print_line(f"{dial.name.capitalize()} {dial.written(proposal.value)}{near}: from {made_from}.")
        print_line(_certainty(proposal, dial))
    else:
        print_line(f"No {dial.name}: {made_from}, which do not show it.")
        if _is_of_thresholds(done):
            print_line(
                f"For clusters as wide as intents {dial.written(proposal.value)} is a guess; by default intents are"
                " above them."
            )
        else:
            print_line(f"{dial.written(proposal.value)} is a guess: the groups that the sample falls into.")
    for what in proposal.remarks:
        remark(f"mind: {what}")
    if proposal.is_known and granularity is None and _has_levels(done):
        remark("mind: clusters so wide are intents; levels find these above the clusters of granularity question, and")
        remark("questream evaluate measures which come closer")
    print_line("")
    _print_settings(proposal, dial)
    _print_costs(proposal, dial)
    for one in previews:
        _print_preview(one, proposal, dial)
    if proposal.is_known:
        print_line("\nFor questream.toml:\n")
        print_line(toml_of(done, settings))


def toml_of(done: Calibrated, settings: Settings) -> str:
    """The lines for questream.toml: what the proposal needs beside what the settings say already."""
    from questream.settings import GRANULARITY_THRESHOLDS

    value = done.proposal.value
    if not _is_of_thresholds(done):
        group, _, name = done.sweep.dial.key.partition(".")
        return f"[{group}]\n{name} = {value:g}"
    rules, clusters = done.rules, settings.clusters
    granularity = _granularity_of(done)
    lines = ["[clusters]"]
    # A threshold of its own would hide the granularity's.
    if granularity is not None and clusters.threshold is None and value == GRANULARITY_THRESHOLDS[granularity]:
        lines.append(f'granularity = "{granularity}"')
    else:
        lines.append(f"threshold = {value:g}")
        # A model's preset is in force only as long as no threshold is set.
        lines += [f'similarity = "{rules.similarity}"'] if rules.similarity != clusters.similarity else []
        lines += [f'linkage = "{rules.linkage}"'] if rules.linkage != clusters.linkage else []
    if clusters.merge_threshold is not None:
        lines.append(f"merge_threshold = {value + rules.merge_threshold - rules.threshold:g}")
    return "\n".join(lines)


def _granularity_of(done: Calibrated) -> Granularity | None:
    from questream.lab.calibration.sweep import nearest_level

    return nearest_level(done.proposal.value) if _has_levels(done) else None


def _is_of_thresholds(done: Calibrated) -> bool:
    from questream.lab.calibration.sweep import THRESHOLD

    return done.sweep.dial == THRESHOLD


def _has_levels(done: Calibrated) -> bool:
    from questream.lab.calibration.sweep import has_levels

    return _is_of_thresholds(done) and has_levels(done.rules)


def _certainty(proposal: Proposal, dial: Dial) -> str:
    low, high = (None if end is None else dial.written(end) for end in (proposal.low, proposal.high))
    if low is None and high is None:
        return "How sure: not at all; nothing here bounds it."
    if low is None:
        return f"How sure: with 90 % the best is at most {high}; how low it may be is open."
    if high is None:
        return f"How sure: with 90 % the best is at least {low}; how high it may be is open."
    return f"How sure: with 90 % the best lies between {low} and {high}."


def _print_settings(proposal: Proposal, dial: Dial) -> None:
    mistakes = proposal.settings[0].mistakes
    columns = [f"{dial.name}#", f"{proposal.measure}#", "clusters#", "of one question#", "moved#"]
    if mistakes is not None:
        columns += ["falsely joined#", "missed#"]
    shown = range(max(0, proposal.row - _ROWS_BESIDE), min(len(proposal.settings), proposal.row + _ROWS_BESIDE + 1))
    print_table(columns, [_row(proposal.settings[row], dial, is_proposed=row == proposal.row) for row in shown])
    print_line(f"moved: of a mean question's company, what is not the same as at the {_side(proposal)} {dial.name}.")
    if mistakes is not None:
        print_line(f"falsely joined, missed: per 1,000 {mistakes.per}.")


def _side(proposal: Proposal) -> str:
    return "proposed" if proposal.is_known else "guessed"


def _row(setting: Setting, dial: Dial, *, is_proposed: bool) -> list[str]:
    cells = [
        f"{'> ' if is_proposed else ''}{dial.written(setting.value)}",
        f"{setting.score:.3f}",
        f"{setting.clusters:,}",
        f"{setting.single_questions:,}",
        f"{setting.moved:.1%}",
    ]
    if setting.mistakes is not None:
        cells += [f"{setting.mistakes.false_joins:,.0f}", f"{setting.mistakes.missed_joins:,.0f}"]
    return cells


def _print_costs(proposal: Proposal, dial: Dial) -> None:
    """The cost of a value that is two steps too low or too high."""
    chosen, last = proposal.settings[proposal.row], len(proposal.settings) - 1
    for steps in _STEPS_BESIDE:
        beside = proposal.settings[min(last, max(0, proposal.row + steps))]
        if beside is chosen:
            continue
        text = f"At {dial.written(beside.value)}: {beside.clusters:,} clusters, not {chosen.clusters:,}"
        text += f"; {beside.moved:.1%} moved"
        if beside.mistakes is not None and chosen.mistakes is not None:
            text += (
                f"; {beside.mistakes.false_joins - chosen.mistakes.false_joins:+,.0f} false joins and"
                f" {beside.mistakes.missed_joins - chosen.mistakes.missed_joins:+,.0f} missed ones"
                f" per 1,000 {chosen.mistakes.per}"
            )
        print_line(text + ".")


def _print_preview(one: Preview, proposal: Proposal, dial: Dial) -> None:
    side = "lower" if one.value < proposal.value else "higher"
    if abs(one.value - proposal.value) < 1e-9:
        side = _side(proposal)
    print_line(f"\nAt {dial.written(one.value)} ({side}), the biggest clusters:")
    rows = []
    for cluster in one.biggest:
        for at, text in enumerate(cluster.texts):
            rows.append([f"{cluster.size:,}" if at == 0 else "", printable(text)])
    print_table(["size#", "questions"], rows)
    if one.parts:
        print_line(f"It parts what a lower {dial.name} joins:")
        print_table(["one", "other"], [[printable(text) for text in pair] for pair in one.parts])
