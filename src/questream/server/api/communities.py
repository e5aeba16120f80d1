"""What people decide of intents and topics: moved into, merged, separated, pinned."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from questream.domain import Naming
from questream.operations import Decisions
from questream.operations.requests import Propose
from questream.server.access import Role
from questream.server.api.history import Committed, Ruling, rule
from questream.server.api.levels import LevelId
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
    """What is in an intent or a topic stays there, or may be found elsewhere again."""

    op: Literal["pin", "unpin"]
    level_id: LevelId


AnyRequest = MoveRequest | MergeRequest | SeparateRequest | PinRequest
Request = Annotated[AnyRequest, Field(discriminator="op")]


@router.post("/namespaces/{namespace}/operations/levels", responses={409: {}})
def decide_on_levels(scope: InNamespace, request: Request) -> Committed:
    """Preview or decide of intents and topics; workers find communities around it from then on.

    It comes again with the same id without being done again.
    """
    scope.require(Role.OPERATOR)
    return rule(scope, request, lambda made: _proposed(made, request))


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
