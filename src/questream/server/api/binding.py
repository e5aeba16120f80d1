"""What people decide of questions: rejected, moved, or another part of their cluster."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from questream.domain import EXEMPLARS_KEPT, Operation
from questream.operations import Decisions
from questream.operations.binding import KnownQuestion
from questream.operations.requests import Propose
from questream.server.access import Role
from questream.server.api.clusters import find_cluster
from questream.server.api.history import Committed, Ruling, rule
from questream.server.api.operations import ClusterId
from questream.server.operating import id_was_given
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.tools.decisions import as_document, known_as

router = APIRouter(tags=["operations"])

QuestionIds = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1000)]],
    Field(max_length=EXEMPLARS_KEPT, description="Ids of questions, as their decisions have them."),
]
Texts = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100_000)]],
    Field(max_length=EXEMPLARS_KEPT, description="Questions that are nowhere else."),
]


class QuestionsRequest(Ruling):
    """Questions do not belong to their clusters (reject), belong to another (move), or are a part of their own (split).

    `cluster_id` is the cluster of the texts, without which it is the one that each would join now; of a split, the one
    that is split: where no question is named, into two groups of those that it keeps. `target_id` is where questions
    that are moved belong.
    """

    op: Literal["reject", "move", "split"]
    question_ids: QuestionIds = Field(default_factory=list)
    texts: Texts = Field(default_factory=list)
    cluster_id: ClusterId | None = None
    target_id: ClusterId | None = None


@router.post("/namespaces/{namespace}/operations/questions", responses={409: {}})
def decide_on_questions(scope: InNamespace, request: QuestionsRequest) -> Committed:
    """Preview or decide where questions belong; what is near them is decided by that from then on."""
    scope.require(Role.OPERATOR)
    cluster_id = None if request.cluster_id is None else _cluster(scope, request.cluster_id)
    target_id = None if request.target_id is None else _cluster(scope, request.target_id)
    if (request.op == "split" and cluster_id is None) or (request.op == "move") != (target_id is not None):
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, "split needs cluster_id, move needs target_id, and nothing else takes that"
        )
    names_none = not request.question_ids and not request.texts
    if names_none and request.op != "split":
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "no question is named", "give question_ids or texts")
    asking = scope.services.asking
    done_before = _known(scope, request)
    if done_before is not None and not request.question_ids:
        return Committed(**as_document(done_before))
    if names_none and cluster_id is not None:
        part = asking.part_of(scope.namespace, find_cluster(scope, cluster_id).cluster_id)
        return rule(scope, request, lambda made: made.split_off(cluster_id, part))
    found = asking.known(scope.namespace, request.question_ids) if request.question_ids else []
    found += asking.given(scope.namespace, request.texts, cluster_id)
    return rule(scope, request, lambda made: _proposed(made, request.op, found, cluster_id, target_id))


def _known(scope: Scope, request: QuestionsRequest) -> Operation | None:
    """What an id that comes again did: texts may be nearest to other clusters by now, and a part be another.

    Raises Refused where that was another kind.
    """
    found = known_as(scope.services.store, scope.namespace, request.id)
    if found is not None and found.kind != request.op:
        raise id_was_given()
    return found


def _cluster(scope: Scope, name: str) -> int:
    """The number of a cluster that is there, as it was named: it may be an alias."""
    number = read_cluster_id(name)
    find_cluster(scope, number)
    return number


def _proposed(
    decisions: Decisions,
    op: Literal["reject", "move", "split"],
    found: list[KnownQuestion],
    cluster_id: int | None,
    target_id: int | None,
) -> Propose:
    if op == "split":
        return decisions.split(cluster_id or 0, found)
    return decisions.reject(found) if op == "reject" else decisions.move(found, target_id or 0)
