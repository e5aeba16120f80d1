"""Operations on questions: reject, move, or split off a part of their cluster."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from questream.domain import EXEMPLARS_KEPT
from questream.server.access import Role
from questream.server.api.clusters import find_cluster
from questream.server.api.conditions import IfMatch, Seen
from questream.server.api.history import Committed, Ruling, rule
from questream.server.api.operations import ClusterId
from questream.server.problems import CONFLICTS, Refused
from questream.server.services import InNamespace, read_cluster_id
from questream.tools.decisions import known_as
from questream.tools.named_questions import Named, QuestionOp, find

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
    that is split: where no question is named, into two groups of those that it keeps; where there are texts, or with
    `nearer`, those that it keeps and that are nearer to the questions than to the rest go along. `target_id` is where
    questions that are moved belong.
    """

    op: QuestionOp
    question_ids: QuestionIds = Field(default_factory=list)
    texts: Texts = Field(default_factory=list)
    cluster_id: ClusterId | None = None
    target_id: ClusterId | None = None
    nearer: bool = False


@router.post("/namespaces/{namespace}/operations/questions", responses=CONFLICTS)
def decide_on_questions(scope: InNamespace, request: QuestionsRequest, if_match: IfMatch = None) -> Committed:
    """Preview or decide where questions belong; what is near them is decided by that from then on."""
    scope.require(Role.OPERATOR)
    cluster_id = None if request.cluster_id is None else read_cluster_id(request.cluster_id)
    target_id = None if request.target_id is None else read_cluster_id(request.target_id)
    if (request.op == "split" and cluster_id is None) or (request.op == "move") != (target_id is not None):
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, "split needs cluster_id, move needs target_id, and nothing else takes that"
        )
    if not request.question_ids and not request.texts and request.op != "split":
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "no question is named", "give question_ids or texts")
    named = Named(
        request.op, tuple(request.question_ids), tuple(request.texts), cluster_id, target_id, nearer=request.nearer
    )
    found = cache(lambda: find(named, scope.namespace, scope.services.analysis))
    # Of questions by their ids the clusters are not in the request.
    seen = Seen.of(scope, if_match, None if request.question_ids else [request.cluster_id, request.target_id])
    if known_as(scope.services.store, scope.namespace, request.id) is None:
        seen.require()
        for number in (cluster_id, target_id):
            if number is not None:
                find_cluster(scope, number)
        # Kafka and the model are asked before the operations of others have to wait.
        found()
    return rule(scope, request, seen.provided(lambda made: named.proposed(made, found)))
