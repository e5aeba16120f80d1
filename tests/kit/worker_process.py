"""A worker as a process: `python -m tests.kit.worker_process JSON`, with a fault built in where the test wants one.

The JSON: `settings` by dotted key; `hash_encoder`, whether tests/kit/vectors.py replaces the model, and then
`text_seconds`, how long each text takes; `port_file`, where to write the port of the metrics page; `record`, a file for
every commit and merge that the store accepted, or null;
`clock`, a file with the seconds by which this process' clock is ahead, read again and again, or null;
`fault`, or null: `POINT:WHEN:CALL:DEED`, such as `commit:after:3:KILL`, several between commas. At its CALL-th call,
before or after, the process sends itself SIGKILL or SIGSTOP, or has the call HANG. The points are those of `POINTS`;
`publish-batch` is a `publish` of questions, where `publish` also counts those of states that wait.
`store_paths`: by the URL of a path to a Redis, the URL of the Redis; the path counts as one of its addresses.
`bug`, or null: one of tests/kit/checker/planted.py, which breaks the product in this process. `left_behind_seconds`, or
null: after how long the states that a dead worker did not publish are published by another.

With `model.processes` it owns the model of so many workers, processes of their own to which all of this happens too,
but for the port file: each has a port.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from kafka import KafkaConsumer, KafkaProducer
from pydantic import SecretStr

import questream.deciding.clusterer
import questream.stream.housekeeping
import questream.stream.worker
from questream.broker.kafka_python.producer import ProducerAdapter
from questream.broker.publisher import AtLeastOncePublisher, TransactionalPublisher
from questream.cli.run import Stopper
from questream.encoder import Encoder, load_encoder
from questream.interrupts import call_apart
from questream.logs import Redactor, configure_logging
from questream.settings import RedisSettings, Settings, load_settings
from questream.store.protocol import Committed
from questream.store.redis.store import RedisStore
from questream.stream.fence import Fence
from questream.stream.worker import Worker
from tests.kit.checker.planted import plant
from tests.kit.vectors import hash_encoder

# The line on stderr before a call hangs.
HANGS = "the call hangs"

POINTS: dict[str, tuple[Any, str]] = {
    "commit": (RedisStore, "commit"),
    "ledger": (RedisStore, "ledger"),
    "publish": (TransactionalPublisher, "publish"),
    "publish-batch": (TransactionalPublisher, "publish"),
    "publish-at-least-once": (AtLeastOncePublisher, "publish"),
    "fence": (Fence, "require"),
    "merge": (RedisStore, "merge"),
    "restore": (RedisStore, "restore"),
    "confirm": (RedisStore, "confirm"),
    "claim-operations": (RedisStore, "claim_operations"),
    "confirm-operations": (RedisStore, "confirm_operations"),
    "send": (ProducerAdapter, "send"),
    # Everything is sent, the offsets too; only the word that makes it count is missing.
    "commit-transaction": (KafkaProducer, "commit_transaction"),
    "commit-offsets": (KafkaConsumer, "commit"),
}


def main(arguments: dict[str, Any]) -> None:
    """Run until SIGTERM; a second SIGTERM ends at once."""
    settings = load_settings(Path(os.devnull), arguments["settings"])
    configure_logging(settings.log, Redactor())
    change(arguments, settings)
    if arguments["hash_encoder"]:
        encoder = hash_encoder(text_seconds=arguments["text_seconds"])
    else:
        encoder = load_encoder(settings.model)
    if settings.model.processes > 1:
        own_model(settings, encoder)
    else:
        run_worker(settings, encoder, Path(arguments["port_file"]))


def change(arguments: dict[str, Any], settings: Settings) -> None:
    """Put into this process what the arguments ask for."""
    if arguments["clock"]:
        follow_clock(Path(arguments["clock"]))
    if arguments["record"]:
        record_commits(Path(arguments["record"]))
    name_stores(arguments["store_paths"])
    if arguments["bug"]:
        plant(arguments["bug"])
    if arguments["left_behind_seconds"] is not None:
        housekeeping: Any = questream.stream.housekeeping
        housekeeping._LEFT_BEHIND_SECONDS = arguments["left_behind_seconds"]
    if arguments["fault"]:
        for fault in arguments["fault"].split(","):
            build_in(fault, settings.kafka.client)


def run_worker(settings: Settings, encoder: Encoder, port_file: Path) -> None:
    """Run a worker that has the model itself."""
    worker = Worker(settings, encoder)

    def on_signal(*_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
        call_apart(worker.stop)

    signal.signal(signal.SIGTERM, on_signal)
    threading.Thread(target=write_port, args=(worker, port_file), daemon=True).start()
    worker.run()


def own_model(settings: Settings, encoder: Encoder) -> None:
    """Run as many workers around the model as the settings say, as the command does."""
    from questream.cli import processes as command
    from questream.stream import processes

    loading: Any = processes
    loading.load_encoder = lambda _: encoder
    try:
        command.run_processes(settings, Stopper())
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


def write_port(worker: Worker, port_file: Path) -> None:
    """Write the port of the metrics page as soon as there is one; the file appears whole."""
    while not hasattr(worker, "metrics_port"):
        time.sleep(0.02)
    beside = port_file.with_suffix(".tmp")
    beside.write_text(str(worker.metrics_port))
    beside.rename(port_file)


def name_stores(servers: dict[str, str]) -> None:
    """Have a Redis that is reached by one of these paths be found at the Redis's own place.

    Workers must name their Redis alike; a path of a worker's own is another route to the same name.
    """
    worker: Any = questream.stream.worker
    location_of = worker.location_of

    def location(settings: RedisSettings) -> str:
        url = settings.url.get_secret_value()
        return str(location_of(settings.model_copy(update={"url": SecretStr(servers.get(url, url))})))

    worker.location_of = location


def follow_clock(path: Path) -> None:
    """Have this process' clock go ahead by as many seconds as the file says; behind, where they are negative."""
    true_time = time.time
    ahead_seconds = 0.0

    def read() -> None:
        nonlocal ahead_seconds
        # Between two of its contents the file is empty.
        with contextlib.suppress(OSError, ValueError):
            ahead_seconds = float(path.read_text())

    def follow() -> None:
        while True:
            read()
            time.sleep(0.1)

    read()
    time.time = lambda: true_time() + ahead_seconds
    threading.Thread(target=follow, name="clock", daemon=True).start()


