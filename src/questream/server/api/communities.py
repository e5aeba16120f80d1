"""Operations on intents and topics: name, move into, merge, separate, pin."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from questream.domain import Naming
from questream.operations import Decisions
from questream.operations.requests import Propose
from questream.server.access import Role
from questream.server.api.conditions import IfMatch, Seen
from questream.server.api.history import Committed, Ruling, rule
from questream.server.api.levels import LevelId
from questream.server.api.operations import Name
from questream.server.problems import CONFLICTS, Refused
from questream.server.services import InNamespace

_MOST_MOVED = 100

router = APIRouter(tags=["operations"])

NodeId = Annotated[str, Field(pattern=r"^[ci][1-9][0-9]{0,17}$")]
NodeIds = Annotated[
    list[NodeId],
    Field(min_length=1, max_length=_MOST_MOVED, description="Ids of clusters, or of intents: one kind at a time."),
]
TargetId = Annotated[
    str,
    Field(
        pattern=r"^([it][1-9][0-9]{0,17}|own)$",
        description="The intent of the clusters, or the topic of the intents; `own`: one of their own.",
    ),
]


class NamingRequest(Ruling):
    """An intent or topic gets a label, a route or both; an empty one removes it."""

    label: Name | None = None
    route: Name | None = None


class MoveRequest(Ruling):
    """Clusters belong to an intent, or intents to a topic, and stay there."""

    op: Literal["move"]
    ids: NodeIds
    target_id: TargetId


class MergeRequest(Ruling):
    """Two intents or two topics become one, and stay one; the named, else the larger one's id survives."""

    op: Literal["merge"]
    level_id: LevelId
    other_id: LevelId
    drop_names: Annotated[bool, Field(description="Whether the one that goes may lose its label and route.")] = False
    keep: Annotated[LevelId | None, Field(description="The one of the two whose label and route stay.")] = None


class SeparateRequest(Ruling):
    """Two intents or two topics are different: they are never one, and what is in each stays there."""

    op: Literal["separate"]
    level_id: LevelId
    other_id: LevelId


class PinRequest(Ruling):
    """The members of an intent or a topic stay in it, or may move again."""

    op: Literal["pin", "unpin"]
    level_id: LevelId


AnyRequest = MoveRequest | MergeRequest | SeparateRequest | PinRequest
Request = Annotated[AnyRequest, Field(discriminator="op")]


@router.post("/namespaces/{namespace}/levels/{community_id}/label", responses=CONFLICTS)
def label_community(
    scope: InNamespace, community_id: str, request: NamingRequest, if_match: IfMatch = None
) -> Committed:
    """Name an intent or topic, or set its route: its clusters have both, as far as they have none of their own.

    It comes again with the same id without being done again.
    """
    scope.require(Role.OPERATOR)
    if request.label is None and request.route is None:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "give a label, a route or both")
    seen = Seen.of(scope, if_match, [community_id])
    return rule(
        scope, request, seen.provided(lambda made: made.label_level(community_id, request.label, request.route))
    )


@router.post("/namespaces/{namespace}/operations/levels", responses=CONFLICTS)
def decide_on_levels(scope: InNamespace, request: Request, if_match: IfMatch = None) -> Committed:
    """Preview or decide of intents and topics; workers find communities around it from then on.

    It comes again with the same id without being done again.
    """
    scope.require(Role.OPERATOR)
    seen = Seen.of(scope, if_match, named_in(request))
    return rule(scope, request, seen.provided(lambda made: _proposed(made, request)))


def named_in(request: AnyRequest) -> list[str]:
    """The clusters, intents and topics that a request is about."""
    match request:
        case MoveRequest():
            return [*request.ids, request.target_id]
        case MergeRequest() | SeparateRequest():
            return [request.level_id, request.other_id]
        case PinRequest():
            return [request.level_id]


def _proposed(made: Decisions, request: AnyRequest) -> Propose:
    match request:
        case MoveRequest():
            return made.move_nodes(request.ids, request.target_id)
        case MergeRequest():
            may_drop = request.drop_names

            def drops(survivor: str, loser: str, lost: Naming) -> bool:
                del survivor, loser, lost
                return may_drop

            return made.merge_levels(request.level_id, request.other_id, drops, keep=request.keep)
        case SeparateRequest():
            return made.separate_levels(request.level_id, request.other_id)
        case PinRequest():
            return made.pin_level(request.level_id) if request.op == "pin" else made.unpin_level(request.level_id)
