"""`questream clusters label|separate|history` and `questream undo`: what people decide, and take back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.changes import Change, change_command, with_options
from questream.cli.clusters import AnyLevelArgument, NamespaceOption, are_levels, clusters, is_level, number_of
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import agrees, listed, print_json, print_line, print_table, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.clustering.rules import Rules
    from questream.domain import NamespaceRules, Operation, RulesChange, Ruling
    from questream.operations import Decisions, KnownQuestion
    from questream.operations.requests import Propose
    from questream.store.protocol import ProposedOperation, Store
    from questream.store.redis.store import RedisStore
    from questream.tools.previewing import OperationEffect, Scoring
    from questream.tools.questions import Encodes

# Clusters that an operation changes alike are one line, which names so many of them.
_MOST_IDS = 4


@change_command(clusters, "label", previews=True)
def label(
    change: Change,
    cluster: Annotated[
        str | None, typer.Argument(metavar="CLUSTER", help="Id of a cluster, an intent or a topic: c17, i5, t2.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Its name; an empty one removes it.")] = None,
    route: Annotated[str | None, typer.Option(help="Where its questions go; an empty one removes it.")] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Name all clusters as this file says, which `clusters export` wrote; `-`: stdin."),
    ] = None,
) -> None:
    """Set the label or route of a cluster, an intent or a topic; later decisions carry both.

    The label and route of an intent or a topic hold for the clusters within it that have none of their own.
    With --from, what differs from the file is shown, and changed by one operation when you agree.

    Example: questream clusters label c17 --label "card arrival" --route cards-team
    """
    if from_ is not None:
        if (cluster, label, route) != (None, None, None):
            raise typer.BadParameter("--from is the only argument: the file names clusters, labels and routes")
        _label_from(from_, change)
        return
    if cluster is None:
        raise typer.BadParameter("give a cluster, or a file with --from")
    from questream.tools.clusters import as_document, open_namespace
    from questream.tools.decisions import label as name

    if label is None and route is None:
        raise typer.BadParameter("give --label, --route or both")
    if is_level(cluster):
        decide_as_asked(change, lambda by: by.label_level(cluster, label, route))
        return
    number = number_of(cluster)
    if change.dry_run:
        decide_as_asked(change, lambda by: by.label(number, label, route))
        return
    store, chosen = open_namespace(change.settings, change.namespace)
    state = name(store, chosen, number, label, route, change.by)
    row = as_document(state)
    if change.as_json:
        print_json(row)
    else:
        print_line(f"{row['cluster_id']}: {_ruling(state.ruling)}")


def _label_from(path: Path, change: Change) -> None:
    from questream.tools.clusters import open_namespace
    from questream.tools.decisions import decide, known_as, preview, reviewed

    by = change.by
    store, chosen = open_namespace(change.settings, change.namespace)
    decisions, propose = reviewed(store, chosen, path, by)
    found: Operation | ProposedOperation = preview(decisions, chosen, propose)
    if not change.dry_run:
        known = known_as(store, chosen, by.id)
        if known is None and found.after and not change.yes:
            for cluster_id, after in found.after.items():
                remark(f"c{cluster_id}: {_ruling(found.before[cluster_id])} -> {_ruling(after)}")
            if not agrees(f"Change {len(found.after):,} clusters?"):
                raise QuestreamError("nothing was changed", "say --yes to change without being asked")
        if known is not None or found.after:
            found = decide(decisions, chosen, propose)
    print_decided(found, change.as_json)
    if not found.after and not change.as_json:
        print_line("all clusters of the file are named so already")


@change_command(clusters, "separate")
def separate(
    change: Change,
    cluster: AnyLevelArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The one that means something else.")],
) -> None:
    """Separate two clusters: neither they nor the survivors of their merges ever merge.

    Of two intents or topics: they are never one, and what is in each stays there.

    Example: questream clusters separate c17 c42 --reason "on and off"
    """
    if are_levels(cluster, other):
        decide_as_asked(change, lambda by: by.separate_levels(cluster, other))
        return
    one, another = number_of(cluster), number_of(other)
    decide_as_asked(change, lambda by: by.separate(one, another))


@clusters.command("history")
def history(
    cluster: Annotated[str | None, typer.Argument(metavar="CLUSTER", help="Of this cluster alone.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the operations with actor, time and reason, the newest first.

    Example: questream clusters history c17
    """
    from questream.records.times import format_time, to_the_minute
    from questream.tools.clusters import open_namespace
    from questream.tools.decisions import as_document, history_of_level
    from questream.tools.decisions import history as operations_of

    store, chosen = open_namespace(load(config, set_), namespace)
    if cluster is not None and is_level(cluster):
        operations = history_of_level(store, chosen, limit, cluster)
    else:
        operations = operations_of(store, chosen, limit, None if cluster is None else number_of(cluster))
    if as_json:
        for operation in operations:
            print_json(as_document(operation))
        return
    rows = [
        (
            str(operation.number),
            to_the_minute(format_time(operation.time_ms)),
            f"undo {operation.undoes}" if operation.undoes else operation.kind,
            " ".join([*_levels_of(operation), *(f"c{cluster_id}" for cluster_id in operation.after)]),
            f"undone by {operation.undone_by}" if operation.undone_by else "",
            printable(operation.actor),
            printable(operation.reason),
        )
        for operation in operations
    ]
    print_table(["operation", "time", "what", "clusters…", "state", "actor", "reason…"], rows)


