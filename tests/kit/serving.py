"""A server of pages and API over a store in memory, with logins of each role."""

from __future__ import annotations

import functools
import html
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import uvicorn
from anyio.from_thread import BlockingPortal
from starlette.testclient import TestClient

from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.domain import Matrix
from questream.encoder import Encoder
from questream.errors import KafkaUnavailable
from questream.lab.bench.questions import table_encoder
from questream.server.access import Access
from questream.server.analysis import Analysis
from questream.server.app import build_app
from questream.server.board import EventBoard
from questream.server.catalogues import Catalogues
from questream.server.dead_letters import DeadLetters
from questream.server.decisions import Decisions
from questream.server.levels import CurrentLevels
from questream.server.limits import RateLimit
from questream.server.members import MemberTexts
from questream.server.mirrors import Mirrors
from questream.server.operating import Operating
from questream.server.rates import Rate, Rates
from questream.server.services import Services
from questream.server.snapshot import Snapshot
from questream.server.stream_health import PartitionLag
from questream.server.suggesting import Suggesting
from questream.server.tokens import make_token
from questream.server.volumes import Volumes
from questream.server.warming import Warming
from questream.settings import ServeSettings, Settings
from questream.store.protocol import (
    ClusterUpdate,
    Committed,
    Identity,
    LedgerRow,
    PartitionBatch,
    Proposal,
    Store,
)
from questream.store.reference.store import MemoryStore
from questream.tools.doctor import Finding
from questream.tools.members import Member

DIMENSION = 8
NOW_MS = 1_800_000_000_000


def store_with(questions: Mapping[str, Iterable[str]]) -> MemoryStore:
    """A store with a cluster for each question, by namespace; the first is the largest and the oldest."""
    store = MemoryStore()
    for namespace, texts in questions.items():
        add_clusters(store, namespace, list(texts))
    return store


def add_clusters(store: MemoryStore, namespace: str, texts: list[str]) -> None:
    """A cluster for each text in an empty namespace, of len(texts), ..., 2, 1 questions."""
    store.open(namespace, Identity("model", "revision", DIMENSION, "centred", "adaptive", 0.7))
    token = store.begin_recovery(namespace)
    store.recover(namespace, token, None, {})
    vectors = vectors_of(len(texts))
    updates = [
        ClusterUpdate(
            at + 1,
            len(texts) - at,
            0,
            1,
            vectors[at],
            NOW_MS + at * 60_000,
            text,
            kept_members=str(KeptMembers.of([KeptMember(("questions", 0, at), None)])),
        )
        for at, text in enumerate(texts)
    ]
    rows = [LedgerRow(at, at + 1, 1.0, True, 1, None, False) for at in range(len(texts))]
    whole, store_epoch = store.namespace_state(namespace), store.store_epoch(namespace)
    assert whole is not None
    assert store_epoch is not None
    partitions = [PartitionBatch("questions", 0, rows, len(texts))] if rows else []
    proposal = Proposal(store_epoch, whole.seq, partitions, updates, None, "model", 0.7, NOW_MS)
    assert isinstance(store.commit({namespace: proposal})[namespace], Committed)


def vectors_of(count: int) -> Matrix:
    """The unit vectors of the clusters of `add_clusters`, in their order."""
    vectors = np.random.default_rng(7).standard_normal((count, DIMENSION)).astype(np.float32)
    unit: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def encoder_of(texts: Sequence[str]) -> Encoder:
    """An encoder that gives each text, prepared as it is, the vector of its cluster."""
    return replace(table_encoder(texts, vectors_of(len(texts))), name="model", revision="revision")


def no_topic(cluster_id: int, namespace: str, kept: Sequence[KeptMember]) -> list[Member]:
    """There is no Kafka behind this server."""
    raise KafkaUnavailable("no broker answered", "start it")


@contextmanager
def listening(store: Store) -> Iterator[int]:
    """The port where a server of pages and API over this store speaks HTTP itself."""
    server = uvicorn.Server(uvicorn.Config(client_of(store).app, "127.0.0.1", 0, log_level="error"))
    bound = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(30)


def client_of(
    store: Store,
    settings: Settings | None = None,
    peer: str = "127.0.0.1",
    encoder: Encoder | None = None,
    board: EventBoard | None = None,
    volumes: Volumes | None = None,
    rates: Rates | None = None,
) -> TestClient:
    """A browser, or a program, at this address. It follows no redirect."""
    settings = settings or Settings()
    catalogues = Catalogues(store, lambda: True)
    mirrors = Mirrors(store)
    levels = CurrentLevels(store, mirrors)
    analysis = Analysis(settings, store, mirrors, levels)
    if encoder is not None:
        analysis.take(encoder)
    services = Services(
        settings=settings,
        store=store,
        access=Access(settings.serve),
        catalogues=catalogues,
        operating=Operating(store, catalogues),
        analysis=analysis,
        suggesting=Suggesting(catalogues, levels, analysis),
        decisions=Decisions(lambda _: "the text"),
        events=board or EventBoard(),
        letters=DeadLetters(settings),
        lag=Snapshot("lag", lambda: [PartitionLag(0, 9, 5), PartitionLag(1, 3, None)], 5),
        findings=Snapshot("findings", lambda: [Finding("kafka", "fail", "no broker answered", "start it")], 60),
        rates=rates or Rates(Rate(lambda: False), Rate(lambda: False)),
        rate=RateLimit(settings.serve.requests_per_minute),
        failed_logins=RateLimit(30),
        members=MemberTexts(no_topic),
        levels=levels,
        volumes=volumes or Volumes(1000, 0.1),
        warming=Warming(),
    )
    client = TestClient(
        build_app(services), "http://127.0.0.1:8464", False, follow_redirects=False, client=(peer, 50000)
    )
    client.portal = _event_loop()
    return client


@functools.cache
def _event_loop() -> BlockingPortal:
    """The loop of all servers; a client that is left to itself starts and ends one for each request."""
    started = Future[BlockingPortal]()

    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    # It lasts as long as the process, whose end nothing of it may hold up.
    threading.Thread(target=anyio.run, args=(serve,), name="servers", daemon=True).start()
    return started.result()


def fields_of(page: str) -> dict[str, list[str]]:
    """The hidden fields of a page's form, as a browser would send them."""
    form = page[page.index('<form method="post" action="/n/') :]
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(html.unescape(value))
    return fields


def with_tokens(
    folder: Path, grants: Mapping[str, Mapping[str, str]], **more: object
) -> tuple[Settings, dict[str, str]]:
    """Settings with a file of tokens, and each login's token by its name."""
    path = folder / "tokens.jsonl"
    tokens = {name: make_token(path, name, dict(roles)) for name, roles in grants.items()}
    return Settings(serve=ServeSettings.model_validate({"tokens_file": path, **more})), tokens


def bearer(token: str) -> dict[str, str]:
    """The header that a program sends."""
    return {"Authorization": f"Bearer {token}"}
