"""Tools that decide of clusters: each is an operation, with the caller as its actor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

from mcp.types import ToolAnnotations
from pydantic import Field
from starlette.responses import Response

from questream.domain import Dismissible
from questream.operations import Decisions
from questream.operations.requests import Propose
from questream.server.access import Role
from questream.server.api.binding import QuestionIds, QuestionsRequest, decide_on_questions
from questream.server.api.communities import MergeRequest as MergeLevels
from questream.server.api.communities import MoveRequest, NodeIds, TargetId, decide_on_levels
from questream.server.api.communities import PinRequest as PinLevel
from questream.server.api.communities import SeparateRequest as SeparateLevels
from questream.server.api.history import Committed, Ruling, UndoRequest, rule, undo, unmerge
from questream.server.api.levels import LevelId, NamingRequest, label_community
from questream.server.api.operations import ClusterId, MergeRequest, Name, Result, operate
from questream.server.mcp.toolset import Caller, Namespace
from questream.server.services import read_cluster_id

Reason = Annotated[str, Field(max_length=1000, description="Why; the history keeps it.")]
OperationId = Annotated[str, Field(max_length=128, description="An id of your own: said again, it does nothing twice.")]
DryRun = Annotated[bool, Field(description="Tell what it would do, and change nothing.")]


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
        return (
            self.label_cluster,
            self.route_cluster,
            self.label_level,
            self.move_to_level,
            self.merge_levels,
            self.separate_levels,
            self.pin_level,
            self.unpin_level,
            self.pin_cluster,
            self.unpin_cluster,
            self.set_standing,
            self.dismiss_suggestion,
            self.represent_cluster,
            self.separate_clusters,
            self.merge_clusters,
            self.unmerge_cluster,
            self.reject_questions,
            self.move_questions,
            self.split_cluster,
            self.undo_operation,
        )

    def label_cluster(
        self,
        cluster_id: ClusterId,
        label: Annotated[Name, Field(description="Its name; an empty one removes it.")],
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Give a cluster a name."""
        number = read_cluster_id(cluster_id)
        return self._decide(namespace, reason, id, dry_run, lambda made: made.label(number, label, None))

    def route_cluster(
        self,
        cluster_id: ClusterId,
        route: Annotated[Name, Field(description="Where its questions go; an empty one removes it.")],
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Give a cluster a route: decisions tell it, so that other programs know where its questions go."""
        number = read_cluster_id(cluster_id)
        return self._decide(namespace, reason, id, dry_run, lambda made: made.label(number, None, route))

    def label_level(
        self,
        level_id: LevelId,
        label: Annotated[Name | None, Field(description="Its name; an empty one removes it.")] = None,
        route: Annotated[Name | None, Field(description="Where its questions go; an empty one removes it.")] = None,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Name an intent or a topic, or set its route: its clusters have both where they have none of their own."""
        request = NamingRequest(label=label, route=route, id=id, reason=reason, dry_run=dry_run)
        return label_community(self._caller.scope(namespace), level_id, request)

    def move_to_level(
        self,
        ids: NodeIds,
        target_id: TargetId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that clusters belong to an intent, or intents to a topic: they stay there, whatever is found anew."""
        request = MoveRequest(op="move", ids=ids, target_id=target_id, id=id, reason=reason, dry_run=dry_run)
        return decide_on_levels(self._caller.scope(namespace), request)

    def merge_levels(
        self,
        level_id: LevelId,
        other_id: LevelId,
        namespace: Namespace | None = None,
        drop_names: Annotated[bool, Field(description="The one that goes may lose its label and route.")] = False,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Make two intents, or two topics, one; the named, else the larger one's id survives."""
        request = MergeLevels(
            op="merge",
            level_id=level_id,
            other_id=other_id,
            drop_names=drop_names,
            id=id,
            reason=reason,
            dry_run=dry_run,
        )
        return decide_on_levels(self._caller.scope(namespace), request)

    def separate_levels(
        self,
        level_id: LevelId,
        other_id: LevelId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that two intents, or two topics, are different: they are never one, and what is in each stays there."""
        request = SeparateLevels(
            op="separate", level_id=level_id, other_id=other_id, id=id, reason=reason, dry_run=dry_run
        )
        return decide_on_levels(self._caller.scope(namespace), request)

    def pin_level(
        self,
        level_id: LevelId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Keep in an intent or a topic what is in it."""
        request = PinLevel(op="pin", level_id=level_id, id=id, reason=reason, dry_run=dry_run)
        return decide_on_levels(self._caller.scope(namespace), request)

    def unpin_level(
        self,
        level_id: LevelId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Let what is in an intent or a topic be found elsewhere again."""
        request = PinLevel(op="unpin", level_id=level_id, id=id, reason=reason, dry_run=dry_run)
        return decide_on_levels(self._caller.scope(namespace), request)

    def pin_cluster(
        self,
        cluster_id: ClusterId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Let a cluster never merge automatically."""
        number = read_cluster_id(cluster_id)
        return self._decide(namespace, reason, id, dry_run, lambda made: made.pin(number))

    def unpin_cluster(
        self,
        cluster_id: ClusterId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Let a pinned cluster merge automatically again."""
        number = read_cluster_id(cluster_id)
        return self._decide(namespace, reason, id, dry_run, lambda made: made.unpin(number))

    def set_standing(
        self,
        cluster_id: ClusterId,
        standing: Annotated[
            Literal["resolve", "reopen", "mute", "unmute"],
            Field(description="Dealt with, or open again; without events, or with them again."),
        ],
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that a cluster is dealt with or open again, or let it raise events or none."""
        number = read_cluster_id(cluster_id)
        decisions: dict[str, Callable[[Decisions, int], Propose]] = {
            "resolve": Decisions.resolve,
            "reopen": Decisions.reopen,
            "mute": Decisions.mute,
            "unmute": Decisions.unmute,
        }
        return self._decide(namespace, reason, id, dry_run, lambda made: decisions[standing](made, number))

    def dismiss_suggestion(
        self,
        cluster_id: ClusterId,
        suggestion: Annotated[Dismissible, Field(description="That it is named, or split.")],
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Let a suggestion about a cluster be made no more."""
        number = read_cluster_id(cluster_id)
        return self._decide(namespace, reason, id, dry_run, lambda made: made.dismiss(number, suggestion))

    def represent_cluster(
        self,
        cluster_id: ClusterId,
        question_id: Annotated[str, Field(min_length=1, max_length=1000, description="As its decision has it.")],
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Let a question stand for a cluster, in place of the one that opened it."""
        scope = self._caller.scope(namespace)
        scope.require(Role.OPERATOR)
        number = read_cluster_id(cluster_id)
        found = scope.services.asking.chosen(scope.namespace, question_id, None)
        return self._decide(
            namespace,
            reason,
            id,
            dry_run,
            lambda made: made.represent(number, found.text, found.place, found.cluster_id),
        )

    def separate_clusters(
        self,
        cluster_id: ClusterId,
        other_id: ClusterId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that two clusters are different: they never merge, nor does what they become."""
        one, other = read_cluster_id(cluster_id), read_cluster_id(other_id)
        return self._decide(namespace, reason, id, dry_run, lambda made: made.separate(one, other))

    def merge_clusters(
        self,
        cluster_id: ClusterId,
        other_id: ClusterId,
        namespace: Namespace | None = None,
        drop_names: Annotated[bool, Field(description="The one that goes may lose its label and route.")] = False,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Result:
        """Make two clusters one; the named, else the larger one's id survives."""
        request = MergeRequest(
            op="merge",
            cluster_id=cluster_id,
            other_id=other_id,
            drop_names=drop_names,
            id=id,
            reason=reason,
            dry_run=dry_run,
        )
        return operate(self._caller.scope(namespace), request, Response(), None)

    def unmerge_cluster(
        self,
        cluster_id: ClusterId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Let a cluster that was merged away stand by itself again; the two never merge automatically."""
        request = Ruling(id=id, reason=reason, dry_run=dry_run)
        return unmerge(self._caller.scope(namespace), read_cluster_id(cluster_id), request)

    def reject_questions(
        self,
        question_ids: QuestionIds,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that questions do not belong to their clusters: what is nearer to them than to the rest joins no more."""
        request = QuestionsRequest(op="reject", question_ids=question_ids, id=id, reason=reason, dry_run=dry_run)
        return decide_on_questions(self._caller.scope(namespace), request)

    def move_questions(
        self,
        question_ids: QuestionIds,
        target_id: ClusterId,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that questions belong to another cluster: what is near them goes there from then on."""
        request = QuestionsRequest(
            op="move", question_ids=question_ids, target_id=target_id, id=id, reason=reason, dry_run=dry_run
        )
        return decide_on_questions(self._caller.scope(namespace), request)

    def split_cluster(
        self,
        cluster_id: ClusterId,
        question_ids: QuestionIds,
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Say that questions are another part of a cluster: it is a cluster of its own, and never merges back."""
        request = QuestionsRequest(
            op="split", question_ids=question_ids, cluster_id=cluster_id, id=id, reason=reason, dry_run=dry_run
        )
        return decide_on_questions(self._caller.scope(namespace), request)

    def undo_operation(
        self,
        operation: Annotated[int, Field(ge=1, le=2**53, description="A number of cluster_history.")],
        namespace: Namespace | None = None,
        reason: Reason = "",
        id: OperationId = "",
        dry_run: DryRun = False,
    ) -> Committed:
        """Take back what somebody decided of clusters, where it still stands."""
        request = UndoRequest(id=id, reason=reason, dry_run=dry_run)
        return undo(self._caller.scope(namespace), operation, request)

    def _decide(
        self, namespace: str | None, reason: str, id: str, dry_run: bool, propose: Callable[[Decisions], Propose]
    ) -> Committed:
        return rule(self._caller.scope(namespace), Ruling(id=id, reason=reason, dry_run=dry_run), propose)
