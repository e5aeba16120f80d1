"""The services of the routes, and the checks that all of them share."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Annotated

from fastapi import Depends, Path, Request

from questream.domain import ClusterState, format_cluster_id, parse_cluster_id
from questream.naming.names import keywords_of
from questream.server.access import Access, Login, NotLoggedIn, Role
from questream.server.activity import Activity, activity_of
from questream.server.analysis import Analysis
from questream.server.board import EventBoard
from questream.server.catalogues import Catalogues
from questream.server.dead_letters import DeadLetters
from questream.server.decisions import Decisions
from questream.server.levels import CurrentLevels
from questream.server.limits import RateLimit
from questream.server.members import MemberTexts
from questream.server.operating import Operating
from questream.server.problems import Refused
from questream.server.rates import Rates
from questream.server.snapshot import Snapshot
from questream.server.stream_health import PartitionLag
from questream.server.suggesting import Suggesting
from questream.server.volumes import Volume, Volumes
from questream.server.warming import Warming
from questream.settings import NAMESPACE_PATTERN, Settings
from questream.store.protocol import Store
from questream.tools.doctor import Finding

_NAMESPACE = re.compile(NAMESPACE_PATTERN)
_LEVEL_ID = re.compile("[it][1-9][0-9]{0,18}")
_MOST_NAMESPACES_NAMED = 10
_SEE_CLUSTERS = "the list of clusters has their ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of a server."""

    settings: Settings
    store: Store
    access: Access
    catalogues: Catalogues
    operating: Operating
    analysis: Analysis
    suggesting: Suggesting
    decisions: Decisions
    events: EventBoard
    letters: DeadLetters
    lag: Snapshot[list[PartitionLag]]
    findings: Snapshot[list[Finding]]
    rates: Rates
    rate: RateLimit
    failed_logins: RateLimit
    members: MemberTexts
    levels: CurrentLevels
    volumes: Volumes
    warming: Warming


def services_of(request: Request) -> Services:
    """The services of the server that answers."""
    services: Services = request.app.state.services
    return services


Serving = Annotated[Services, Depends(services_of)]


def login_of(request: Request) -> Login:
    """The login of a request. Raises Refused for an unknown login, and for one over its limit of requests."""
    services = services_of(request)
    peer = request.client.host if request.client else ""
    try:
        login = services.access.login_of(request.headers, request.cookies, peer)
    except NotLoggedIn:
        count_failure(services, peer)
        raise Refused(
            HTTPStatus.UNAUTHORIZED, "log in first", "send a token as a bearer", {"WWW-Authenticate": "Bearer"}
        ) from None
    count_request(services, login)
    return login


def count_request(services: Services, login: Login) -> None:
    """Somebody asks for something. Raises Refused where that happens too often."""
    _count(services.rate, login.name)


def count_failure(services: Services, peer: str) -> None:
    """Somebody at this address was not known. Raises Refused where that happens too often."""
    _count(services.failed_logins, peer)


LoggedIn = Annotated[Login, Depends(login_of)]


def _count(limit: RateLimit, name: str) -> None:
    wait = limit.take(name)
    if wait:
        seconds = ceil(wait)
        raise Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too many requests",
            f"wait {seconds} second{'s' * (seconds != 1)}",
            {"Retry-After": str(seconds)},
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """A namespace, as somebody who may see it asks for it."""

    services: Services
    login: Login
    namespace: str

    @property
    def reads_texts(self) -> bool:
        """True if texts of questions are shown."""
        return self.login.reads_texts(self.namespace)

    def name_of(self, state: ClusterState) -> str | None:
        """The name of a cluster as it is shown here: without texts it has none but its label."""
        if not self.reads_texts:
            return state.label
        return self.services.catalogues.name_of(self.namespace, state)

    def keywords_of(self, state: ClusterState) -> list[str]:
        """The words that distinguish a cluster from others, for those who may read texts."""
        vocabulary = self.services.catalogues.vocabulary(self.namespace)
        return keywords_of(state, vocabulary) if self.reads_texts else []

    def volume_of(self, *cluster_ids: int) -> Volume | None:
        """The questions of clusters, and of what has become part of them, by day; None while they are being counted."""
        ids = self.services.catalogues.get(self.namespace).with_merged(cluster_ids)
        return self.services.volumes.of(self.namespace, ids)

    def activity_of(self, state: ClusterState, volume: Volume | None) -> Activity | None:
        """The present activity of a cluster."""
        return activity_of(state, volume, self.now_ms)

    @property
    def now_ms(self) -> int:
        """The time, in ms since the epoch."""
        return time.time_ns() // 1_000_000

    def require(self, role: Role) -> None:
        """Raises Refused unless the login has this role here."""
        if not self.login.may(role, self.namespace):
            raise _lacks(self.login, role, self.namespace)


NamespaceName = Annotated[str, Path(pattern=NAMESPACE_PATTERN, description="A namespace.")]


def scope_of(services: Serving, login: LoggedIn, namespace: NamespaceName) -> Scope:
    """The namespace of a request. Raises Refused where it is not there, and as well where it may not be seen."""
    if not login.may(Role.VIEWER, namespace) or services.store.namespace_state(namespace) is None:
        raise no_namespace(services, login, namespace)
    return Scope(services, login, namespace)


def no_namespace(services: Services, login: Login, namespace: str) -> Refused:
    """The refusal of a namespace that is not there, or that a login may not see, with some that it may see."""
    names = visible_namespaces(services, login)
    shown = ", ".join(names[:_MOST_NAMESPACES_NAMED]) or "none yet"
    more = f" and {len(names) - _MOST_NAMESPACES_NAMED:,} more" if len(names) > _MOST_NAMESPACES_NAMED else ""
    return Refused(HTTPStatus.NOT_FOUND, f"there is no namespace {namespace}", f"there are: {shown}{more}")


def require_everywhere(login: Login, role: Role) -> None:
    """Raises Refused unless the login has this role in all namespaces: what is asked for is the whole stream's."""
    if not login.may(role):
        raise _lacks(login, role, "all namespaces")


def _lacks(login: Login, role: Role, where: str) -> Refused:
    return Refused(
        HTTPStatus.FORBIDDEN,
        f"this needs the role {role.name.lower()} in {where}",
        f"you are {login.name}: ask who runs questream for that role, or log in as somebody who has it",
    )


InNamespace = Annotated[Scope, Depends(scope_of)]


def usual_namespace(settings: Settings, names: Sequence[str]) -> str | None:
    """Of these namespaces the one that is shown first: that of the settings, else the first."""
    usual = settings.clusters.namespace
    return usual if usual in names else next(iter(names), None)


def visible_namespaces(services: Services, login: Login) -> list[str]:
    """The namespaces that somebody may see."""
    return [name for name in services.store.namespaces() if login.may(Role.VIEWER, name)]


def read_cluster_id(text: str) -> int:
    """The number of a cluster. Raises Refused for what is no id."""
    try:
        number = parse_cluster_id(text)
    except ValueError as error:
        remedy = f"intents and topics are at levels/{text}" if _LEVEL_ID.fullmatch(text) else _SEE_CLUSTERS
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), remedy) from None
    if len(text) > len(format_cluster_id(2**62)):
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such cluster", _SEE_CLUSTERS)
    return number
