"""The clusters of a namespace as a list, and one of them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from questream.domain import format_cluster_id
from questream.operations import Candidate
from questream.records.events import ClusterEvent
from questream.records.times import parse_time
from questream.server.access import Role
from questream.server.activity import ACTIVITIES, Activity
from questream.server.api.clusters import MAX_SEARCH_CHARACTERS, find_cluster, find_clusters, levels_of
from questream.server.api.history import Committed, history_of
from questream.server.api.members import members_of
from questream.server.board import MOST_EVENTS
from questream.server.catalogue import Order, ServedSort
from questream.server.pages.changes import read_done
from questream.server.pages.rendering import link, render
from questream.server.problems import Refused
from questream.server.services import InNamespace, Scope, read_cluster_id
from questream.server.volumes import DAYS, Volume
from questream.tools.members import First
from questream.tools.sorting import Sort

_PAGE = 50
_NEAREST = 6
_EVENTS = 8
_OPERATIONS = 20

router = APIRouter()


@router.get("/n/{namespace}")
def enter_namespace(scope: InNamespace) -> Response:
    """Its clusters."""
    return RedirectResponse(f"/n/{scope.namespace}/clusters", HTTPStatus.SEE_OTHER)


@router.get("/n/{namespace}/clusters")
def list_clusters(
    request: Request,
    scope: InNamespace,
    sort: Order = Sort.SIZE,
    q: Annotated[str, Query(max_length=MAX_SEARCH_CHARACTERS)] = "",
    label: Annotated[str | None, Query(max_length=1000)] = None,
    activity: Activity | None = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The list."""
    if sort is ServedSort.MEANING and not q.strip():
        # The words were taken out of the form.
        sort = Sort.SIZE
    found, next_cursor = find_clusters(scope, sort, q, label, activity, _PAGE, cursor or None)
    catalogue = scope.services.catalogues.get(scope.namespace)
    here = f"/n/{scope.namespace}/clusters"

    def listed(**changed: str | None) -> str:
        """This list, but for what is changed."""
        whole = {"sort": sort, "q": q or None, "label": label, "activity": activity, **changed}
        return f"{here}?{urlencode({name: value for name, value in whole.items() if value is not None})}"

    return render(
        request,
        "clusters.html",
        scope.login,
        scope,
        states=found.states,
        total=found.total,
        all_clusters=len(catalogue),
        all_questions=catalogue.questions,
        largest=max((state.size for state in found.states), default=1),
        sort=sort,
        q=q,
        label=label,
        activity=activity,
        activities=[one for one in ACTIVITIES if one],
        listed=listed,
        kept=listed(sort="meaning" if sort is ServedSort.MEANING else None).partition("?")[2],
        similarities=found.similarities,
        is_first=not cursor,
        next=next_cursor and listed(cursor=next_cursor),
        here=here,
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        done=read_done(request),
    )


@router.get("/n/{namespace}/clusters/{cluster_id}")
def show_cluster(request: Request, scope: InNamespace, cluster_id: str, order: First = First.TYPICAL) -> Response:
    """One cluster; an id that was merged away leads to what it was merged into."""
    state = find_cluster(scope, read_cluster_id(cluster_id))
    name = format_cluster_id(state.cluster_id)
    if name != cluster_id:
        return RedirectResponse(link(f"/n/{scope.namespace}/clusters/{name}", merged=cluster_id), HTTPStatus.SEE_OTHER)
    catalogue, store = scope.services.catalogues.get(scope.namespace), scope.services.store
    merged = request.query_params.get("merged", "")
    volume, happened = scope.volume_of(state.cluster_id), _happened(scope, name)
    history = history_of(scope, _OPERATIONS, state.cluster_id).operations
    return render(
        request,
        "cluster.html",
        scope.login,
        scope,
        state=state,
        name=name,
        volume=volume,
        happened=happened,
        marks=_marks(volume, happened, history),
        members=members_of(scope, state, order),
        order=order,
        orders=First,
        nearest=_nearest(scope, state.cluster_id),
        above=levels_of(scope, state.cluster_id),
        has_levels=scope.services.levels.stored(scope.namespace).version > 0,
        operates=scope.login.may(Role.OPERATOR, scope.namespace),
        keeps_texts=scope.services.settings.clusters.keep_texts,
        done=read_done(request),
        history=history,
        came_from=merged if merged[:1] == "c" and merged[1:].isdigit() and len(merged) < 21 else None,
        merged_from=store.states(scope.namespace, catalogue.merged_into(state.cluster_id)),
    )


def _happened(scope: Scope, cluster_id: str) -> list[ClusterEvent]:
    """The newest events of a cluster."""
    events = scope.services.events.newest(scope.namespace, None, MOST_EVENTS)
    return [event for event in events if event.cluster_id == cluster_id][:_EVENTS]


def _marks(volume: Volume | None, happened: Sequence[ClusterEvent], history: Sequence[Committed]) -> list[list[str]]:
    """By day of the volume, the kinds of events and operations, each once."""
    times = [(event.time_ms, event.kind) for event in happened]
    times += [(parse_time(one.time), one.kind) for one in history if one.time]
    days: list[list[str]] = [[] for _ in range(DAYS)]
    for time_ms, kind in sorted(times):
        day = None if volume is None else volume.day_of(time_ms)
        if day is not None and kind not in days[day]:
            days[day].append(kind)
    return days


def _nearest(scope: Scope, cluster_id: int) -> list[Candidate] | None:
    """The nearest clusters, or None while the centroids are being read."""
    try:
        found = scope.services.analysis.nearest(scope.namespace, cluster_id, _NEAREST)
    except Refused:
        return None
    known = {one.cluster_id: one for one in scope.services.store.states(scope.namespace, [n.cluster_id for n in found])}
    return [Candidate(known[one.cluster_id], one.similarity) for one in found if one.cluster_id in known]
