"""Events of clusters, as `questream events run` published them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from questream.domain import parse_cluster_id
from questream.events.kinds import KINDS
from questream.records.events import ClusterEvent
from questream.records.times import format_time
from questream.server.board import MOST_EVENTS
from questream.server.services import InNamespace, Scope

router = APIRouter(tags=["events"])


class Event(BaseModel):
    """Something that happened to a cluster, in the time of its questions.

    `count` askers came since `since`, where `expected` were to be expected. `name` is the cluster's, if it has one and
    lives; `other` is the cluster that it was merged into, split from or may be merged with; `suggestion` is what may be
    done: merge, name or split.
    """

    id: str
    kind: str
    cluster_id: str
    name: str | None
    other: str | None
    suggestion: str | None
    time: str
    since: str
    count: int
    expected: float


class EventList(BaseModel):
    """Events, the newest first."""

    events: list[Event]


def as_event(event: ClusterEvent, scope: Scope) -> Event:
    """An event as it is shown to somebody."""
    state = scope.services.catalogues.get(scope.namespace).get(parse_cluster_id(event.cluster_id))
    return Event(
        id=event.id,
        kind=event.kind,
        cluster_id=event.cluster_id,
        name=None if state is None else scope.name_of(state),
        other=event.other,
        suggestion=event.suggestion,
        time=format_time(event.time_ms),
        since=format_time(event.since_ms),
        count=event.count,
        expected=event.expected,
    )


@router.get("/namespaces/{namespace}/events")
def list_events(
    scope: InNamespace,
    kind: Annotated[
        str | None,
        Query(
            pattern=r"^[a-z]{1,32}$",
            description=f"Only these: {', '.join(KINDS)}.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 50,
) -> EventList:
    """The newest events, of the last 500 of the namespace; none where nobody runs `questream events run`."""
    found = scope.services.events.newest(scope.namespace, kind, limit)
    return EventList(events=[as_event(event, scope) for event in found])
