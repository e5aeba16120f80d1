"""Tools that decide of clusters: each is an operation, with the caller as its actor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Concatenate

from mcp.types import ToolAnnotations
from pydantic import Field
from starlette.responses import Response

from questream.domain import Dismissible
from questream.marks import StatusKind
from questream.server.access import Role
from questream.server.api import communities, operations
from questream.server.api.binding import QuestionIds, QuestionsRequest, decide_on_questions
from questream.server.api.communities import NodeIds, TargetId, decide_on_levels, label_community
from questream.server.api.history import Committed, Ruling, UndoRequest, rule, undo, unmerge
from questream.server.api.levels import LevelId
from questream.server.api.operations import ClusterId, Name, Result, ask_for, operate
from questream.server.mcp.toolset import Caller, Namespace
from questream.server.services import Scope, read_cluster_id
from questream.signatures import as_called, parameters_of
from questream.tools.unmerging import Joined


@dataclass(frozen=True, slots=True)
class Change:
    """The request of an operation: its namespace, and `how`, its id, its reason and whether it is only tried."""

    scope: Scope
    how: Mapping[str, Any]


def label_cluster(
    change: Change,
    cluster_id: ClusterId,
    label: Annotated[Name, Field(description="Its name; an empty one removes it.")],
) -> Committed:
    """Give a cluster a name."""
    return _decide(change, operations.LabelRequest(op="label", cluster_id=cluster_id, label=label))


def route_cluster(
    change: Change,
    cluster_id: ClusterId,
    route: Annotated[Name, Field(description="Where its questions go; an empty one removes it.")],
) -> Committed:
    """Give a cluster a route: decisions carry it, so that other programs know where its questions go."""
    return _decide(change, operations.RouteRequest(op="route", cluster_id=cluster_id, route=route))


def label_level(
    change: Change,
    level_id: LevelId,
    label: Annotated[Name | None, Field(description="Its name; an empty one removes it.")] = None,
    route: Annotated[Name | None, Field(description="Where its questions go; an empty one removes it.")] = None,
) -> Committed:
    """Name an intent or a topic, or set its route: its clusters have both where they have none of their own."""
    request = communities.NamingRequest(label=label, route=route, **change.how)
    return label_community(change.scope, level_id, request)


def move_to_level(change: Change, ids: NodeIds, target_id: TargetId) -> Committed:
    """Say that clusters belong to an intent, or intents to a topic: they stay there, whatever is found anew."""
    request = communities.MoveRequest(op="move", ids=ids, target_id=target_id, **change.how)
    return decide_on_levels(change.scope, request)


def merge_levels(
    change: Change,
    level_id: LevelId,
    other_id: LevelId,
    drop_names: Annotated[bool, Field(description="The one that goes may lose its label and route.")] = False,
) -> Committed:
    """Make two intents, or two topics, one; the named, else the larger one's id survives."""
    request = communities.MergeRequest(
        op="merge", level_id=level_id, other_id=other_id, drop_names=drop_names, **change.how
    )
    return decide_on_levels(change.scope, request)


def separate_levels(change: Change, level_id: LevelId, other_id: LevelId) -> Committed:
    """Say that two intents, or two topics, are different: they are never one, and what is in each stays there."""
    request = communities.SeparateRequest(op="separate", level_id=level_id, other_id=other_id, **change.how)
    return decide_on_levels(change.scope, request)


def pin_level(change: Change, level_id: LevelId) -> Committed:
    """Keep in an intent or a topic what is in it."""
    request = communities.PinRequest(op="pin", level_id=level_id, **change.how)
    return decide_on_levels(change.scope, request)


def unpin_level(change: Change, level_id: LevelId) -> Committed:
    """Let what is in an intent or a topic be found elsewhere again."""
    request = communities.PinRequest(op="unpin", level_id=level_id, **change.how)
    return decide_on_levels(change.scope, request)


def pin_cluster(change: Change, cluster_id: ClusterId) -> Committed:
    """Pin a cluster: it never merges automatically."""
    return _decide(change, operations.PinRequest(op="pin", cluster_id=cluster_id))


def unpin_cluster(change: Change, cluster_id: ClusterId) -> Committed:
    """Unpin a cluster: it may merge automatically again."""
    return _decide(change, operations.PinRequest(op="unpin", cluster_id=cluster_id))


def set_standing(
    change: Change,
    cluster_id: ClusterId,
    standing: Annotated[
        StatusKind,
        Field(description="Dealt with, or open again; without events, or with them again."),
    ],
) -> Committed:
    """Mark a cluster as resolved or open, or mute or unmute its events."""
    return _decide(change, operations.StandingRequest(op=standing, cluster_id=cluster_id))


def dismiss_suggestion(
    change: Change,
    cluster_id: ClusterId,
    suggestion: Annotated[Dismissible, Field(description="That it is named, or split.")],
) -> Committed:
    """Let a suggestion about a cluster be made no more."""
    return _decide(change, operations.DismissRequest(op="dismiss", cluster_id=cluster_id, suggestion=suggestion))