def take_back(
    change: Change,
    operation: Annotated[int, typer.Argument(metavar="OPERATION", min=1, help="A number of `clusters history`.")],
) -> None:
    """Undo an operation, if no later one changed its result.

    Example: questream undo 12
    """
    decide_unmerging(
        change,
        lambda store, chosen: _merged_away(store, chosen, operation),
        lambda by, joined: by.undo(operation, joined),
    )


undo = with_options(take_back, previews=True)


def _merged_away(store: Store, namespace: str, number: int) -> int | None:
    from questream.tools.unmerging import merged_away

    return merged_away(store, namespace, number)


def decide_unmerging(
    change: Change,
    parts: Callable[[Store, str], int | None],
    propose: Callable[[Decisions, Sequence[KnownQuestion]], Propose],
) -> None:
    """As `decide_as_asked`, of an operation that undoes a merge, where `parts` names one.

    Where the questions that joined since cannot be read, they stay where they were decided, and that is said.
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.lookup import encoder_in
    from questream.tools.unmerging import joined_questions

    store, chosen = open_namespace(change.settings, change.namespace)
    joined = joined_questions(
        change.settings, store, chosen, parts(store, chosen), lambda: encoder_in(change.settings, store, chosen)
    )
    if joined.unknown is not None:
        remark(joined.unknown)
    decide_in(store, chosen, change, lambda by: propose(by, joined.questions))


def decide_as_asked(change: Change, propose: Callable[[Decisions], Propose]) -> None:
    """Commit an operation in the namespace that was asked for, or only look at it, and print it."""
    from questream.tools.clusters import open_namespace

    store, chosen = open_namespace(change.settings, change.namespace)
    decide_in(store, chosen, change, propose)


def decide_in(
    store: RedisStore,
    namespace: str,
    change: Change,
    propose: Callable[[Decisions], Propose],
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Commit an operation, or only look at it, and print it; `beside` are further fields of its JSON."""
    from questream.operations import Decisions
    from questream.tools.decisions import decide, preview

    decisions = Decisions(store, namespace, change.by)
    if not change.dry_run:
        print_decided(decide(decisions, namespace, propose(decisions)), change.as_json, beside)
        return
    found = preview(decisions, namespace, propose(decisions))
    if change.looked_at is None:
        print_decided(found, change.as_json, beside)
    else:
        print_proposed(store, namespace, change, found)


def print_proposed(
    store: RedisStore, namespace: str, change: Change, found: ProposedOperation, scoring: Scoring | None = None
) -> None:
    """An operation that would be committed, and what it would do with the questions that came lately.

    `scoring` is the namespace's model and the rules, as far as the caller has them already.
    """
    from questream.deciding.config import rules_of
    from questream.tools.lookup import encoder_in
    from questream.tools.previewing import effect_of

    if found.rules is not None:
        _print_effect_of_rules(store, namespace, change, found, found.rules)
        return

    def loaded() -> tuple[Encodes, Rules]:
        encoder = encoder_in(change.settings, store, namespace)
        return encoder, rules_of(change.settings, encoder)

    try:
        effect = effect_of(change.settings, store, namespace, found, change.looked_at or 0, scoring or loaded)
    except QuestreamError as error:
        remark(f"its effect on questions is not known: {error}")
        print_decided(found, change.as_json)
        return
    print_decided(found, change.as_json, {"effect": asdict(effect)})
    if not change.as_json:
        _print_effect(effect)


