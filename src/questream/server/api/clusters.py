"""The clusters of a namespace: listed, searched, and one by one."""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from questream.clustering.levels import Node, parse_node
from questream.domain import ClusterState, ClusterStatus, format_cluster_id
from questream.server.activity import Activity
from questream.server.catalogue import Listing, Order, ServedSort, decode_cursor, encode_cursor
from questream.server.catalogue import Query as Wanted
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.tools.clusters import as_document, lineage
from questream.tools.communities import Communities, NoSuchCommunity
from questream.tools.decisions import ruling_document
from questream.tools.levels import within_document
from questream.tools.sorting import SORTED_BY, Level, Sort

MAX_PAGE = 200
MAX_SEARCH_CHARACTERS = 200
ORDERED_BY = (
    f"{SORTED_BY} By activity: growing, come back, new, steady, quiet, resolved; by meaning: the nearest to the text."
)

router = APIRouter(tags=["clusters"])


class PlaceOf(BaseModel):
    """The place of a question in Kafka."""

    topic: str
    partition: int
    offset: int


class Chosen(BaseModel):
    """A question that people chose as a cluster's representative; `place` is null where only its text was given."""

    name: str
    place: PlaceOf | None


class Cluster(BaseModel):
    """A cluster in its present state; `representative` is null for logins that may not read texts.

    `status` is `resolved` once people dealt with it, `returned` if questions came since; muted ones raise no events.
    Its `name` is the label, else words that its questions share, from the third question on and for those who may.
    """

    cluster_id: str
    namespace: str
    size: int
    members: int
    name: str | None
    label: str | None
    route: str | None
    status: ClusterStatus
    muted: bool
    pinned: bool
    created_at: str
    last_seen_at: str
    model: str
    representative: str | None
    represented_by: Chosen | None = None
    threshold: float | None = None
    revision: int


class ListedCluster(Cluster):
    """A cluster with its questions of the last 14 days, the oldest first; null while they are being counted.

    `known_days` says of how many of the newest days all are counted. `activity` is null where it would be growing or
    steady, and last week is not known. `doubtful_share` of these questions joined at a close call, less than
    `judge.margin` above the threshold; null where there were none. `similarity` is that to a text that was
    searched for by its meaning.
    """

    similarity: float | None
    activity: Activity | None
    days: list[int] | None
    known_days: int
    doubtful_share: float | None


class Names(BaseModel):
    """A label and a route."""

    label: str | None
    route: str | None


class LevelOf(BaseModel):
    """An intent or a topic that a cluster is in, with the label and the route that people gave it.

    `name` is its label, else that of its largest cluster, as that is shown; null if it has none.
    """

    id: str
    level: Level
    label: str | None
    route: str | None
    name: str | None = None


class ClusterDetail(ListedCluster):
    """A cluster, what its id was merged into, if it was, and which ids have been merged into it.

    `path` is that of its next decision: topic, intent and cluster, null where it is not known. `inherited` is the label
    and the route that its questions have where it has none itself; `levels` are the intent and topic that it is in.
    `keywords` are words that most of its questions have and few other clusters do, from the third question on and for
    those who may read texts.
    """

    keywords: list[str]
    path: list[str] | None
    inherited: Names
    levels: list[LevelOf]
    merged_from: list[str]
    asked_for: str


class ClusterList(BaseModel):
    """A page of clusters; `total` counts those of all pages, `next` is the cursor of the next page."""

    clusters: list[ListedCluster]
    total: int
    next: str | None


def as_model(state: ClusterState, scope: Scope) -> Cluster:
    """A cluster as it is shown to somebody."""
    document = as_document(state)
    if not scope.reads_texts:
        document["representative"] = None
    return Cluster(**document, name=scope.name_of(state), revision=state.revision)


def as_listed(state: ClusterState, scope: Scope, similarity: float | None = None) -> ListedCluster:
    """A cluster as it is shown to somebody, with what it is doing."""
    volume = scope.volume_of(state.cluster_id)
    return ListedCluster(
        **as_model(state, scope).model_dump(),
        similarity=similarity,
        activity=scope.activity_of(state, volume),
        days=None if volume is None else list(volume.days),
        known_days=0 if volume is None else volume.known_days,
        doubtful_share=None if volume is None else volume.doubtful_share,
    )


def find_cluster(scope: Scope, cluster_id: int) -> ClusterState:
    """The present state of a cluster or its survivor, from the store. Raises NoSuchCluster."""
    return lineage(scope.services.store, scope.namespace, cluster_id)[-1]


