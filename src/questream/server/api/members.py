"""The questions of a cluster that it keeps references to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from questream.domain import ClusterState, format_cluster_id
from questream.server.api.clusters import find_cluster
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.store.ledger import topic_of
from questream.tools.kept_questions import kept_in_order
from questream.tools.members import First, as_document

router = APIRouter(tags=["clusters"])


class Member(BaseModel):
    """A question, by its record's place. `similarity` is null for the one that opened the cluster.

    Text, id and time are null for those who may not read texts, and where the input topic does not give them.
    """

    similarity: float | None
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
    """What a cluster keeps of its questions; an id that was merged away leads to what it was merged into."""
    state = find_cluster(scope, read_cluster_id(cluster_id))
    return MemberList(
        cluster_id=format_cluster_id(state.cluster_id), size=state.size, members=members_of(scope, state, order)
    )


def members_of(scope: Scope, state: ClusterState, order: First) -> list[Member]:
    """The members of a cluster as they are shown to somebody."""
    kept = kept_in_order(state, order)
    read = scope.services.members.read(state.cluster_id, scope.namespace, kept) if kept and scope.reads_texts else None
    documents: list[dict[str, Any]] = [{}] * len(kept) if read is None else [as_document(one) for one in read]
    return [
        Member(
            similarity=one.similarity,
            outcome="created" if one.similarity is None else "joined",
            topic=topic_of(one.place[0]),
            partition=one.place[1],
            offset=one.place[2],
            **{name: document.get(name) for name in ("question_id", "timestamp", "text")},
        )
        for one, document in zip(kept, documents, strict=True)
    ]