def build_in(fault: str, client: str = "kafka-python") -> None:
    """Have the named call end or freeze this process, or hang."""
    point, when, call, deed = fault.split(":")
    owner, method = (POINTS if client == "kafka-python" else POINTS | confluent_points())[point]
    original: Callable[..., Any] = getattr(owner, method)
    calls = itertools.count(1)

    def counts(publisher: Any = None, records: Any = (), offsets: Any = None, *_: Any) -> bool:
        return point != "publish-batch" or bool(offsets)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        due = counts(*args) and next(calls) == int(call)
        if due and when == "before":
            do(deed)
        answer = original(*args, **kwargs)
        if due and when == "after":
            do(deed)
        return answer

    setattr(owner, method, faulty)


def confluent_points() -> dict[str, tuple[Any, str]]:
    """The points that the adapter of confluent-kafka has of its own; only its workers import it."""
    from questream.broker.confluent.consumer import ConsumerAdapter
    from questream.broker.confluent.producer import ProducerAdapter

    return {
        "send": (ProducerAdapter, "send"),
        "commit-transaction": (ProducerAdapter, "commit_transaction"),
        "commit-offsets": (ConsumerAdapter, "commit"),
    }


def do(deed: str) -> None:
    """End, freeze or hang; returns only from being frozen, after a SIGCONT."""
    if deed == "HANG":
        sys.stderr.write(f"{HANGS}\n")
        sys.stderr.flush()
        threading.Event().wait()
    os.kill(os.getpid(), signal.Signals[f"SIG{deed}"])


def record_commits(path: Path) -> None:
    """Append a line of JSON for each accepted commit, with its arrivals in the order they were decided, and merge."""
    # Its `propose` is watched because a proposal itself has the order within a partition only.
    clusterer: Any = questream.deciding.clusterer
    propose, commit, merge = clusterer.propose, RedisStore.commit, RedisStore.merge
    lines = path.open("a", buffering=1)
    arrived: dict[int, list[list[int]]] = {}

    def recording_propose(mirror: Any, assigner: Any, plan: Any, arrivals: Any, *more: Any, **named: Any) -> Any:
        proposal = propose(mirror, assigner, plan, arrivals, *more, **named)
        arrived[id(proposal)] = [
            [arrival.source.partition, arrival.source.offset, choice.cluster_id, int(choice.created)]
            for arrival, choice in zip(arrivals, plan.choices, strict=True)
        ]
        return proposal

    def recording_commit(self: Any, proposals: Any) -> Any:
        replies = commit(self, proposals)
        for namespace, reply in replies.items():
            if isinstance(reply, Committed):
                moved, decided = reply.seq > reply.missed.seq, arrived[id(proposals[namespace])]
                line = {"namespace": namespace, "seq": reply.seq, "moved": moved, "arrivals": decided}
                lines.write(json.dumps(line) + "\n")
        arrived.clear()
        return replies

    def recording_merge(self: Any, namespace: str, store_epoch: str, seq: int, merges: Any) -> Any:
        reply = merge(self, namespace, store_epoch, seq, merges)
        pairs = [[applied.merge.survivor, applied.merge.loser] for applied in reply.applied]
        if pairs:
            line = {"namespace": namespace, "seq": reply.seq, "moved": True, "merges": pairs}
            lines.write(json.dumps(line) + "\n")
        return reply

    clusterer.propose = recording_propose
    RedisStore.commit = recording_commit  # type: ignore[method-assign]  # the same call, watched
    RedisStore.merge = recording_merge  # type: ignore[method-assign]  # the same call, watched


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(json.loads(sys.argv[1]))
elif __name__ == "__mp_main__":
    # A worker around the model of the process that has these arguments.
    ITS = json.loads(sys.argv[1])
    change(ITS, load_settings(Path(os.devnull), ITS["settings"]))
