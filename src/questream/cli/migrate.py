"""`questream migrate`: a namespace goes over to another model, and keeps its ids."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from questream.migration.moving import Moved
    from questream.migration.rebuilding import Verdict
    from questream.tools.migrating import Migration, Outlook

_EXAMPLES = 5


def migrate(
    to: Annotated[str, typer.Option("--to", metavar="MODEL", help="The model to move to: its name or folder.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    to_revision: Annotated[
        str | None, typer.Option(help="Its commit on the hub; default: the one that questream pins.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace to move; default: clusters.namespace of the settings.")
    ] = None,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="Embed the one text that Redis keeps of each cluster; read no topic.")
    ] = False,
    members: Annotated[
        int, typer.Option(min=1, help="Most questions of a cluster that are embedded, its first ones.")
    ] = 64,
    decisions: Annotated[
        int, typer.Option(min=1, help="How many of the newest decisions of each partition to look at.")
    ] = 1_000_000,
    shadow_questions: Annotated[
        int, typer.Option(min=0, help="Live questions to compare both models on before the switch.")
    ] = 500,
    shadow_seconds: Annotated[float, typer.Option(min=0, help="Wait no longer than this for them.")] = 60.0,
    retire_unread: Annotated[
        bool, typer.Option("--retire-unread", help="Retire clusters none of whose questions can be read any more.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Switch without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Move a namespace to another model while the stream goes on; every id stays, and it can be moved back.

    Its clusters are embedded anew beside the old ones from questions read again from Kafka, both models are compared
    on live questions, and one atomic step switches. Workers need both models: model.name the new one, model.former
    the old one. Without --yes it asks before the switch; without a terminal it only reports.
    Example: questream migrate --to sentence-transformers/all-mpnet-base-v2
    """
    from questream.tools.migrating import Migration

    settings = load(config, set_)
    migration = Migration(settings, namespace, to, to_revision, None if from_store else decisions, _Progress())
    if not migration.is_known_to_workers:
        remark(
            "these settings name that model neither as model.name nor as model.former: workers with the same settings "
            "would stop at the switch"
        )
    with migration:
        unread = migration.rebuild(members)
        verdicts: Counter[Verdict] = Counter()
        if migration.reads_topics and shadow_questions:
            remark(f"comparing both models on {shadow_questions:,} live questions, for {shadow_seconds:g} s at most")
            verdicts = migration.compare(shadow_questions, shadow_seconds)
        outlook = migration.outlook(unread, verdicts)
        if not as_json:
            _print(outlook, migration)
        moved = None
        try:
            if yes or (not as_json and _agreed(migration.namespace)):
                moved = migration.switch(retire_unread=retire_unread)
        finally:
            if as_json:
                print_json({**_document(outlook, migration), "moved": None if moved is None else asdict(moved)})
    if not as_json:
        _print_end(moved, migration)


def _document(outlook: Outlook, migration: Migration) -> dict[str, Any]:
    from questream.domain import format_cluster_id

    before, encoder = migration.before, migration.encoder
    return {
        "namespace": before.namespace,
        "from": {"model": before.model, "revision": before.model_revision, "generation": before.generation},
        "to": {"model": encoder.name, "revision": encoder.revision, "dimension": encoder.dimension},
        "clusters": outlook.clusters,
        "unread": [format_cluster_id(cluster_id) for cluster_id in outlook.unread],
        "compared": {
            "questions": outlook.compared,
            "agreement": round(outlook.agreement, 4) if outlook.compared else None,
            "elsewhere": outlook.verdicts["elsewhere"],
            "apart": outlook.verdicts["apart"],
            "together": outlook.verdicts["together"],
        },
        "merges": [[format_cluster_id(one), format_cluster_id(other)] for one, other in outlook.merges],
        "splits": [[format_cluster_id(one), round(score, 4)] for one, score in outlook.splits],
    }


def _print(outlook: Outlook, migration: Migration) -> None:
    from questream.domain import name_some

    verdicts, unread, merges, splits = outlook.verdicts, outlook.unread, outlook.merges, outlook.splits
    print_line(f"{outlook.clusters:,} clusters of {migration.namespace} embedded with {migration.encoder.name}")
    if unread:
        print_line(f"{len(unread):,} clusters have no question left to read: {name_some(unread)}")
    if outlook.compared:
        print_line(
            f"{outlook.compared:,} live questions compared: {outlook.agreement:.1%} decided alike, "
            f"{verdicts['elsewhere']:,} join another cluster, {verdicts['apart']:,} would open one, "
            f"{verdicts['together']:,} would join one instead of opening it"
        )
    else:
        print_line("no live question came to compare the models on")
    print_line(f"{len(merges):,} pairs of clusters would merge, {len(splits):,} clusters hold what it separates")
    rows = [[f"c{one} + c{other}", *_texts(migration, one, other)] for one, other in merges[:_EXAMPLES]]
    rows += [[f"c{one} ({score:.3f})", *_texts(migration, one), ""] for one, score in splits[:_EXAMPLES]]
    if rows:
        print_table(["clusters", "question", "and"], rows)


def _texts(migration: Migration, *cluster_ids: int) -> list[str]:
    states = migration.states(list(cluster_ids))
    found = [states.get(cluster_id) for cluster_id in cluster_ids]
    return [printable((state.label or state.representative or "") if state else "") for state in found]


def _agreed(namespace: str) -> bool:
    if not sys.stdin.isatty():
        remark("nothing was switched: --yes does it")
        return False
    return typer.confirm(f"Switch {namespace} now? Its workers must know both models", default=False)


def _print_end(moved: Moved | None, migration: Migration) -> None:
    if moved is None:
        print_line("nothing was changed")
        return
    retired = f", {moved.retired:,} retired" if moved.retired else ""
    print_line(
        f"switched: {moved.clusters:,} clusters under their ids{retired}; decisions waited {moved.held_seconds:.1f} s"
    )
    name, revision = migration.former_model
    print_line(
        f"back again: questream migrate --to {name}" + ("" if revision is None else f" --to-revision {revision}")
    )


class _Progress:
    """A bar on stderr while texts are embedded, and nothing between."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, count: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None and done < count:
            columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("", total=count)
            self._bar.start()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=count)
            if done >= count:
                self._bar.stop()
                self._bar = None
