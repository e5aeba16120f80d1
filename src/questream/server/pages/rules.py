"""The rules of a namespace, what a threshold would do, and the form that sets it."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import ClusterState, parse_cluster_id
from questream.errors import QuestreamError
from questream.server.access import Role
from questream.server.api.conditions import etag_of_rules
from questream.server.api.operations import MAX_REASON_CHARACTERS
from questream.server.api.rules import (
    Effect,
    RulesRequest,
    RulesToSet,
    Threshold,
    in_force,
    set_rules,
    show_effect,
)
from questream.server.pages.changes import done_link, read_done
from questream.server.pages.forms import Form, first, read_id, read_reason, read_seen
from questream.server.pages.rendering import link, render
from questream.server.problems import Overtaken, Refused
from questream.server.services import InNamespace, Scope

router = APIRouter()


@router.get("/n/{namespace}/rules")
def preview(request: Request, scope: InNamespace, threshold: Annotated[Threshold | None, Query()] = None) -> Response:
    """The rules in force, and beneath them what a threshold would do; nothing is changed."""
    return _show(request, scope, threshold)


@router.post("/n/{namespace}/rules")
def change(request: Request, scope: InNamespace, fields: Form) -> Response:
    """Set the threshold, for all workers of the namespace at once; an empty one is as their settings say.

    What somebody else has set meanwhile is shown first.
    """
    scope.require(Role.OPERATOR)
    try:
        typed = first(fields, "threshold")
        rules = RulesToSet(threshold=float(typed) if typed else None)
    except ValueError:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a threshold is a number from -1 to 1") from None
    asked = RulesRequest(rules=rules, reason=read_reason(fields), id=read_id(fields))
    try:
        done = set_rules(scope, asked, read_seen(fields))
    except Overtaken:
        return _show(request, scope, rules.threshold, changed=True, reason=asked.reason)
    here = link(f"/n/{scope.namespace}/rules", **done_link("rules", [done.operation]))
    return RedirectResponse(here, HTTPStatus.SEE_OTHER)


def _show(
    request: Request, scope: Scope, threshold: float | None, *, changed: bool = False, reason: str = ""
) -> Response:
    effect: Effect | None = None
    refusal = None
    try:
        effect = None if threshold is None else show_effect(scope, threshold)
    except (Refused, QuestreamError) as error:
        refusal = Refused.by(error)
    rules = scope.services.store.rules(scope.namespace)
    return render(
        request,
        "rules.html",
        scope.login,
        scope,
        HTTPStatus.CONFLICT if changed else None,
        in_force=in_force(scope),
        rules=rules.values(),
        set_by=rules.operation or None,
        threshold=threshold,
        effect=effect,
        pairs=[] if effect is None else _pairs(scope, effect),
        refusal=refusal,
        id=secrets.token_urlsafe(16),
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        seen=etag_of_rules(rules),
        changed=changed,
        reason=reason,
        most=MAX_REASON_CHARACTERS,
        done=read_done(request),
    )


def _pairs(scope: Scope, effect: Effect) -> list[list[ClusterState]]:
    """The examples of clusters that would merge now."""
    catalogue = scope.services.catalogues.get(scope.namespace)
    found = [[catalogue.get(parse_cluster_id(one)) for one in pair] for pair in effect.examples]
    return [[state for state in pair if state] for pair in found if all(pair)]
