"""`questream clusters reject|move|split|represent`: what people decide of questions binds those that come later."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.changes import Change, change_command
from questream.cli.clusters import ClusterArgument, clusters, is_level, number_of
from questream.cli.decisions import decide_as_asked, decide_in, print_proposed
from questream.cli.output import agrees, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.tools.named_questions import Named, QuestionOp

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
    """Reject questions from their clusters: later ones nearer to them than to the members do not join.

    Example: questream clusters reject q-4711 --reason "asks for a refund"
    """
    of = None if cluster is None else number_of(cluster)
    _decide(change, _named("reject", questions, text, of))


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
    """Move questions to another cluster: later ones near them join it.

    Clusters that are moved to an intent, and intents to a topic, stay there.

    Example: questream clusters move q-4711 q-4712 c42
    """
    if questions[-1] == OWN or is_level(questions[-1]):
        if len(questions) < 2 or text or cluster:
            raise typer.BadParameter("name what is moved, clusters or intents, and then where to")
        decide_as_asked(change, lambda by: by.move_nodes(questions[:-1], questions[-1]))
        return
    target, of = number_of(questions[-1]), None if cluster is None else number_of(cluster)
    _decide(change, _named("move", questions[:-1], text, of, target))


@change_command(clusters, "split", previews=True)
def split(
    change: Change,
    cluster: ClusterArgument,
    questions: QuestionsArgument = None,
    text: TextOption = None,
    nearer: Annotated[
        bool, typer.Option("--nearer", help="With those that it keeps and that are nearer to these than to the rest.")
    ] = False,
) -> None:
    """Split questions off as a cluster of their own, which never merges back.

    With --text, or --nearer, those it keeps go along that are nearer to the examples than to the rest.
    Without questions, those it keeps are put into two groups; the smaller is split off when you agree.

    Example: questream clusters split c17 q-4711 q-4712
    """
    _decide(change, _named("split", questions, text, number_of(cluster), nearer=nearer))


@change_command(clusters, "represent")
def represent(
    change: Change,
    cluster: ClusterArgument,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="Id of a question, as its decision has it.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Another text that represents the cluster.")] = None,
) -> None:
    """Choose the representative of a cluster, in place of the question that opened it.

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


def _decide(change: Change, named: Named) -> None:
    from questream.deciding.config import rules_of
    from questream.operations import Decisions
    from questream.tools.clusters import lineage, open_namespace
    from questream.tools.decisions import known_as, preview
    from questream.tools.named_questions import Finding, find

    store, chosen = open_namespace(change.settings, change.namespace)
    is_known = known_as(store, chosen, change.by.id) is not None
    if named.cluster_id is not None and not is_known:
        lineage(store, chosen, named.cluster_id)
    finding = Finding(change.settings, store, chosen)
    found = cache(lambda: find(named, chosen, finding))
    if change.dry_run:
        decisions = Decisions(store, chosen, change.by)
        proposed = preview(decisions, chosen, named.proposed(decisions, found))
        print_proposed(
            store, chosen, change, proposed, lambda: (finding.encoder, rules_of(change.settings, finding.encoder))
        )
        return
    if named.is_proposed and not change.yes and not is_known:
        for one in found():
            remark(f"would be another part: {printable(one.text or one.question_id or '')}")
        if not agrees(f"Split {len(found())} questions off?"):
            raise QuestreamError("nothing was split off", "say --yes to split without being asked, or name questions")
    decide_in(store, chosen, change, lambda decisions: named.proposed(decisions, found))


def _named(
    op: QuestionOp,
    questions: Sequence[str] | None,
    texts: Sequence[str] | None,
    cluster_id: int | None,
    target_id: int | None = None,
    nearer: bool = False,
) -> Named:
    from questream.tools.named_questions import Named

    named = Named(op, tuple(questions or ()), tuple(texts or ()), cluster_id, target_id, nearer)
    if named.is_proposed and op != "split":
        raise typer.BadParameter("name questions by their ids, or give --text")
    return named
