"""`questream migrate`: a namespace goes over to another model, and keeps its ids."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from questream.broker.kafka_python.decided import DecidedTopics
    from questream.domain import ClusterState, NamespaceState
    from questream.encoder import Encoder
    from questream.migration.moving import Moved
    from questream.migration.rebuilding import Rebuilding, Verdict
    from questream.settings import ModelSettings
    from questream.store.redis.store import RedisStore

_FOLLOW_STORE_SECONDS = 5.0
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
    """Move a namespace to another model while the stream goes on: every id stays, and the way back is the same.

    Its clusters are embedded anew beside the old ones from questions read again from Kafka, both models are compared
    on live questions, and one atomic step switches. Workers need both models: model.name the new one, model.former
    the old one. Without --yes it asks before the switch; without a terminal it only reports.
    Example: questream migrate --to sentence-transformers/all-mpnet-base-v2
    """
    from questream.broker.kafka_python.decided import DecidedTopics
    from questream.deciding.config import namespace_config
    from questream.encoder import load_encoder
    from questream.migration.moving import move
    from questream.migration.rebuilding import Rebuilding
    from questream.store.redis.store import open_store

    settings = load(config, set_)
    name = namespace or settings.clusters.namespace
    store = open_store(settings.redis, settings.clusters.log_entries)
    before = store.namespace_state(name)
    if before is None:
        raise QuestreamError(f"there is no namespace {name!r}; `questream clusters list` shows those there are")
    encoder = load_encoder(_model_to(settings.model, to, to_revision))
    _require_another(before, encoder)
    _warn_of_workers(settings.model, encoder)
    built = namespace_config(settings, encoder)
    progress = _Progress()
    with nullcontext() if from_store else DecidedTopics(settings, name, decisions) as topics:
        rebuilding = Rebuilding(store, name, topics, encoder, built.rules, progress)
        rebuilding.read_history(members)
        rebuilding.read_rest()
        unread = rebuilding.complete(list(store.summaries(name)))
        verdicts = _shadow(rebuilding, topics, shadow_questions, shadow_seconds)
        outlook = _outlook(before, encoder, rebuilding, unread, verdicts)
        if not as_json:
            _print(outlook, unread, store, name)
        moved = None
        try:
            if yes or (not as_json and _agreed(name)):
                moved = move(settings, store, name, rebuilding, built.identity, retire_unread=retire_unread)
        finally:
            if as_json:
                print_json({**outlook, "moved": None if moved is None else asdict(moved)})
    if not as_json:
        _print_end(moved, _way_back(settings.model, before))


def _model_to(model: ModelSettings, to: str, revision: str | None) -> ModelSettings:
    """The settings of the model to move to; what the workers' settings say of it holds, if it is one of theirs."""
    of_former = model.of_former
    if revision is None and to == model.name:
        revision = model.revision
    elif revision is None and of_former is not None and to == of_former.name:
        revision = of_former.revision
    return model.model_copy(update={"name": to, "revision": revision})


def _warn_of_workers(model: ModelSettings, encoder: Encoder) -> None:
    if not any(_is(known, encoder.name, encoder.revision) for known in (model, model.of_former)):
        remark(
            "these settings name that model neither as model.name nor as model.former: workers with the same settings "
            "would stop at the switch"
        )


def _way_back(model: ModelSettings, before: NamespaceState) -> str:
    """The options that name the model that the namespace had."""
    for known in (model, model.of_former):
        if known is not None and _is(known, before.model, before.model_revision):
            return f"--to {known.name}"
    return f"--to {before.model} --to-revision {before.model_revision}"


def _is(model: ModelSettings | None, name: str, revision: str) -> bool:
    """Whether these settings lead to that model; of one on the hub, which is not asked, by its name alone."""
    from questream.encoder.files import locate_model

    if model is None or not Path(model.name).is_dir():
        return model is not None and model.name == name
    files = locate_model(model)
    return (files.name, files.revision) == (name, revision)


def _require_another(before: NamespaceState, encoder: Encoder) -> None:
    if (before.model, before.model_revision) == (encoder.name, encoder.revision):
        raise QuestreamError(f"namespace {before.namespace!r} is built with {before.model!r} already")


