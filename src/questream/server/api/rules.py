"""The rules that people set for a namespace."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from questream.errors import QuestreamError
from questream.server.access import Role
from questream.server.api.conditions import RULES, IfMatch, Seen, etag_of_rules
from questream.server.api.effects import RulesEffect
from questream.server.api.history import Committed, Ruling, rule
from questream.server.api.operations import DryRun, OperationId, Reason
from questream.server.problems import CONFLICTS, Refused
from questream.server.services import InNamespace, Scope
from questream.tools.rules import Values, read_rules

router = APIRouter(tags=["operations"])

Threshold = Annotated[float, Field(ge=-1, le=1)]
Off = Literal["off"]
Resolution = Annotated[float, Field(ge=0.1, le=1000)]
Seconds = Annotated[float, Field(ge=1, le=3_155_760_000)]


class Rules(BaseModel):
    """Rules by name; one that is left out is as the settings of the workers say. A retention or limit of 0 is none."""

    rules: dict[str, float | str]
    operation: Annotated[int | None, Field(description="The number of the operation that set them last.")]


class RulesToSet(BaseModel):
    """Rules by name: null leaves one to the settings of the workers again, `off` ends a retention or the limit."""

    model_config = ConfigDict(extra="forbid")

    threshold: Threshold | None = None
    merge_threshold: Threshold | None = None
    linkage: Literal["adaptive", "average", "centroid", "first"] | None = None
    retention_seconds: Seconds | Off | None = None
    singleton_retention_seconds: Seconds | Off | None = None
    alias_retention_seconds: Seconds | Off | None = None
    max_clusters: Annotated[int, Field(ge=2, le=100_000_000)] | Off | None = None
    mode: Literal["open", "known-only"] | None = None
    confidence: Annotated[str, Field(max_length=1000)] | None = None
    routing_precision: Annotated[float, Field(ge=0.01, le=1)] | Off | None = None
    intent_resolution: Resolution | None = None
    topic_resolution: Resolution | None = None


class RulesRequest(BaseModel):
    """Rules are set for all workers of a namespace at once."""

    model_config = ConfigDict(extra="forbid")

    rules: RulesToSet
    id: OperationId = ""
    reason: Reason = ""
    dry_run: DryRun = False


class InForce(BaseModel):
    """The rules of a namespace: those that people set, else those that its workers were last started with."""

    threshold: float
    merge_threshold: float
    linkage: str


class Effect(RulesEffect):
    """The effect of rules, and the rules that are in force."""

    in_force: InForce


def in_force(scope: Scope) -> InForce:
    """The rules of a namespace."""
    rules = scope.services.analysis.rules(scope.namespace)
    return InForce(threshold=rules.threshold, merge_threshold=rules.merge_threshold, linkage=rules.linkage)


@router.get("/namespaces/{namespace}/rules/effect")
def show_effect(
    scope: InNamespace,
    threshold: Annotated[Threshold | None, Query(description="The least similarity to join a cluster.")] = None,
    merge_threshold: Annotated[Threshold | None, Query(description="The least at which clusters merge.")] = None,
) -> Effect:
    """The effect of thresholds on the present clusters; nothing is changed."""
    asked = {"threshold": threshold, "merge_threshold": merge_threshold}
    values: Values = {name: value for name, value in asked.items() if value is not None}
    states = scope.services.catalogues.get(scope.namespace).states()
    effect = scope.services.analysis.effect(scope.namespace, states, values)
    return Effect(in_force=in_force(scope), **effect.document())


@router.get("/namespaces/{namespace}/rules")
def show_rules(scope: InNamespace, response: Response) -> Rules:
    """The rules that people set for the namespace, in place of the settings of its workers."""
    rules = scope.services.store.rules(scope.namespace)
    response.headers["ETag"] = etag_of_rules(rules)
    return Rules(rules=rules.values(), operation=rules.operation or None)


@router.post("/namespaces/{namespace}/operations/rules", responses=CONFLICTS)
def set_rules(
    scope: InNamespace,
    request: RulesRequest,
    if_match: IfMatch = None,
) -> Committed:
    """Preview or set rules; all workers decide by them from then on. The same id does it once."""
    scope.require(Role.OPERATOR)
    given = request.rules.model_dump(include=request.rules.model_fields_set)
    try:
        values = read_rules(f"{name}={'unset' if value is None else value}" for name, value in given.items())
    except QuestreamError as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    seen = Seen.of(scope, if_match, [RULES])
    how = Ruling(id=request.id, reason=request.reason, dry_run=request.dry_run)
    return rule(scope, how, seen.provided(lambda made: made.rules(values)))
