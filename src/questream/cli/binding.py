"""`questream clusters reject|move|split|represent`: what people decide of questions binds those that come later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.changes import Change, change_command
from questream.cli.clusters import ClusterArgument, clusters, is_level, number_of
from questream.cli.decisions import decide_as_asked, decide_in, print_decided, print_proposed
from questream.cli.output import agrees, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.encoder import Encoder
    from questream.operations import Decisions, KnownQuestion
    from questream.operations.requests import Propose
    from questream.settings import Settings
    from questream.store.protocol import Store

__all__ = ["clusters"]

# As `questream.operations.communities.OWN`, which no command imports before it runs.
OWN = "own"
QuestionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="QUESTION...", help="Ids of questions, as their decisions have them.")
]
TextOption = Annotated[
    list[str] | None, typer.Option("--text", help="A question that is nowhere else; may be repeated.")
]
OfOption = Annotated[
    str | None, typer.Option("--cluster", help="The cluster of the texts; default: the one that each would join now.")
]


@change_command(clusters, "reject", previews=True)
def reject(
    change: Change,
    questions: QuestionsArgument = None,
    text: TextOption = None,
    cluster: OfOption = None,
) -> None:
    """Say that questions do not belong to their clusters: what is nearer to them than to the members joins no more.

    Example: questream clusters reject q-4711 --reason "asks for a refund"
    """
    of = None if cluster is None else number_of(cluster)
    _decide(change, questions or [], text or [], of, lambda decisions, found: decisions.reject(found), _with_next_best)


@change_command(clusters, "move", previews=True)
def move(
    change: Change,
    questions: Annotated[
        list[str],
        typer.Argument(
            metavar="QUESTION... CLUSTER",
            help="Ids of questions, then their cluster; or ids of clusters, then their intent; or of intents, then"
            " their topic. `own`: an intent or a topic of their own.",
        ),
    ],
    text: TextOption = None,
    cluster: OfOption = None,
) -> None:
    """Say that questions belong to another cluster: what is near them goes there from then on.

    Clusters that are moved to an intent, and intents to a topic, stay there.

    Example: questream clusters move q-4711 q-4712 c42
    """
    if questions[-1] == OWN or is_level(questions[-1]):
        if len(questions) < 2 or text or cluster:
            raise typer.BadParameter("name what is moved, clusters or intents, and then where to")
        decide_as_asked(change, lambda by: by.move_nodes(questions[:-1], questions[-1]))
        return
    target, of = number_of(questions[-1]), None if cluster is None else number_of(cluster)
    _decide(change, questions[:-1], text or [], of, lambda decisions, found: decisions.move(found, target))


@change_command(clusters, "split", previews=True)
def split(
    change: Change,
    cluster: ClusterArgument,
    questions: QuestionsArgument = None,
    text: TextOption = None,
) -> None:
    """Say that questions are another part of a cluster: it is a cluster of its own from then on, and never merges back.

    Without questions, those it keeps are put into two groups; the smaller is split off when you agree.

    Example: questream clusters split c17 q-4711 q-4712
    """
    whole = number_of(cluster)
    if not questions and not text:
        _split_as_proposed(change, whole)
        return
    _decide(change, questions or [], text or [], whole, lambda decisions, found: decisions.split(whole, found))


@change_command(clusters, "represent")
def represent(
    change: Change,
    cluster: ClusterArgument,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="Id of a question, as its decision has it.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Another text that stands for the cluster.")] = None,
) -> None:
    """Let a question stand for a cluster, in place of the one that opened it, and for what the cluster becomes.

    Example: questream clusters represent c17 q-4711
    """
    from questream.tools.clusters import lineage, open_namespace
    from questream.tools.questions import chosen_question

    number = number_of(cluster)
    store, chosen = open_namespace(change.settings, change.namespace)
    lineage(store, chosen, number)
    found = chosen_question(change.settings, chosen, question, text)
    decide_in(
        store, chosen, change, lambda decisions: decisions.represent(number, found.text, found.place, found.cluster_id)
    )


LookUp = Callable[["Settings", "Store", str, "Encoder", "list[KnownQuestion]"], "list[KnownQuestion]"]


def _with_next_best(
    settings: Settings, store: Store, namespace: str, encoder: Encoder, found: list[KnownQuestion]
) -> list[KnownQuestion]:
    from questream.deciding.config import rules_of
    from questream.operations.asking import would_join

    mirror, rules = store.load(namespace), rules_of(settings, encoder)
    return [replace(one, would_join=would_join(mirror, rules, one)) for one in found]


def _split_as_proposed(change: Change, whole: int) -> None:
    from questream.operations import Decisions
    from questream.tools.asking import encoder_in
    from questream.tools.clusters import lineage, open_namespace
    from questream.tools.decisions import decide, known_as, preview
    from questream.tools.splitting import proposed_part

    store, chosen = open_namespace(change.settings, change.namespace)
    state = lineage(store, chosen, whole)[-1]
    encoder = encoder_in(change.settings, store, chosen)
    found = proposed_part(change.settings, chosen, state, encoder)
    decisions = Decisions(store, chosen, change.by)
    propose = decisions.split_off(whole, found)
    if change.dry_run:
        print_proposed(store, chosen, change, preview(decisions, chosen, propose))
        return
    if not change.yes and known_as(store, chosen, change.by.id) is None:
        for one in found:
            remark(f"would be another part: {printable(one.text or one.question_id or '')}")
        if not agrees(f"Split {len(found)} questions off?"):
            raise QuestreamError("nothing was split off", "say --yes to split without being asked, or name questions")
    print_decided(decide(decisions, chosen, propose), change.as_json)


def _decide(
    change: Change,
    question_ids: Sequence[str],
    texts: Sequence[str],
    cluster_id: int | None,
    propose: Callable[[Decisions, Sequence[KnownQuestion]], Propose],
    look_up: LookUp | None = None,
) -> None:
    from questream.deciding.config import rules_of
    from questream.operations import Decisions
    from questream.tools.asking import encoder_in
    from questream.tools.clusters import lineage, open_namespace
    from questream.tools.decisions import preview
    from questream.tools.questions import given_questions, known_questions

    if not question_ids and not texts:
        raise typer.BadParameter("name questions by their ids, or give --text")
    store, chosen = open_namespace(change.settings, change.namespace)
    if cluster_id is not None:
        lineage(store, chosen, cluster_id)
    encoder = encoder_in(change.settings, store, chosen)
    found = known_questions(change.settings, chosen, encoder, question_ids) if question_ids else []
    found += given_questions(change.settings, store, chosen, encoder, texts, cluster_id)
    if look_up is not None:
        found = look_up(change.settings, store, chosen, encoder, found)
    if not change.dry_run:
        decide_in(store, chosen, change, lambda decisions: propose(decisions, found))
        return
    decisions, rules = Decisions(store, chosen, change.by), rules_of(change.settings, encoder)
    proposed = preview(decisions, chosen, propose(decisions, found))
    print_proposed(store, chosen, change, proposed, lambda: (encoder, rules))
