"""The operations on clusters, and their undo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from questream.domain import Dismissible, format_cluster_id
from questream.operations import By
from questream.server.access import Role
from questream.server.api.clusters import Chosen
from questream.server.api.conditions import IfMatch, Seen
from questream.server.api.effects import (
    Corrected,
    LookedAt,
    RulesEffect,
    Unknown,
    effect_of,
    rules_effect_of,
)
from questream.server.api.operations import DryRun, OperationId, Reason
from questream.server.operating import Ask
from questream.server.problems import CONFLICTS
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.store.protocol import OPERATIONS_KEPT
from questream.tools.decisions import as_document, history
from questream.tools.previewing import OperationEffect
from questream.tools.unmerging import merged_away

router = APIRouter(tags=["operations"])

Limit = Annotated[int, Query(ge=1, le=OPERATIONS_KEPT)]


class DecidedOf(BaseModel):
    """The ruling of a cluster."""

    label: str | None
    route: str | None
    pinned: bool
    separations: list[str]
    muted: bool = False
    resolved_size: int | None = None
    exemplars: list[dict[str, str]] = []
    represented_by: Chosen | None = None
    threshold: float | None = None
    dismissed: list[Dismissible] = []
    kept_in: list[str] = []


class RulesChanged(BaseModel):
    """The rules of the namespace that were set before and after, by name."""

    before: dict[str, float | str]
    after: dict[str, float | str]


class NamesOf(BaseModel):
    """Label and route of an intent or a topic."""

    label: str | None
    route: str | None


class PlaceOf(BaseModel):
    """The intent or topic that a cluster or an intent was in and is in, none where it is in none."""

    before: str | None
    after: str | None


class LevelsChanged(BaseModel):
    """Label and route of intents and topics before and after, by id, and what people moved."""

    before: dict[str, NamesOf]
    after: dict[str, NamesOf]
    places: dict[str, PlaceOf] = {}


class Committed(BaseModel):
    """An operation; `operation` is its number, null where it is only proposed, by which it is undone."""

    operation: int | None
    id: str
    kind: str
    actor: str
    reason: str
    time: str | None
    undoes: int | None
    undone_by: int | None
    survivor: str | None = None
    parted: str | None = None
    before: dict[str, DecidedOf]
    after: dict[str, DecidedOf]
    rules: RulesChanged | None = None
    levels: LevelsChanged | None = None
    corrections: list[Corrected] = []
    effect: OperationEffect | None = None
    rules_effect: RulesEffect | None = None
    unknown: Unknown = None


class History(BaseModel):
    """Operations, the newest first."""

    operations: list[Committed]


class Ruling(BaseModel):
    """The fields of every request for an operation."""

    model_config = ConfigDict(extra="forbid")

    id: OperationId = ""
    reason: Reason = ""
    dry_run: DryRun = False
    questions: LookedAt = 0


class UndoRequest(Ruling):
    """Undo an operation; its changes must still be in force."""


def history_of(scope: Scope, limit: int, cluster_id: int | None = None) -> History:
    """The last operations, of one cluster or of all."""
    found = history(scope.services.store, scope.namespace, limit, cluster_id)
    return History(operations=[Committed(**as_document(one)) for one in found])


@router.get("/namespaces/{namespace}/clusters/{cluster_id}/history")
def cluster_history(scope: InNamespace, cluster_id: str, limit: Limit = 50) -> History:
    """The operations on a cluster and its survivor, the newest first. The last 1,000 operations are kept."""
    return history_of(scope, limit, read_cluster_id(cluster_id))


@router.post("/namespaces/{namespace}/operations/{number}/undo", responses=CONFLICTS)
def undo(
    scope: InNamespace,
    number: Annotated[int, Path(ge=1, le=2**53)],
    request: UndoRequest,
    if_match: IfMatch = None,
) -> Committed:
    """Preview or take back an operation. It comes again with the same id without being done again.

    Where a merge is taken back, questions that joined since go to the nearer part.
    """
    scope.require(Role.OPERATOR)
    joined = scope.services.analysis.joined(scope.namespace, merged_away(scope.services.store, scope.namespace, number))
    seen = Seen.of(scope, if_match, None)
    return rule(scope, request, seen.provided(lambda made: made.undo(number, joined.questions)), joined.unknown)


def unmerge(scope: Scope, cluster_id: int, request: Ruling, if_match: list[str] | None = None) -> Committed:
    """Preview or undo a merge: a merged cluster is live again, with what joined since and is nearer to it.

    Raises Refused where the cluster that it became is not as `if_match` says.
    """
    scope.require(Role.OPERATOR)
    joined = scope.services.analysis.joined(scope.namespace, cluster_id)
    seen = Seen.of(scope, if_match, [format_cluster_id(cluster_id)])
    asked = seen.provided(lambda made: made.unmerge(cluster_id, joined.questions))
    return rule(scope, request, asked, joined.unknown)


def rule(scope: Scope, request: Ruling, ask: Ask, unknown: str | None = None) -> Committed:
    """Preview or commit a decision of somebody. Raises Refused for a viewer, and what `Operating.rule` raises."""
    scope.require(Role.OPERATOR)
    by = By(scope.login.name, request.reason, request.id)
    if not request.dry_run:
        return Committed(**as_document(scope.services.operating.rule(scope.namespace, by, ask)), unknown=unknown)
    proposed = scope.services.operating.preview(scope.namespace, by, ask)
    effect = effect_of(scope, proposed, request.questions)
    of_rules = rules_effect_of(scope, proposed, request.questions)
    return Committed(**as_document(proposed), effect=effect, rules_effect=of_rules, unknown=unknown)
