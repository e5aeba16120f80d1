"""The questions of a cluster that it keeps references to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from questream.clustering.confidence import model_mark
from questream.domain import ClusterState, format_cluster_id
from questream.server.api.clusters import find_cluster, route_of
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.store.ledger import routed, topic_of
from questream.tools.kept_questions import still_kept
from questream.tools.members import First, as_document
from questream.tools.suggestions import rules_in_use

router = APIRouter(tags=["clusters"])


class Member(BaseModel):
    """A question, by its record's place. `similarity` is null for the one that opened the cluster.

    Text, id and time are null for those who may not read texts, and where the input topic does not give them.
    `confidence`, `route` and `suggested_route` are those that its decision would have if it came now.
    """

    similarity: float | None
    confidence: float | None = None
    route: str | None = None
    suggested_route: str | None = None
    outcome: str
    topic: str
    partition: int
    offset: int
    question_id: str | None = None
    timestamp: str | None = None
    text: str | None = None


class MemberList(BaseModel):
    """Nine questions at most, those of the kind that was asked for first; `size` counts all of the cluster's."""

    cluster_id: str
    size: int
    members: list[Member]


@router.get("/namespaces/{namespace}/clusters/{cluster_id}/members")
def list_members(
    scope: InNamespace,
    cluster_id: str,
    order: Annotated[First, Query(description="The most alike, the newest, or the least alike come first.")] = (
        First.TYPICAL
    ),
) -> MemberList:
    """The kept members of a cluster; an alias leads to the survivor."""
    state = find_cluster(scope, read_cluster_id(cluster_id))
    return MemberList(
        cluster_id=format_cluster_id(state.cluster_id), size=state.size, members=members_of(scope, state, order)
    )


def members_of(scope: Scope, state: ClusterState, order: First) -> list[Member]:
    """The members of a cluster as they are shown to somebody."""
    kept = still_kept(scope.services.store, scope.namespace, state, order)
    read = scope.services.members.read(state.cluster_id, scope.namespace, kept) if kept and scope.reads_texts else None
    documents: list[dict[str, Any]] = [{}] * len(kept) if read is None else [as_document(one) for one in read]
    whole, given = scope.services.store.namespace_state(scope.namespace), route_of(scope, state)
    if whole is None:
        return []
    rules, mark = rules_in_use(whole, scope.services.settings, {}), model_mark(whole.model, whole.model_revision)
    similarities = [one.similarity for one in kept]
    confidences = [None if one is None else rules.confidence_of(one, mark) for one in similarities]
    routes = [routed(given, one, rules.routing_precision) for one in confidences]
    return [
        Member(
            similarity=one.similarity,
            confidence=confidence,
            route=route,
            suggested_route=suggested,
            outcome="created" if one.similarity is None else "joined",
            topic=topic_of(one.place[0]),
            partition=one.place[1],
            offset=one.place[2],
            **{name: document.get(name) for name in ("question_id", "timestamp", "text")},
        )
        for one, document, confidence, (route, suggested) in zip(kept, documents, confidences, routes, strict=True)
    ]