def represent_cluster(
    change: Change,
    cluster_id: ClusterId,
    question_id: Annotated[str, Field(min_length=1, max_length=1000, description="As its decision has it.")],
) -> Committed:
    """Let a question stand for a cluster, in place of the one that opened it."""
    return _decide(change, operations.RepresentRequest(op="represent", cluster_id=cluster_id, question_id=question_id))


def separate_clusters(change: Change, cluster_id: ClusterId, other_id: ClusterId) -> Committed:
    """Separate two clusters: neither they nor the survivors of their merges ever merge."""
    return _decide(change, operations.SeparateRequest(op="separate", cluster_id=cluster_id, other_id=other_id))


def merge_clusters(
    change: Change,
    cluster_id: ClusterId,
    other_id: ClusterId,
    drop_names: Annotated[bool, Field(description="The one that goes may lose its label and route.")] = False,
) -> Result:
    """Make two clusters one; the named, else the larger one's id survives."""
    request = operations.MergeRequest(
        op="merge", cluster_id=cluster_id, other_id=other_id, drop_names=drop_names, **change.how
    )
    return operate(change.scope, request, Response(), None)


def unmerge_cluster(change: Change, cluster_id: ClusterId) -> Committed:
    """Undo a merge: restore a cluster that was merged into another; the two never merge automatically again."""
    request = Ruling(**change.how)
    return unmerge(change.scope, read_cluster_id(cluster_id), request)


def reject_questions(change: Change, question_ids: QuestionIds) -> Committed:
    """Say that questions do not belong to their clusters: what is nearer to them than to the rest joins no more."""
    request = QuestionsRequest(op="reject", question_ids=question_ids, **change.how)
    return decide_on_questions(change.scope, request)


def move_questions(change: Change, question_ids: QuestionIds, target_id: ClusterId) -> Committed:
    """Move questions to another cluster: later ones near them join it."""
    request = QuestionsRequest(op="move", question_ids=question_ids, target_id=target_id, **change.how)
    return decide_on_questions(change.scope, request)


def split_cluster(
    change: Change,
    cluster_id: ClusterId,
    question_ids: QuestionIds,
    nearer: Annotated[
        bool, Field(description="With those that it keeps and that are nearer to these than to the rest.")
    ] = False,
) -> Committed:
    """Say that questions are another part of a cluster: it is a cluster of its own, and never merges back."""
    request = QuestionsRequest(
        op="split", question_ids=question_ids, cluster_id=cluster_id, nearer=nearer, **change.how
    )
    return decide_on_questions(change.scope, request)


def undo_operation(
    change: Change, operation: Annotated[int, Field(ge=1, le=2**53, description="A number of cluster_history.")]
) -> Committed:
    """Undo an operation, if no later one changed its result."""
    request = UndoRequest(**change.how)
    return undo(change.scope, operation, request)


_OPERATIONS: tuple[Callable[Concatenate[Change, ...], Committed | Result], ...] = (
    label_cluster,
    route_cluster,
    label_level,
    move_to_level,
    merge_levels,
    separate_levels,
    pin_level,
    unpin_level,
    pin_cluster,
    unpin_cluster,
    set_standing,
    dismiss_suggestion,
    represent_cluster,
    separate_clusters,
    merge_clusters,
    unmerge_cluster,
    reject_questions,
    move_questions,
    split_cluster,
    undo_operation,
)


class Writes:
    """The operations. All need the role operator in the namespace, and are refused without it."""

    annotations: ClassVar[ToolAnnotations] = ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
    )

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def tools(self) -> Sequence[Callable[..., object]]:
        """Each of them."""
        return [self._tool(decide) for decide in _OPERATIONS]

    def _tool(self, decide: Callable[Concatenate[Change, ...], Committed | Result]) -> Callable[..., object]:
        """A tool with the parameters of `decide`, after its `Change`, and those that make one."""

        def tool(*, namespace: str | None, reason: str, id: str, dry_run: bool, **own: Any) -> Committed | Result:
            how = {"id": id, "reason": reason, "dry_run": dry_run}
            return decide(Change(self._caller.scope(namespace), how), **own)

        return as_called(tool, decide, [*parameters_of(decide)[1:], *parameters_of(_asked_for)])


def _asked_for(
    namespace: Namespace | None = None,
    reason: Annotated[str, Field(max_length=1000, description="Reason, kept in the history.")] = "",
    id: Annotated[
        str, Field(max_length=128, description="Idempotency key: a repeated call returns the result of the first one.")
    ] = "",
    dry_run: Annotated[bool, Field(description="Return what it would do, and change nothing.")] = False,
) -> None:
    """Only its parameters are used: they are those of every operation."""


def _decide(change: Change, request: operations.AnyRequest) -> Committed:
    change.scope.require(Role.OPERATOR)
    return rule(change.scope, Ruling(**change.how), ask_for(request, change.scope, Joined()))