def levels_of(scope: Scope, cluster_id: int) -> dict[str, Any]:
    """The intent and topic of a cluster, as `within_document`, with names."""
    document = within_document(scope.services.levels.within(scope.namespace, cluster_id))
    if document["levels"]:
        clusters = scope.services.catalogues.get(scope.namespace).clusters()
        communities = scope.services.levels.of(scope.namespace, clusters)
        for one in document["levels"]:
            one["name"] = _name_of(scope, communities, parse_node(one["id"])) or one["label"]
    return document


def _name_of(scope: Scope, communities: Communities | None, node: Node) -> str | None:
    """The display name of an intent or topic, as in a list of its level; None where no cluster of it is listed yet."""
    try:
        found = None if communities is None else communities.get(node)
    except NoSuchCommunity:
        return None
    return None if found is None else found.title or scope.name_of(found.clusters[0])


def route_of(scope: Scope, state: ClusterState) -> str | None:
    """The route of a cluster, or the one that it inherits."""
    if state.route:
        return state.route
    within = scope.services.levels.within(scope.namespace, state.cluster_id)
    return None if within is None else within.inherited[1]


def etag_of(state: ClusterState) -> str:
    """The entity tag of a cluster: another one once people decide something else of it, or it is part of another.

    A question that joins it changes nothing of what people have decided, and so not the tag.
    """
    # With what people decided of the intents and topics that it is in, and whether they erased its texts.
    whole = {**ruling_document(state.ruling), "separations": state.ruling.separations}
    decided = orjson.dumps([whole, state.representative is None])
    return f'"{format_cluster_id(state.cluster_id)}.{sha256(decided).hexdigest()[:16]}"'


def find_clusters(
    scope: Scope,
    sort: Order,
    q: str,
    label: str | None,
    activity: Activity | None,
    limit: int,
    cursor: str | None,
) -> tuple[Listing, str | None]:
    """The clusters that somebody asks for, and the cursor of what follows.

    Raises Refused for a cursor that is none, for a meaning of no words, and, by meaning, as `Analysis.near`.
    """
    if sort is ServedSort.MEANING and not q.strip():
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "by meaning a text is searched for", "give q")
    try:
        after = None if cursor is None else decode_cursor(sort, cursor)
    except ValueError as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    near = scope.services.analysis.near(scope.namespace, q) if sort is ServedSort.MEANING else None
    lately = scope.services.volumes.weeks(scope.namespace) if activity or sort is ServedSort.ACTIVITY else None
    wanted = Wanted(sort, q, scope.reads_texts, near, label, activity, lately, scope.now_ms, limit, after)
    found = scope.services.catalogues.get(scope.namespace).find(wanted)
    return found, None if found.next is None else encode_cursor(sort, found.next)


@router.get("/namespaces/{namespace}/clusters")
def list_clusters(
    scope: InNamespace,
    sort: Annotated[Order, Query(description=ORDERED_BY)] = Sort.SIZE,
    q: Annotated[
        str,
        Query(max_length=MAX_SEARCH_CHARACTERS, description="Words of an id, name or question; by meaning, a text."),
    ] = "",
    label: Annotated[str | None, Query(max_length=1000, description="Exactly this label; empty: none.")] = None,
    activity: Annotated[Activity | None, Query(description="Only those that do this.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> ClusterList:
    """A page of the live clusters, by meaning of the 200 nearest. What moves meanwhile may be on two pages, or none."""
    found, next_cursor = find_clusters(scope, sort, q, label, activity, limit, cursor)
    return ClusterList(
        clusters=[as_listed(state, scope, found.similarities.get(state.cluster_id)) for state in found.states],
        total=found.total,
        next=next_cursor,
    )


@router.get("/namespaces/{namespace}/clusters/{cluster_id}")
def show_cluster(scope: InNamespace, cluster_id: str, response: Response) -> ClusterDetail:
    """One cluster; an id that was merged away leads to what it was merged into."""
    state = find_cluster(scope, read_cluster_id(cluster_id))
    response.headers["ETag"] = etag_of(state)
    merged = scope.services.catalogues.get(scope.namespace).merged_into(state.cluster_id)
    return ClusterDetail(
        **as_listed(state, scope).model_dump(),
        **levels_of(scope, state.cluster_id),
        keywords=scope.keywords_of(state),
        merged_from=[format_cluster_id(one) for one in merged],
        asked_for=cluster_id,
    )
