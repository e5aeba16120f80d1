"""The store or Kafka goes away at any moment of a request: each view says so and when to ask again, or does without."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from questream.clustering.levels import Levels, Node, leaf
from questream.errors import StoreUnavailable
from questream.operations import By, Decisions
from questream.server import api, pages
from questream.settings import KafkaSettings, Settings
from questream.store.protocol import StoredLevels
from questream.store.reference.store import MemoryStore
from tests.kit.serving import client_of, encoder_of, fields_of, store_with

TEXTS = ["Where is my parcel?", "When does my parcel come?", "How do I pay?", "Can I pay by card?", "Who are you?"]
API = "/api/v1"
SHOP = f"{API}/namespaces/shop"
# A stream without an end, and logins, of which a server without tokens has none.
LEFT_OUT = {
    "GET /api/v1/namespaces/{namespace}/decisions",
    "GET /n/{namespace}/live",
    "GET /login",
    "POST /login",
}
# The body of each request that needs one; a page's is what its form has beside what was typed.
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/namespaces/{namespace}/intents/import": {"intents": [{"name": "Parcels", "examples": TEXTS[:1]}]},
    "POST /api/v1/namespaces/{namespace}/operations": {"op": "label", "cluster_id": "c1", "label": "parcels"},
    "POST /api/v1/namespaces/{namespace}/operations/{number}/undo": {"dry_run": True},
    "POST /api/v1/namespaces/{namespace}/operations/rules": {"rules": {"threshold": 0.6}},
    "POST /api/v1/namespaces/{namespace}/operations/questions": {
        "op": "reject",
        "texts": TEXTS[:1],
        "cluster_id": "c1",
        "dry_run": True,
    },
    "POST /api/v1/namespaces/{namespace}/levels/{community_id}/label": {"label": "parcels"},
    "POST /api/v1/namespaces/{namespace}/operations/levels": {"op": "pin", "level_id": "i1"},
    "POST /api/v1/namespaces/{namespace}/assign": {"text": TEXTS[0]},
    "POST /api/v1/dead-letters/replay": {},
    "POST /n/{namespace}/ask": {"text": TEXTS[0]},
    "POST /n/{namespace}/change": {"name": "parcels"},
    "POST /n/{namespace}/intents": {"lines": f"name,examples\nParcels,{TEXTS[0]}\n"},
    "POST /n/{namespace}/rules": {"threshold": "0.6"},
    "POST /n/{namespace}/suggestions/dismiss": {"kind": "name", "c": "c1", "id": "x"},
    "POST /n/{namespace}/levels/{community_id}": {"label": "parcels"},
}
# Where they differ from the path.
QUERIES = {
    "/api/v1/namespaces/{namespace}/rules/effect": {"threshold": "0.6"},
    "/n/{namespace}/change": {"op": "label", "c": "c1"},
    "/n/{namespace}/decide": {"op": "pin", "c": "c1"},
    "/n/{namespace}/decide/levels": {"op": "pin", "level_id": "i1"},
    "/n/{namespace}/rules": {"threshold": "0.6"},
}
# Views that search by meaning too, each a second time with this query.
SEARCHES = {
    "/api/v1/namespaces/{namespace}/clusters": {"q": TEXTS[0], "sort": "meaning"},
    "/api/v1/namespaces/{namespace}/levels": {"q": TEXTS[0], "by_meaning": "true"},
    "/n/{namespace}/clusters": {"q": TEXTS[0], "sort": "meaning"},
    "/n/{namespace}/levels": {"q": TEXTS[0], "sort": "meaning"},
}
NAMES = {
    "namespace": "shop",
    "cluster_id": "c1",
    "community_id": "i1",
    "number": "1",
    "numbers": "1",
    "format": "csv",
}


def routes() -> Iterator[tuple[str, APIRoute]]:
    """Each view with its path, of the API and of the page."""
    for package, prefix in ((api, API), (pages, "")):
        for part in vars(package).values():
            if isinstance(part, ModuleType) and hasattr(part, "router"):
                yield from ((prefix + route.path, route) for route in part.router.routes)


def views() -> list[str]:
    """Each view by its method and path, and with a query each search by meaning."""
    known = {f"{method} {path}" for path, route in routes() for method in route.methods or ()}
    searches = {f"GET {path}?{urlencode(query)}" for path, query in SEARCHES.items()}
    return sorted((known | searches) - LEFT_OUT)


def read_by_views() -> dict[str, set[str]]:
    """The names of what each view reads in a query, by its path."""
    found: dict[str, set[str]] = {}
    for path, route in routes():
        found.setdefault(path, set()).update(known.alias for known in get_flat_params(route.dependant))
    return found


class LeavingStore:
    """A store in memory that answers so many calls, and then none, or not the next alone; all where `left` is None."""

    def __init__(self) -> None:
        self.store = store_with({"shop": TEXTS})
        parents = {leaf(1): Node(1, 1), leaf(2): Node(1, 1), leaf(3): Node(1, 2), Node(1, 1): Node(2, 1)}
        self.store.write_levels("shop", self.store.store_epoch("shop") or "", StoredLevels(Levels(parents, (9, 2)), 5))
        by = Decisions(self.store, "shop", By("ann"))
        by.commit(by.merge(5, 4))
        by.commit(by.label(3, "payment", None))
        self.left: int | None = None
        self.comes_back = False
        self.is_away = False
        self._calling = threading.local()
        for name in dir(MemoryStore):
            known = getattr(self.store, name)
            if not name.startswith("_") and callable(known):
                setattr(self.store, name, self._leaving(known))

    def _leaving(self, known: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if getattr(self._calling, "is_inner", False):
                return known(*args, **named)
            if self.left is not None:
                if self.left == 0:
                    self.is_away = True
                    self.left = None if self.comes_back else 0
                    raise StoreUnavailable("Redis does not answer", "start it")
                self.left -= 1
            self._calling.is_inner = True
            try:
                found = known(*args, **named)
                return list(found) if isinstance(found, Iterator) else found
            finally:
                self._calling.is_inner = False

        return call


class Asking:
    """Somebody who asks a view for something."""

    def __init__(self, view: str, client: TestClient) -> None:
        self._method, where = view.split(" ")
        path, _, search = where.partition("?")
        query = search or urlencode(QUERIES.get(path, {}))
        self._client = client
        # Only what was merged away is parted.
        names = NAMES | {"cluster_id": "c5"} if "unmerge" in path else NAMES
        self._where = path.format(**names) + (f"?{query}" if query else "")
        self._body = BODIES.get(view, {})
        self._is_api = path.startswith(API)

    def prepare(self) -> Callable[[], Any]:
        """What is asked once the page with its form is there."""
        if self._method == "GET":
            return lambda: self._client.get(self._where)
        if self._is_api:
            return lambda: self._client.post(self._where, json=self._body)
        self._client.get("/n/shop/ask")
        shown = self._client.get(self._where)
        fields = fields_of(shown.text) if '<form method="post" action="/n/' in shown.text else {}
        data = {**fields, "form_token": self._client.cookies["questream_form"], **self._body}
        return lambda: self._client.post(self._where, data=data)


def assert_says_when_to_ask_again(answer: Any) -> None:
    assert answer.status_code < 400 or answer.status_code == 503, (answer.status_code, answer.text[-600:])
    assert answer.status_code < 400 or answer.headers.get("Retry-After"), dict(answer.headers)


@pytest.fixture
def leaving() -> LeavingStore:
    return LeavingStore()


def served(leaving: LeavingStore) -> TestClient:
    """A server that has read what is shown first; no broker answers at the address of its settings."""
    kafka = KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1"})
    client = client_of(leaving.store, Settings(kafka=kafka), encoder=encoder_of(TEXTS))
    for path in ("clusters", "clusters/c1", "levels", "suggestions"):
        client.get(f"/n/shop/{path}")
    return client


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """That nobody answers is known after a moment."""
    monkeypatch.setattr("questream.broker.kafka_python.connect.CONNECT_SECONDS", 0.2)


@pytest.mark.parametrize(("path", "query"), [*QUERIES.items(), *SEARCHES.items()])
def test_each_query_is_read_by_its_view(path: str, query: dict[str, str]) -> None:
    assert query.keys() <= read_by_views()[path]


@pytest.mark.parametrize("comes_back", [False, True], ids=["for good", "for a call"])
@pytest.mark.parametrize("view", views())
def test_each_view_says_when_to_ask_again_whenever_the_store_goes_away(
    leaving: LeavingStore, view: str, comes_back: bool
) -> None:
    leaving.comes_back = comes_back
    # The same again each time, as somebody asks who was told to.
    ask = Asking(view, served(leaving)).prepare()
    for calls in range(100):
        leaving.left, leaving.is_away = calls, False
        assert_says_when_to_ask_again(ask())
        if not leaving.is_away:
            return
    pytest.fail("it asks the store more than 100 times")


@pytest.mark.parametrize("view", views())
def test_each_view_says_when_to_ask_again_or_does_without_kafka(leaving: LeavingStore, view: str) -> None:
    assert_says_when_to_ask_again(Asking(view, served(leaving)).prepare()())