def _shadow(rebuilding: Rebuilding, topics: DecidedTopics | None, questions: int, seconds: float) -> Counter[Verdict]:
    """What the new model says to live questions, while the old one decides them."""
    verdicts: Counter[Verdict] = Counter()
    if topics is None or not questions:
        return verdicts
    remark(f"comparing both models on {questions:,} live questions, for {seconds:g} s at most")
    deadline, next_follow = time.monotonic() + seconds, 0.0
    while verdicts.total() < questions and time.monotonic() < deadline:
        verdicts.update(rebuilding.read_news())
        if time.monotonic() > next_follow:
            rebuilding.follow_store()
            next_follow = time.monotonic() + _FOLLOW_STORE_SECONDS
    return verdicts


def _outlook(
    before: NamespaceState, encoder: Encoder, rebuilding: Rebuilding, unread: Sequence[int], verdicts: Counter[Verdict]
) -> dict[str, Any]:
    from questream.domain import format_cluster_id

    compared = verdicts.total()
    return {
        "namespace": before.namespace,
        "from": {"model": before.model, "revision": before.model_revision, "generation": before.generation},
        "to": {"model": encoder.name, "revision": encoder.revision, "dimension": encoder.dimension},
        "clusters": len(rebuilding.centroids),
        "unread": [format_cluster_id(cluster_id) for cluster_id in unread],
        "compared": {
            "questions": compared,
            "agreement": round(verdicts["same"] / compared, 4) if compared else None,
            "elsewhere": verdicts["elsewhere"],
            "apart": verdicts["apart"],
            "together": verdicts["together"],
        },
        "merges": [[format_cluster_id(m.survivor), format_cluster_id(m.loser)] for m in rebuilding.centroids.merges()],
        "splits": [[format_cluster_id(i), round(score, 4)] for i, score in rebuilding.centroids.loose()],
    }


def _print(outlook: dict[str, Any], unread: Sequence[int], store: RedisStore, namespace: str) -> None:
    from questream.domain import name_some

    compared, merges, splits = outlook["compared"], outlook["merges"], outlook["splits"]
    print_line(f"{outlook['clusters']:,} clusters of {namespace} embedded with {outlook['to']['model']}")
    if unread:
        print_line(f"{len(unread):,} clusters have no question left to read: {name_some(unread)}")
    if compared["questions"]:
        print_line(
            f"{compared['questions']:,} live questions compared: {compared['agreement']:.1%} decided alike, "
            f"{compared['elsewhere']:,} join another cluster, {compared['apart']:,} would open one, "
            f"{compared['together']:,} would join one instead of opening it"
        )
    else:
        print_line("no live question came to compare the models on")
    print_line(f"{len(merges):,} pairs of clusters would merge, {len(splits):,} clusters hold what it tells apart")
    rows = [[f"{one} + {other}", *_texts(store, namespace, [one, other])] for one, other in merges[:_EXAMPLES]]
    rows += [[f"{one} ({score:.3f})", *_texts(store, namespace, [one]), ""] for one, score in splits[:_EXAMPLES]]
    if rows:
        print_table(["clusters", "question", "and"], rows)


def _texts(store: RedisStore, namespace: str, names: Sequence[str]) -> list[str]:
    from questream.domain import parse_cluster_id

    states: dict[int, ClusterState] = {
        state.cluster_id: state for state in store.states(namespace, [parse_cluster_id(name) for name in names])
    }
    found = [states.get(parse_cluster_id(name)) for name in names]
    return [printable((state.label or state.representative or "") if state else "") for state in found]


def _agreed(namespace: str) -> bool:
    if not sys.stdin.isatty():
        remark("nothing was switched: --yes does it")
        return False
    return typer.confirm(f"Switch {namespace} now? Its workers must know both models", default=False)


def _print_end(moved: Moved | None, way_back: str) -> None:
    if moved is None:
        print_line("nothing was changed")
        return
    retired = f", {moved.retired:,} retired" if moved.retired else ""
    print_line(
        f"switched: {moved.clusters:,} clusters under their ids{retired}; decisions waited {moved.held_seconds:.1f} s"
    )
    print_line(f"back again: questream migrate {way_back}")


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
