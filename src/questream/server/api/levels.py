"""The intents and topics of a namespace, as a worker found them last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from questream.clustering.levels import parse_node
from questream.domain import ends_of_levels, format_cluster_id
from questream.server.activity import Activity
from questream.server.api.clusters import MAX_SEARCH_CHARACTERS, find_clusters
from questream.server.catalogue import ServedSort
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope
from questream.tools.communities import Clusters, Communities
from questream.tools.communities import Community as Found
from questream.tools.sorting import Level, Sort

MAX_PAGE = 200
# Of a topic, which may have thousands.
MOST_SHOWN = 200
MOST_BEFORE = 100_000
LevelId = Annotated[str, Field(pattern=r"^[it][1-9][0-9]{0,18}$", description="Such as i5 or t2.")]

router = APIRouter(tags=["levels"])


class Community(BaseModel):
    """An intent or a topic; a cluster or intent alone on a level keeps its own id.

    Label and route are its own, or else those of its topic; `named` says whether it has any itself.
    `clusters` and `intents` are the 200 largest, of so many as `cluster_count` and `intent_count` say. Name and
    `representative` are those of the largest cluster, as it shows them.
    """

    id: str
    level: Level
    namespace: str
    topic_id: str | None
    size: int
    name: str | None
    label: str | None
    route: str | None
    named: bool
    labels: list[str]
    cluster_count: int
    clusters: list[str]
    intent_count: int
    intents: list[str]
    representative: str | None


class CommunityList(BaseModel):
    """A page of intents or topics; `total` counts those of all pages. None before a worker has found some."""

    communities: list[Community]
    total: int


def communities_of(scope: Scope) -> Communities | None:
    """The intents and topics as they were found last, with clusters that are new since; None before that."""
    return _communities(scope, scope.services.catalogues.get(scope.namespace).clusters())


def read_community(scope: Scope, community_id: str) -> Found:
    """As `community_of`, of all that there are."""
    return community_of(communities_of(scope), community_id)


def community_of(communities: Communities | None, community_id: str) -> Found:
    """An intent or topic, or where most questions of one are that is no more. Raises NoSuchCommunity, Refused."""
    try:
        node = parse_node(community_id)
    except ValueError as error:
        remedy = "the list of intents and topics has their ids"
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), remedy) from None
    if communities is None or not node.level:
        remedy = "no worker has found intents and topics yet" if node.level else f"clusters are at clusters/{node}"
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no intent or topic {node}", remedy)
    return communities.get(node)


@dataclass(frozen=True, slots=True)
class Sought:
    """A search for clusters within intents and topics, as in a list of clusters; by default all."""

    q: str = ""
    by_meaning: bool = False
    label: str | None = None
    activity: Activity | None = None

    @property
    def is_all(self) -> bool:
        """True if all clusters match."""
        return not self.q.strip() and self.label is None and self.activity is None


def find_communities(scope: Scope, communities: Communities | None, level: Level, sought: Sought) -> Sequence[Found]:
    """The intents or topics that have what is looked for, with these of their clusters alone.

    The largest come first, those by meaning by their nearest cluster. Raises Refused as `find_clusters`.
    """
    if communities is None or sought.is_all:
        return [] if communities is None else communities.of(level)
    by_meaning = sought.by_meaning and bool(sought.q.strip())
    sort = ServedSort.MEANING if by_meaning else Sort.SIZE
    most = max(1, len(scope.services.catalogues.get(scope.namespace)))
    listing, _ = find_clusters(scope, sort, sought.q, sought.label, sought.activity, most, None)
    narrowed = _communities(scope, listing.clusters)
    found = [] if narrowed is None else narrowed.of(level)
    near = listing.similarities
    return sorted(found, key=lambda one: -max(near[number] for number in one.ids)) if near else found


def _communities(scope: Scope, clusters: Clusters) -> Communities | None:
    return scope.services.levels.of(scope.namespace, clusters)


@router.get("/namespaces/{namespace}/levels")
def list_level(
    scope: InNamespace,
    level: Annotated[Level, Query(description="What to list.")] = Level.INTENT,
    q: Annotated[
        str, Query(max_length=MAX_SEARCH_CHARACTERS, description="Words of an id, name or question of a cluster.")
    ] = "",
    by_meaning: Annotated[bool, Query(description="Whether `q` is searched for by its meaning.")] = False,
    label: Annotated[str | None, Query(max_length=1000, description="A cluster has this label; empty: none.")] = None,
    activity: Annotated[Activity | None, Query(description="A cluster does this.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    skip: Annotated[int, Query(ge=0, le=MOST_BEFORE, description="How many came on the pages before.")] = 0,
) -> CommunityList:
    """Intents or topics, the largest first. What changes meanwhile may be on two pages, or on none.

    Where clusters are looked for, each has these alone; by meaning those of the nearest come first.
    """
    found = find_communities(scope, communities_of(scope), level, Sought(q, by_meaning, label, activity))
    return CommunityList(
        communities=[_as_model(one, scope) for one in found[skip : skip + limit]],
        total=len(found),
    )


@router.get("/namespaces/{namespace}/levels/{community_id}")
def show_community(scope: InNamespace, community_id: str, response: Response) -> Community:
    """An intent or topic; an id that is no more leads to where most of its questions are."""
    found = read_community(scope, community_id)
    response.headers["ETag"] = etag_of_level(scope, found)
    return _as_model(found, scope)


def etag_of_level(scope: Scope, one: Found) -> str:
    """The entity tag of an intent or topic: another one once people name it otherwise, or decide what is kept in it."""
    (tag,) = etags_of_levels(scope, [one])
    return tag


def etags_of_levels(scope: Scope, found: Sequence[Found]) -> list[str]:
    """As `etag_of_level`, of each, as people have decided by now."""
    ids = {number for one in found for number in one.ids}
    separations = scope.services.catalogues.separations(scope.namespace, ids)
    ends = {number: ends_of_levels(apart) for number, apart in separations.items() if apart}
    return [_etag(one, sorted((number, ends[number]) for number in one.ids if ends.get(number))) for one in found]


def _etag(one: Found, ends: Sequence[tuple[int, tuple[str, ...]]]) -> str:
    decided = orjson.dumps([one.naming, ends])
    return f'"{one.node}.{sha256(decided).hexdigest()[:16]}"'


def _as_model(one: Found, scope: Scope) -> Community:
    first = one.clusters[0]
    return Community(
        id=str(one.node),
        level=one.level,
        namespace=scope.namespace,
        topic_id=None if one.within is None else str(one.within),
        size=one.size,
        name=one.title or scope.name_of(first),
        label=one.label,
        route=one.route,
        named=any(one.naming),
        labels=one.labels,
        cluster_count=len(one.clusters),
        clusters=[format_cluster_id(number) for number in one.ids[:MOST_SHOWN]],
        intent_count=len(one.parts),
        intents=[str(node) for node in one.part_nodes[:MOST_SHOWN]],
        representative=first.representative if scope.reads_texts else None,
    )
