"""`questream namespaces list|show|set|calibrate|delete`: what the store holds of tenants, and their rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from questream.cli.changes import Change, change_command
from questream.cli.decisions import decide_in, print_decided, print_effect_of_rules
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import agrees, print_json, print_line, print_rows, print_table, printable, remark
from questream.errors import QuestreamError

namespaces = typer.Typer(
    help="See namespaces: their sizes, models, streams and rules; set rules, delete one.", no_args_is_help=True
)


@namespaces.command("list")
def list_(config: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """List the namespaces of the store, by name.

    Example: questream namespaces list
    """
    from questream.store.redis.store import open_store
    from questream.tools.namespaces import as_document, list_namespaces

    settings = load(config, set_)
    rows = [as_document(one) for one in list_namespaces(open_store(settings.redis, settings.clusters.log_entries))]
    print_rows(
        rows,
        as_json,
        ["namespace", "clusters#", "of one question#", "threshold#", "linkage?", "input topic", "model…"],
        lambda row: [
            printable(row["namespace"]),
            f"{row['clusters']:,}",
            f"{row['singletons']:,}",
            f"{row['threshold']:.3f}",
            row["linkage"],
            printable(row["input_topic"] or ""),
            printable(row["model"]),
        ],
    )
    for row in rows:
        if row["settings_differ"] and not as_json:
            remark(f"{row['namespace']}: workers run by different settings: {'; '.join(row['settings_differ'])}")


@namespaces.command("show")
def show(
    namespace: Annotated[
        str | None, typer.Argument(metavar="NAMESPACE", help="Default: clusters.namespace of the settings.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a namespace: sizes, model, stream, store, the rules in force and the settings that its workers run by.

    Example: questream namespaces show default
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.namespaces import as_whole_document, count_questions, describe

    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)
    row = as_whole_document(describe(store, chosen), count_questions(store, chosen), settings)
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        if name == "rules":
            for key, rule in value.items():
                print_line(f"{name}: {key:<38} {_shown(rule['value'])} ({rule['source']})")
        elif isinstance(value, dict):
            for key, part in value.items():
                print_line(f"{name}: {printable(key):<38} {_shown(part)}")
        else:
            print_line(f"{name:<17} {_shown(value)}".rstrip())


@change_command(namespaces, "set")
def set_rules(
    change: Change,
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="Its name.")],
    rules: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="`unset`: as the settings; `off`: none.")],
) -> None:
    """Set rules of a namespace; all its workers follow them from then on, without a restart.

    Example: questream namespaces set default threshold=0.7 retention_seconds=2592000 --reason "fewer heaps"
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.rules import effect_of, read_rules

    values = read_rules(rules)
    store, chosen = open_namespace(change.settings, namespace)
    effect = effect_of(store, chosen, change.settings, values).document() if change.dry_run else None
    decide_in(store, chosen, change, lambda by: by.rules(values), {} if effect is None else {"effect": effect})
    if effect is not None and not change.as_json:
        print_effect_of_rules(effect)
    if values.get("routing_precision") and not (values.get("confidence") or store.rules(chosen).confidence):
        remark(f"no confidence is fitted: without `questream namespaces calibrate {chosen}` no question is routed")


@change_command(namespaces, "calibrate")
def calibrate(
    change: Change,
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="Its name.")],
    answers: Annotated[
        Path | None, typer.Option(help="File of answers: text_a, text_b, label, as `questream calibrate` writes it.")
    ] = None,
) -> None:
    """Fit the confidence of decisions to people's answers, and to questions that operators moved or rejected.

    It becomes the rule `confidence` of the namespace: all its workers publish it from then on.

    Example: questream namespaces calibrate default --answers answers.jsonl
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.confidence import fit_confidence

    store, chosen = open_namespace(change.settings, namespace)
    fitted = fit_confidence(store, chosen, change.settings, answers)
    document = fitted.document()
    decide_in(store, chosen, change, lambda by: by.rules({"confidence": str(fitted.confidence)}), {"fitted": document})
    if not change.as_json:
        counts = f"{fitted.answers:,} answers, {fitted.belonging:,} of them yes; {fitted.of_operators:,} of operators"
        print_line(f"{counts}; at the threshold the confidence is {document['at_threshold']:.2f}")
        print_table(
            ["confidence", "answers#", "mean#", "yes#"],
            [
                [f"{one.low:.1f} to {one.high:.1f}", f"{one.decisions:,}", f"{one.confidence:.2f}", f"{one.right:.2f}"]
                for one in fitted.reliability.bins
            ],
        )
        print_line(f"calibration error {fitted.reliability.calibration_error:.3f}, by answers left out of the fit")


@change_command(namespaces, "delete")
def delete(
    change: Change,
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="Its name.")],
) -> None:
    """Delete a namespace from Redis and the cluster topic for good, also while workers run.

    Example: questream namespaces delete tenant-a --yes
    """
    from questream.migration.deleting import delete_namespace, deletion_known_as
    from questream.tools.clusters import open_namespace
    from questream.tools.decisions import as_document
    from questream.tools.namespaces import describe

    known = deletion_known_as(change.settings, namespace, change.by.id)
    if known is not None:
        # Said again: it answers what it did.
        print_decided(known, change.as_json, {"namespace": namespace, "deleted": True})
        return
    store, chosen = open_namespace(change.settings, namespace)
    found = describe(store, chosen)
    document = {"namespace": chosen, "clusters": found.sizes.clusters, "aliases": found.sizes.aliases}
    if not change.as_json:
        print_line(f"{printable(chosen)}: {found.sizes.clusters:,} clusters, {found.sizes.aliases:,} aliases")
    if not (change.dry_run or change.yes or agrees("Delete it for good?")):
        raise QuestreamError("nothing was deleted", "say --yes to delete without being asked")
    if change.dry_run and change.as_json:
        print_json(document | {"deleted": False, "tombstones": None})
    if change.dry_run:
        return
    done = delete_namespace(change.settings, store, chosen, change.by)
    document |= {"deleted": True, "tombstones": done.tombstones}
    if change.as_json:
        print_json(document if done.operation is None else as_document(done.operation) | document)
        return
    number = "" if done.operation is None else f"operation {done.operation.number}: "
    print_line(f"{number}deleted, with {done.tombstones:,} tombstones in {change.settings.kafka.cluster_topic}")


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return printable("; ".join(map(str, value))) or "-"
        case int():
            return f"{value:,}"
        case _:
            return printable(str(value))
