"""Response times of `questream serve` in a namespace of many clusters: pages, lists, one cluster, and live decisions.

It is the real command as a process of its own, over a store that is filled through the store's protocol. Beside each
time is the processor time that the server took for it, which other programs do not stretch.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import orjson
import psutil

from questream.broker.connect import make_producer
from questream.broker.port import Outgoing, Place
from questream.clustering.levels import Levels, Node, leaf
from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import pack
from questream.embedded import start_tied
from questream.encoder import load_encoder
from questream.errors import QuestreamError
from questream.events.detector import DetectedEvent
from questream.lab.bench.machine import load_average
from questream.lab.bench.servers import own_stream
from questream.records.events import event_document
from questream.records.times import format_time
from questream.settings import Settings
from questream.store.protocol import ClusterUpdate, Committed, Identity, MeanUpdate, Proposal, Store, StoredLevels
from questream.store.redis.store import open_store

_AT_ONCE = 500
_DAYS = 60
_DAY_MS = 86_400_000
_WORDS = 4000
_MOST_QUESTIONS = 5000
_LABELLED_EVERY = 50
_EVENTS = 500
# Of five clusters one is in no intent; the others are in intents, and these in topics, of which the first is large.
_OF_AN_INTENT = 10
_OF_A_TOPIC = 20
_OF_THE_LARGE_TOPIC = 500
# How much a labelled cluster differs from the one before it where people may say that the two are one.
_NEAR = 0.1
_START_SECONDS = 600.0
_ANSWER_SECONDS = 60.0
_PORT = re.compile(r"http://[^\s\"]+:(\d+)")


@dataclass(frozen=True, slots=True)
class ServeFigures:
    """One kind of request over `runs`, in milliseconds; `cpu_mean` is processor time of the server.

    `first` is the first request of its kind after the server's start, until what is found out for it is there. None of
    `cpu_mean` where it is not known.
    """

    what: str
    runs: int
    first: float
    median: float
    p95: float
    cpu_mean: float | None
    kilobytes: float


@dataclass(frozen=True, slots=True)
class ServeReport:
    """All of it: `read_seconds` until the server says that it is ready, `resident_mib` of it at the end."""

    clusters: int
    read_seconds: float
    resident_mib: float
    load_average: float | None
    figures: list[ServeFigures]


def measure_serve(settings: Settings, clusters: int, runs: int, announce: Callable[[str], None]) -> ServeReport:
    """Fill a namespace of the settings' model, start a server over it, and ask.

    Raises what store and topics raise, and ModelError where the model cannot be loaded.
    """
    encoder = load_encoder(settings.model)
    identity = Identity(encoder.name, encoder.revision, encoder.dimension, "centred", "adaptive", 0.7)
    with own_stream(settings, 1) as own:
        store = open_store(own.redis)
        announce(f"filling a namespace with {clusters:,} clusters")
        words = fill(store, own.clusters.namespace, clusters, identity)
        _publish_events(own, clusters)
        with _server(own) as server:
            announce("reading them into the server")
            read_seconds = server.wait_for("/readyz", "read the clusters")
            search = f"/api/v1/namespaces/{own.clusters.namespace}/clusters?sort=meaning&q=money"
            server.wait_for(search, "load the model")
            figures = []
            for what, paths in _requests(own.clusters.namespace, clusters, runs, words).items():
                announce(what)
                figures.append(server.ask(what, paths))
            announce("decisions as they come")
            figures.append(server.follow(own, runs))
            return ServeReport(clusters, read_seconds, server.resident_mib(), load_average(), figures)


def fill(store: Store, namespace: str, clusters: int, identity: Identity) -> list[str]:
    """Clusters of 1 to 5,000 questions over 60 days, one in fifty labelled, in intents and topics.

    Of each 500 two labelled ones are near enough to be one. Returns words that are in them.
    """
    random = np.random.default_rng(1)
    words = sorted({"".join(random.choice(list("bdfgklmnprst"), 2)) + "aeiou"[at % 5] + f"{'nlrs'[at % 4]}a{at:x}"
                    for at in range(_WORDS)})  # fmt: skip
    store.open(namespace, identity)
    store.recover(namespace, store.begin_recovery(namespace), None, {})
    fresh = store.load(namespace)
    now, seq = int(time.time() * 1000), fresh.seq
    sizes = np.minimum(random.zipf(1.6, clusters), _MOST_QUESTIONS)
    ages = random.integers(0, _DAYS * _DAY_MS, clusters)
    chosen = np.minimum(random.zipf(1.2, (clusters, 7)), len(words)) - 1
    for first in range(0, clusters, _AT_ONCE):
        at_once = range(first, min(first + _AT_ONCE, clusters))
        vectors = random.standard_normal((len(at_once), identity.dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if len(vectors) > _LABELLED_EVERY:
            near = vectors[0] + _NEAR * vectors[_LABELLED_EVERY]
            vectors[_LABELLED_EVERY] = near / np.linalg.norm(near)
            chosen[first + _LABELLED_EVERY] = chosen[first]
        updates = []
        for at, vector in zip(at_once, vectors, strict=True):
            text = f"How do I {' '.join(words[word] for word in chosen[at])}, please?"
            kept = pack((features(text),))
            updates.append(
                ClusterUpdate(at + 1, int(sizes[at]), 0, 1, vector, now - int(ages[at]), text, features=kept)
            )
        mean = None if first else MeanUpdate(0, 1000, np.zeros(identity.dimension, np.float32))
        proposal = Proposal(fresh.store_epoch, seq, [], updates, mean, identity.model, 0.7, now)
        reply = store.commit({namespace: proposal})[namespace]
        if not isinstance(reply, Committed):
            raise QuestreamError(f"namespace {namespace!r} is in use elsewhere")
        seq = reply.seq
    for at in range(0, clusters, max(1, _LABELLED_EVERY)):
        store.label(namespace, at + 1, f"label {at % 97}", "team")
    store.write_levels(namespace, fresh.store_epoch, StoredLevels(_levels(clusters), clusters))
    return words


def _levels(clusters: int) -> Levels:
    """Intents of ten clusters, a topic of 500 intents and others of twenty; every fifth cluster is in none."""
    inside = [number for number in range(1, clusters + 1) if number % 5]
    intents = {number: Node(1, 1 + at // _OF_AN_INTENT) for at, number in enumerate(inside)}
    later = {node: max(0, node.number - _OF_THE_LARGE_TOPIC) for node in intents.values()}
    topics = {node: Node(2, 1 + (beyond + _OF_A_TOPIC - 1) // _OF_A_TOPIC) for node, beyond in later.items()}
    parents = {**{leaf(number): node for number, node in intents.items()}, **topics}
    return Levels(parents, (len(topics) + 1, len(set(topics.values())) + 1))


def _publish_events(settings: Settings, clusters: int) -> None:
    now, namespace = int(time.time() * 1000), settings.clusters.namespace
    found = [
        DetectedEvent("spiking", f"c{1 + 131 * at % clusters}", now - at * 60_000, now - at * 60_000 - 600_000, 9, 1.2)
        for at in range(_EVENTS)
    ]
    topic = settings.kafka.event_topic
    values = [orjson.dumps(event_document(namespace, one, settings.kafka.output_topic)) for one in found]
    with _sender(settings) as send:
        send([Outgoing(topic, f"{namespace}/c1".encode(), value, ()) for value in values])


@contextmanager
def _sender(settings: Settings) -> Iterator[Callable[[list[Outgoing]], None]]:
    """A sender of records that waits until they are in their topic."""
    producer = make_producer(settings, "bench")

    def send(records: list[Outgoing]) -> None:
        failures: list[Exception] = []

        def delivered(outcome: Place | Exception) -> None:
            if isinstance(outcome, Exception):
                failures.append(outcome)

        for record in records:
            producer.send(record, delivered)
        producer.flush(_ANSWER_SECONDS)
        if failures:
            raise failures[0]

    try:
        yield send
    finally:
        producer.close()


def _requests(namespace: str, clusters: int, runs: int, words: list[str]) -> dict[str, list[str]]:
    """Paths by kind, each kind `runs` times."""
    api, page = f"/api/v1/namespaces/{namespace}", f"/n/{namespace}"
    random = np.random.default_rng(2)
    numbers = random.integers(1, clusters + 1, runs).tolist()
    common, rare = words[0], words[len(words) // 2]
    fixed = {
        "page: clusters": f"{page}/clusters",
        "page: clusters by growth": f"{page}/clusters?sort=growth",
        "page: search": f"{page}/clusters?q={rare}",
        "page: tree": f"{page}/levels",
        "page: tree, a search": f"{page}/levels?q={common}",
        "page: tree, the unnamed": f"{page}/levels?label=",
        "page: intents": f"{page}/levels?level=intent",
        "page: one intent": f"{page}/levels/i1",
        "page: one large topic": f"{page}/levels/t1",
        **{f"page: suggestions, {kind}": f"{page}/suggestions?kind={kind}" for kind in ("overlap", "name", "split")},
        "page: new and spiking": f"{page}/events",
        **{f"list by {sort}": f"{api}/clusters?sort={sort}" for sort in ("size", "new", "seen", "growth", "activity")},
        "list of 200": f"{api}/clusters?limit=200",
        "list of a label": f"{api}/clusters?label=label+7",
        "list without a label": f"{api}/clusters?label=",
        "search, a common word": f"{api}/clusters?q={common}",
        "search, two words": f"{api}/clusters?q={common}+{rare}",
        "search, nothing found": f"{api}/clusters?q=nowhere",
        "search by meaning": f"{api}/clusters?sort=meaning&q=money+back",
        "page: search by meaning": f"{page}/clusters?sort=meaning&q=money+back",
        "list of the quiet": f"{api}/clusters?activity=quiet",
        "effect of a threshold": f"{api}/rules/effect?threshold=0.6",
        **{f"list of {level}s": f"{api}/levels?level={level}" for level in ("intent", "topic")},
        "one large topic": f"{api}/levels/t1",
        "list of suggested merges": f"{api}/suggestions?kind=merge&limit=200",
        "events": f"{api}/events",
        "namespaces": "/api/v1/namespaces",
    }
    return {
        **{what: [path] * runs for what, path in fixed.items()},
        "one cluster": [f"{api}/clusters/c{number}" for number in numbers],
        "page: one cluster": [f"{page}/clusters/c{number}" for number in numbers],
    }


class _Server:
    """The command, and a client with one connection to it."""

    def __init__(self, process: psutil.Process, address: str, namespace: str) -> None:
        self._process = process
        self._address = address
        self._namespace = namespace
        self._client = httpx2.Client(base_url=address, timeout=_ANSWER_SECONDS)

    def wait_for(self, path: str, what: str) -> float:
        """Until a request is answered; returns the seconds that it took. Raises QuestreamError."""
        started = time.perf_counter()
        while time.perf_counter() < started + _START_SECONDS:
            if self._client.get(path).status_code == 200:
                return time.perf_counter() - started
            time.sleep(0.2)
        raise QuestreamError(f"the server did not {what}")

    def ask(self, what: str, paths: list[str]) -> ServeFigures:
        """Ask for all of these, one after the other."""
        seconds, cpu, size = [], [], 0
        for path in paths:
            cpu_before, started = self._cpu_seconds(), time.perf_counter()
            answer = self._client.get(path)
            while answer.status_code == 503 and time.perf_counter() < started + _ANSWER_SECONDS:
                time.sleep(0.1)
                answer = self._client.get(path)
            seconds.append(time.perf_counter() - started)
            cpu.append(self._cpu_seconds() - cpu_before)
            size = len(answer.content)
            if answer.status_code != 200:
                raise QuestreamError(f"{what}: HTTP {answer.status_code}")
        # The system counts processor time in hundredths: the mean of many is more exact than a median.
        return _figures(what, seconds, 1000 * float(np.mean(cpu[1:] or cpu)), size)

    def follow(self, settings: Settings, runs: int) -> ServeFigures:
        """The delay from the publication of a decision to its line on the page."""
        seconds = []
        arrived = threading.Semaphore(0)
        ready = threading.Event()

        def listen() -> None:
            path = f"/api/v1/namespaces/{self._namespace}/decisions"
            # The server is ended under it.
            with (
                suppress(httpx2.HTTPError),
                httpx2.stream("GET", f"{self._address}{path}", timeout=_ANSWER_SECONDS) as answer,
            ):
                for line in answer.iter_lines():
                    ready.set()
                    if line.startswith("data: ") and "cluster_id" in line:
                        arrived.release()

        threading.Thread(target=listen, daemon=True).start()
        if not ready.wait(_ANSWER_SECONDS):
            raise QuestreamError("the server sent no decisions")
        with _sender(settings) as send:
            for at in range(runs):
                started = time.perf_counter()
                send([Outgoing(settings.kafka.output_topic, None, _decision(self._namespace, at), ())])
                if not arrived.acquire(timeout=_ANSWER_SECONDS):
                    raise QuestreamError("a decision was not shown")
                seconds.append(time.perf_counter() - started)
        return _figures("a decision, from its sending on", seconds, None, 0)

    def resident_mib(self) -> float:
        """Memory of the server."""
        return float(self._process.memory_info().rss / 1024**2)

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def _cpu_seconds(self) -> float:
        return float(sum(self._process.cpu_times()[:2]))


@contextmanager
def _server(settings: Settings) -> Iterator[_Server]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "serve.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "questream", "serve", *_flags(settings)]
            started = start_tied(command, output)
        try:
            port = _wait_for_port(log, started.poll)
            (process,) = _processes(started.pid)
            server = _Server(process, f"http://127.0.0.1:{port}", settings.clusters.namespace)
            try:
                yield server
            finally:
                server.close()
        finally:
            if started.stdin is not None:
                started.stdin.close()
            started.wait(_ANSWER_SECONDS)


def _processes(pid: int) -> list[psutil.Process]:
    """The process of the command, under the shell that ties it to this one."""
    found = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [process for process in found if "questream" in process.cmdline() and "serve" in process.cmdline()
            and process.cmdline()[0] != "/bin/sh"]  # fmt: skip


def _wait_for_port(log: Path, ended: Callable[[], int | None]) -> int:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        found = _PORT.search(log.read_text(errors="replace"))
        if found is not None:
            return int(found[1])
        if ended() is not None:
            break
        time.sleep(0.1)
    raise QuestreamError("the server did not start", log.read_text(errors="replace")[-500:])


def _flags(settings: Settings) -> list[str]:
    kafka = settings.kafka
    given: dict[str, Any] = {
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "kafka.group_id": kafka.group_id,
        **{f"kafka.{role}_topic": getattr(kafka, f"{role}_topic")
           for role in ("input", "output", "cluster", "dead_letter", "event", "operation", "correction")},
        "redis.url": settings.redis.url.get_secret_value(),
        "clusters.namespace": settings.clusters.namespace,
        "model.name": settings.model.name,
        "serve.port": 0,
        "serve.requests_per_minute": 1_000_000,
        "log.format": "json",
    }  # fmt: skip
    return [f"--set={key}={value}" for key, value in given.items()]


def _decision(namespace: str, number: int) -> bytes:
    now = int(time.time() * 1000)
    return orjson.dumps(
        {
            "question_id": f"bench-{number}",
            "namespace": namespace,
            "cluster_id": "c1",
            "similarity": 0.9,
            "outcome": "joined",
            "cluster_size": 2,
            "source": {"topic": "bench", "partition": 0, "offset": number, "timestamp": now},
            "decided_at": format_time(now),
            "schema_version": 1,
        }
    )


def _figures(what: str, seconds: list[float], cpu: float | None, size: int) -> ServeFigures:
    later = np.array(seconds[1:] or seconds) * 1000
    return ServeFigures(
        what,
        len(seconds),
        seconds[0] * 1000,
        float(np.median(later)),
        float(np.quantile(later, 0.95)),
        cpu,
        size / 1024,
    )