def _print_effect_of_rules(
    store: RedisStore, namespace: str, change: Change, found: ProposedOperation, rules: RulesChange
) -> None:
    from questream.tools.rules import changed_by, effect_of

    effect = effect_of(store, namespace, change.settings, changed_by(rules)).document()
    print_decided(found, change.as_json, {"effect": effect})
    if not change.as_json:
        print_effect_of_rules(effect)


def print_effect_of_rules(effect: Mapping[str, Any]) -> None:
    """Print the effect of rules on the present clusters, `questream.tools.rules.Effect`, a line for each number."""
    for name, value in effect.items():
        text = "; ".join(" ".join(pair) for pair in value) or "-" if isinstance(value, list) else f"{value:,}"
        print_line(f"{name}: {printable(text)}")


def _print_effect(effect: OperationEffect) -> None:
    print_line(
        f"of {effect.decisions:,} questions that were decided there lately {effect.decisions_moved:,} would go"
        f" elsewhere; of {effect.members:,} kept members {effect.members_moved:,}"
    )
    if effect.relabelled or effect.rerouted:
        print_line(
            f"of {effect.clusters:,} clusters {effect.relabelled:,} would have another label,"
            f" {effect.rerouted:,} another route"
        )
    if effect.unread:
        print_line(f"{effect.unread:,} cannot be read again")
    for title, examples in (("would move", effect.moving), ("would stay", effect.staying)):
        for one in examples:
            print_line(f"{title}: {one.before or 'none'} -> {one.after or 'none'}: {printable(one.text or '')}")


def print_decided(found: Operation | ProposedOperation, as_json: bool, beside: Mapping[str, Any] | None = None) -> None:
    """An operation that was committed, or that would be."""
    from questream.domain import Ruling
    from questream.tools.decisions import as_document, namings_of

    document = {**as_document(found), **(beside or {})}
    if as_json:
        print_json(document)
        return
    what = "would change" if document["operation"] is None else f"operation {document['operation']}"
    changes = [(f"c{number}", _ruling(found.before[number]), _ruling(after)) for number, after in found.after.items()]
    namings = namings_of(found)
    if namings is not None:
        for name, naming in namings.after.items():
            changes.append((name, _ruling(Ruling(*namings.before[name])), _ruling(Ruling(*naming))))
        for name, (was, now) in namings.places.items():
            none = "ended" if is_level(name) else "in none"
            changes.append((name, f"in {was}" if was else none, f"in {now}" if now else none))
    alike: dict[tuple[str, str], list[str]] = {}
    for name, before, after_text in [change for change in changes if change[1] != change[2]] or changes:
        alike.setdefault((before, after_text), []).append(name)
    for (before, after_text), names in alike.items():
        print_line(f"{what}: {listed(names, _MOST_IDS)}: {before} -> {after_text}")
    if found.rules is not None:
        print_line(f"{what}: rules {_rules(found.rules.before)} -> {_rules(found.rules.after)}")


def _levels_of(operation: Operation) -> list[str]:
    return [] if operation.levels is None else list(operation.levels.after)


def _rules(rules: NamespaceRules) -> str:
    return printable(", ".join(f"{name}={value}" for name, value in rules.values().items())) or "as the settings"


def _ruling(ruling: Ruling) -> str:
    from questream.rulings import describe_ruling

    text = f"label {printable(ruling.label or '-')}, route {printable(ruling.route or '-')}"
    text += "".join(f", {field}" for field in describe_ruling(ruling))
    text += "" if ruling.represented_by is None else ", represented by a chosen question"
    text += "".join(f", kept in {community}" for community in ruling.kept_in)
    for count, what in ((len(ruling.ends_of_clusters), "separation"), (len(ruling.exemplars), "exemplar")):
        text += f", {count} {what}{'s' * (count != 1)}" if count else ""
    return text
