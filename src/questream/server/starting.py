"""A server over a stream, made of its settings."""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from questream.broker.port import Message
from questream.errors import SettingsError
from questream.server.access import Access
from questream.server.analysis import Analysis
from questream.server.app import build_app
from questream.server.board import EventBoard
from questream.server.catalogues import Catalogues
from questream.server.dead_letters import DeadLetters
from questream.server.decisions import Decisions, Texts
from questream.server.following import Follower, take_states
from questream.server.heads import TimedHeads
from questream.server.levels import CurrentLevels
from questream.server.limits import RateLimit
from questream.server.members import MemberTexts
from questream.server.mirrors import Mirrors
from questream.server.operating import Operating
from questream.server.pages.levels import shown_first
from questream.server.pages.rendering import load_templates
from questream.server.rates import Rate, Rates
from questream.server.services import Services, usual_namespace
from questream.server.snapshot import Snapshot
from questream.server.stream_health import find_all, read_lag
from questream.server.suggesting import Suggesting
from questream.server.volumes import Volumes
from questream.server.warming import Warming
from questream.settings import Settings
from questream.store.redis.store import open_store
from questream.tools.kept_questions import KeptQuestions
from questream.tools.stored_sentences import StoredSentences

logger = logging.getLogger(__name__)

# Longer than a million clusters are read.
_WARMING_SECONDS = 600.0
_FOLLOWING_SECONDS = 10.0
_LAG_SECONDS = 5.0
_DOCTOR_SECONDS = 60.0
_FAILED_LOGINS_PER_MINUTE = 30
_MOST_CONNECTIONS = 256
_KEEP_ALIVE_SECONDS = 15
_SHUTDOWN_SECONDS = 3


def build(settings: Settings) -> FastAPI:
    """The application over the stream of these settings.

    Raises SettingsError, among others where nobody would have to log in.
    """
    return build_app(*open_services(settings, Access(settings.serve)))


def open_services(settings: Settings, access: Access) -> tuple[Services, Callable[[], AbstractContextManager[None]]]:
    """The services of a server of this stream, and the context of its background work while it serves."""
    store = open_store(settings.redis, settings.clusters.log_entries, settings.clusters.undo_seconds)
    catalogues = Catalogues(store, lambda: states.is_following)
    states = Follower(settings, settings.kafka.cluster_topic, take_states(catalogues), catalogues.reload)
    mirrors = Mirrors(store)
    levels = CurrentLevels(store, mirrors)
    analysis = Analysis(settings, store, mirrors, levels)
    decisions = Decisions(Texts(settings, StoredSentences(lambda: store)))
    rates = Rates(Rate(lambda: published.is_following), Rate(lambda: dead.is_following))

    def take_decision(message: Message) -> None:
        rates.decided.take()
        decisions.take(message)

    published = Follower(settings, settings.kafka.output_topic, take_decision, rates.decided.begin)
    dead = Follower(
        settings, settings.kafka.dead_letter_topic, lambda _: rates.dead_letters.take(), rates.dead_letters.begin
    )
    board = EventBoard()
    happened = Follower(settings, settings.kafka.event_topic, board.take, lambda: board.read_past(settings))
    volumes = Volumes(settings.events.decisions, settings.judge.margin)
    asked = Follower(settings, settings.kafka.output_topic, volumes.take, lambda: None, volumes.start)

    def warm_up() -> None:
        namespace = usual_namespace(settings, store.namespaces())
        if namespace is not None:
            # What is read before the topic is followed would be read again then. Kafka may be away.
            states.wait_until_following(_FOLLOWING_SECONDS)
            _read_all(namespace, catalogues, mirrors, levels)

    # Python walks all of that once, which stops all requests: now, and not in one of the first.
    warming = Warming(load_templates, warm_up, gc.collect)
    followers = (states, published, dead, happened, asked)
    questions = KeptQuestions(settings)
    services = Services(
        settings=settings,
        store=store,
        access=access,
        catalogues=catalogues,
        operating=Operating(store, catalogues),
        analysis=analysis,
        suggesting=Suggesting(catalogues, levels, analysis),
        decisions=decisions,
        events=board,
        letters=DeadLetters(settings),
        lag=Snapshot("the offsets of the group", partial(read_lag, settings), _LAG_SECONDS),
        findings=Snapshot("the doctor's findings", partial(find_all, settings), _DOCTOR_SECONDS),
        rates=rates,
        rate=RateLimit(settings.serve.requests_per_minute),
        failed_logins=RateLimit(_FAILED_LOGINS_PER_MINUTE),
        members=MemberTexts(questions.read),
        levels=levels,
        volumes=volumes,
        warming=warming,
    )
    start = [one.start for one in (analysis, levels, warming, *followers)]
    close = [one.close for one in (*followers, warming, levels, questions)]
    return services, partial(_running, start, close)


def _read_all(namespace: str, catalogues: Catalogues, mirrors: Mirrors, levels: CurrentLevels) -> None:
    """Read all that the first page of a namespace shows."""
    catalogue = catalogues.get(namespace, _WARMING_SECONDS)
    with mirrors.of(namespace, _WARMING_SECONDS):
        pass
    # Names of hundreds of clusters take a tenth of a second.
    communities = levels.of(namespace, catalogue.clusters())
    for state in () if communities is None else shown_first(communities):
        catalogue.name_of(state)


@contextmanager
def _running(start: Iterable[Callable[[], None]], close: Iterable[Callable[[], None]]) -> Iterator[None]:
    for begin in start:
        begin()
    try:
        yield
    finally:
        for end in close:
            end()


def config_of(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """The limits of connections: their number and their time."""
    return uvicorn.Config(
        app,
        host,
        port,
        http=TimedHeads,
        log_config=None,
        access_log=False,
        # The peer's own address: identity headers are believed by it.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises SettingsError where the address cannot be listened on."""
    config = config_of(build(settings), settings.serve.host.strip("[]"), settings.serve.port)
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise SettingsError(
            "serve.host and serve.port cannot be listened on", "serve.port = auto takes a free one"
        ) from None
    # Who reads the address connects at once: what comes before the loop runs waits for it.
    listening.listen(config.backlog)
    host, port = listening.getsockname()[:2]
    logger.info("the page is served", extra={"address": f"http://{f'[{host}]' if ':' in host else host}:{port}"})
    server = uvicorn.Server(config)
    # Also before and after it handles them itself: uvicorn raises a signal again once it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    # A second thread would spin beside the model and other processes for each question that is compared with clusters.
    with threadpool_limits(1, user_api="blas"):
        server.run(sockets=[listening])
