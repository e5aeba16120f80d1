"""`questream ask`: where a question would go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark

if TYPE_CHECKING:
    from questream.domain import NamespaceState
    from questream.operations import Answer, Candidate
    from questream.settings import ModelSettings, Settings


def ask(
    text: Annotated[str, typer.Argument(help="The question.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace to ask; default: clusters.namespace of the settings.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which cluster a question would join and the five next ones; nothing is learned or counted.

    Example: questream ask "How do I reset my PIN?"
    """
    from questream.deciding.config import rules_of
    from questream.encoder import load_encoder
    from questream.operations import ask as look_up
    from questream.store.redis.store import open_store

    settings = load(config, set_)
    _require_question(text, settings)
    # Before the model, which takes seconds to load.
    store = open_store(settings.redis)
    store.ping()
    name = namespace or settings.clusters.namespace
    encoder = load_encoder(_model_of(settings.model, store.namespace_state(name)))
    answer = look_up(store, name, encoder, rules_of(settings, encoder), text)
    if as_json:
        print_json(_document(answer))
        return
    _print(answer)


def _require_question(text: str, settings: Settings) -> None:
    """Raise QuestreamError for a text that a worker would refuse, with the worker's own reason."""
    from questream.domain import Record, Source
    from questream.errors import BadRecord, QuestreamError
    from questream.records import QuestionDecoder

    plain = settings.input.model_copy(update={"format": "text"})
    try:
        QuestionDecoder(plain, settings.clusters.namespace).decode(Record(Source("", 0, 0, 0), None, text.encode()))
    except BadRecord as error:
        raise QuestreamError(f"a worker would refuse it: {error} ({error.reason})") from None


def _model_of(model: ModelSettings, namespace: NamespaceState | None) -> ModelSettings:
    """The settings of the model that the namespace is built with, as far as they know it."""
    from questream.encoder.files import locate_model

    former = model.of_former
    if former is None or namespace is None:
        return model
    files = locate_model(former)
    return former if (files.name, files.revision) == (namespace.model, namespace.model_revision) else model


def _document(answer: Answer) -> dict[str, Any]:
    rows = [_row(candidate) for candidate in answer.candidates]
    return {
        "cluster": rows[0] if answer.joins else None,
        "nearest": rows,
        "truncated": answer.truncated,
        "unknown_share": round(answer.unknown_share, 6),
    }


def _row(candidate: Candidate) -> dict[str, Any]:
    from questream.domain import format_cluster_id

    state = candidate.state
    return {
        "cluster_id": format_cluster_id(state.cluster_id),
        "similarity": round(candidate.similarity, 4),
        "size": state.size,
        "label": state.label,
        "route": state.route,
        "representative": state.representative,
    }


def _print(answer: Answer) -> None:
    rows = [_row(candidate) for candidate in answer.candidates]
    if answer.joins:
        print_line(f"It would join {rows[0]['cluster_id']}.")
    else:
        print_line("It would open a new cluster.")
    print_table(
        ["cluster", "similarity#", "size#", "label", "question"],
        ([row["cluster_id"], f"{row['similarity']:.3f}", f"{row['size']:,}", *_texts(row)] for row in rows),
    )
    if answer.truncated:
        remark("the text is longer than the model reads; its end was left out")
    if answer.unknown_share:
        remark(f"the model does not know {answer.unknown_share:.0%} of its words")


def _texts(row: dict[str, Any]) -> list[str]:
    return [printable(row["label"] or ""), printable(row["representative"] or "")]
