"""A stream for tests: send records, run workers, read what they committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO, Any, Self

import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from questream.broker.kafka_python.consumer import RecordConsumer
from questream.broker.kafka_python.patches import NULL
from questream.broker.kafka_python.producer import KeySerializer
from questream.deciding.close_calls import Judge
from questream.embedded import start_tied
from questream.encoder import Encoder
from questream.errors import ExitCode
from questream.settings import Settings, load_settings
from questream.store.redis.store import RedisStore
from questream.stream.worker import Worker
from tests.kit.child import ChildProcess, own_environment
from tests.kit.forked import start_module
from tests.kit.servers import Topics

WAIT_SECONDS = 40.0
# Short enough for a test to wait for, long enough for a loaded machine to keep.
SESSION_TIMEOUT_SECONDS = 4.0
_POLL_MS = 200
MAX_REQUEST_BYTES = 64 * 1024 * 1024
_MODULE = "tests.kit.worker_process"
# Where the release before has it.
_MODULE_OF_RELEASE = "tests.fault.worker_process"
# What it would refuse to start with.
_UNKNOWN_TO_RELEASE = frozenset({"kafka.event_topic", "kafka.operation_topic", "kafka.correction_topic"})


@dataclass(frozen=True, slots=True)
class Message:
    """A record to send."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


def question(number: int | str, text: str, **more: Any) -> Message:
    """A question in JSON with id and key `q<number>`; `more` are fields of the record."""
    return Message(json.dumps({"id": f"q{number}", "text": text}).encode(), f"q{number}".encode(), **more)


@dataclass
class Stream:
    """One stream's topics, on one broker, with its clusters in one Redis database.

    `options` are settings by their dotted keys, on top of what makes a worker quick to test.
    """

    bootstrap_servers: str
    topics: Topics
    redis_url: str
    options: dict[str, Any] = field(default_factory=dict)
    group_id: str = field(default_factory=lambda: f"group-{uuid.uuid4().hex[:8]}")

    def overrides(self, **more: Any) -> dict[str, Any]:
        """Settings by dotted key; in `more` two underscores replace the dot."""
        return {
            "kafka.bootstrap_servers": self.bootstrap_servers,
            "kafka.group_id": self.group_id,
            **{f"kafka.{name}": topic for name, topic in self.topics.settings().items()},
            "kafka.session_timeout_seconds": SESSION_TIMEOUT_SECONDS,
            "kafka.transaction_timeout_seconds": 5,
            "kafka.call_deadline_seconds": 12,
            "redis.url": self.redis_url,
            "redis.timeout_seconds": 2,
            "metrics.host": "127.0.0.1",
            "metrics.port": 0,
            "shutdown_seconds": 15,
            **self.options,
            **{name.replace("__", "."): value for name, value in more.items()},
        }

    def settings(self, **more: Any) -> Settings:
        """The settings of one worker."""
        return load_settings(Path(os.devnull), self.overrides(**more))

    def send(self, messages: Iterable[Message]) -> list[tuple[int, int]]:
        """Send to the input topic; returns partition and offset of each, once the broker has them."""
        return send(self.bootstrap_servers, self.topics.input_topic, messages)

    def decisions(self) -> Reader:
        """A reader of the output topic."""
        return Reader(self.bootstrap_servers, self.topics.output_topic)

    def dead_letters(self) -> Reader:
        """A reader of the dead-letter topic."""
        return Reader(self.bootstrap_servers, self.topics.dead_letter_topic)

    def cluster_states(self) -> Reader:
        """A reader of the cluster topic."""
        return Reader(self.bootstrap_servers, self.topics.cluster_topic)

    def redis(self) -> redis.Redis:
        """A client of the stream's Redis that answers bytes."""
        return redis.Redis.from_url(self.redis_url)

    def store(self) -> RedisStore:
        """The stream's clusters."""
        return RedisStore(self.redis())

    def end(self, partition: int) -> int:
        """Where the log of a partition of the input topic ends, marks of transactions included."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap_servers)
        at = TopicPartition(self.topics.input_topic, partition)
        try:
            return int(consumer.end_offsets([at])[at])
        finally:
            consumer.close(autocommit=False)

    def set_back(self) -> None:
        """Have the group, which nobody is in, begin at the start of the input topic again."""
        self.set_to(0)

    def set_to(self, offset: int) -> None:
        """Have the group, which nobody is in, begin at this offset of each partition of the input topic."""
        consumer = RecordConsumer(
            bootstrap_servers=self.bootstrap_servers, group_id=self.group_id, enable_auto_commit=False
        )
        try:
            topic = self.topics.input_topic
            partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            consumer.commit({partition: OffsetAndMetadata(offset, "", -1) for partition in partitions})
        finally:
            consumer.close(autocommit=False)

    def committed(self) -> dict[int, int]:
        """The group's committed offset by partition of the input topic."""
        consumer = RecordConsumer(
            bootstrap_servers=self.bootstrap_servers, group_id=self.group_id, enable_auto_commit=False
        )
        try:
            topic = self.topics.input_topic
            partitions = sorted(consumer.partitions_for_topic(topic) or ())
            found = {p: consumer.committed(TopicPartition(topic, p)) for p in partitions}
            return {p: offset for p, offset in found.items() if offset is not None}
        finally:
            consumer.close(autocommit=False)


def forget(stream: Stream, *dead: WorkerProcess) -> None:
    """Have the group drop dead workers now, as it would at the end of their session timeout.

    For tests that ask what the next worker finds, and not when it comes.
    """
    names = {worker.name for worker in dead}
    assert not any(worker.running for worker in dead)
    with closing(KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)) as admin:
        group = admin.describe_groups([stream.group_id])[stream.group_id]
        left = [MemberToRemove(member["member_id"]) for member in group["members"] if member["client_id"] in names]
        admin.remove_group_members(stream.group_id, left)


def send(bootstrap_servers: str, topic: str, messages: Iterable[Message]) -> list[tuple[int, int]]:
    """Send records; returns partition and offset of each, once the broker has them."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap_servers,
        linger_ms=5,
        max_request_size=MAX_REQUEST_BYTES,
        key_serializer=KeySerializer(),
    )
    try:
        futures = [
            producer.send(
                topic,
                value=message.value,
                # A null key beside a null value is refused before it is serialised, and only then.
                key=NULL if message.key is None and message.value is None else message.key,
                headers=[(name, NULL if value is None else value) for name, value in message.headers],
                partition=message.partition,
                timestamp_ms=message.timestamp_ms,
            )
            for message in messages
        ]
        producer.flush(timeout=WAIT_SECONDS)
        return [(sent.partition, sent.offset) for sent in (future.get(timeout=WAIT_SECONDS) for future in futures)]
    finally:
        producer.close(timeout=5)


class RawName(str):
    """A header's name that is these bytes, UTF-8 or not."""

    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        """A name that kafka-python's producer encodes to `raw`."""
        name = super().__new__(cls, raw.decode(errors="surrogateescape"))
        name.raw = raw
        return name

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - the base's signature
        """The bytes."""
        return self.raw


class Reader:
    """Reads all partitions of a topic from their beginning, committed records only."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._consumer = RecordConsumer(
            bootstrap_servers=bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            # As long as a poll waits: most readers wait for a worker, and would ask the broker again and again.
            fetch_max_wait_ms=_POLL_MS,
        )
        self._partitions = [TopicPartition(topic, p) for p in sorted(self._consumer.partitions_for_topic(topic) or ())]
        self._consumer.assign(self._partitions)
        self.records: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close(autocommit=False)

    def poll(self) -> list[Any]:
        """What has come since, if anything."""
        fetched = [record for records in self._consumer.poll(timeout_ms=_POLL_MS).values() for record in records]
        self.records += fetched
        return fetched

    def until(self, count: int, seconds: float = WAIT_SECONDS) -> list[Any]:
        """All records so far, once there are `count` of them; fails where none comes for `seconds`."""
        deadline = time.monotonic() + seconds
        while len(self.records) < count:
            if self.poll():
                deadline = time.monotonic() + seconds
            assert time.monotonic() < deadline, f"{len(self.records)} of {count} records, and none for {seconds:.0f} s"
        return self.records

    def rest(self) -> list[Any]:
        """All records up to what is committed now."""
        ends = self._consumer.end_offsets(self._partitions)
        deadline = time.monotonic() + WAIT_SECONDS
        while any(self._consumer.position(p) < end for p, end in ends.items()):
            self.poll()
            assert time.monotonic() < deadline, "the end of the topic is not in reach"
        return self.records

    def values(self, count: int | None = None, seconds: float = WAIT_SECONDS) -> list[Any]:
        """The JSON values of at least `count` records, or of all there are."""
        records = self.rest() if count is None else self.until(count, seconds)
        return [json.loads(record.value) for record in records]


def ids_of(decisions: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many decisions each question has."""
    return Counter(decision["question_id"] for decision in decisions)


def assert_one_decision_each(decisions: Sequence[dict[str, Any]], expected: Iterable[str]) -> None:
    """Fail unless each of the expected question ids has exactly one decision."""
    counts, wanted = ids_of(decisions), set(expected)
    twice = {name: count for name, count in counts.items() if count > 1}
    missing, strange = wanted - counts.keys(), counts.keys() - wanted
    wrong = {"twice": sorted(twice), "missing": sorted(missing), "strange": sorted(strange)}
    assert not any(wrong.values()), {name: (len(ids), ids[:5]) for name, ids in wrong.items()}


def assert_repetitions_agree(decisions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One decision of each question; fails where a repetition says something else."""
    first: dict[str, dict[str, Any]] = {}
    for decision in decisions:
        before = first.setdefault(decision["question_id"], decision)
        differs = {name: (before[name], decision[name]) for name in before if before[name] != decision[name]}
        assert not differs, f"{decision['question_id']}: {differs}"
    return list(first.values())


def assert_sizes_have_no_gap(decisions: Sequence[dict[str, Any]]) -> None:
    """The decisions of each cluster count 1, 2, 3... Only for streams where nothing merges."""
    sizes: dict[str, list[int]] = {}
    for decision in decisions:
        sizes.setdefault(decision["cluster_id"], []).append(decision["cluster_size"])
    for cluster_id, counted in sizes.items():
        assert sorted(counted) == list(range(1, len(counted) + 1)), f"{cluster_id} counted {sorted(counted)}"


def members(stream: Stream) -> dict[str, int]:
    """Partitions by worker of the stream's group; empty while it rebalances."""
    admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
    try:
        group = admin.describe_groups([stream.group_id])[stream.group_id]
    except KafkaError:
        # The first group of a broker's life waits for the topic of the offsets.
        return {}
    finally:
        admin.close()
    if group["group_state"] != "Stable":
        return {}
    return {
        member["client_id"]: sum(
            len(topic["partitions"]) for topic in member["member_assignment"]["assigned_partitions"]
        )
        for member in group["members"]
    }


def metric_values(port: int) -> dict[str, float]:
    """The metrics page's samples, labels written as on the page: `name{label="value"}`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def wait_for_metrics(port: int, expected: Mapping[str, float]) -> None:
    """Until the metrics page has these values: a worker counts what it has published, a moment after it is visible."""
    wait_until(lambda: expected.items() <= metric_values(port).items(), f"the metrics page has {dict(expected)}")


def probe(port: int, name: str) -> tuple[int, str]:
    """Status and text of /livez or /readyz."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def live_sizes(store: RedisStore, namespace: str = "default") -> dict[str, int]:
    """Size by public id of the live clusters."""
    return {f"c{state.cluster_id}": state.size for state in store.clusters(namespace)}


def real_questions(count: int) -> list[str]:
    """Questions of BANKING77, as the demo streams them."""
    lines = (files("questream.lab.demo") / "banking77.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[:count]]


def wait_until(condition: Callable[[], bool], promise: str, seconds: float = WAIT_SECONDS) -> None:
    """Return as soon as `condition` holds; fails with the promise that was not kept."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {promise}"
        time.sleep(0.05)


@contextmanager
def running_worker(
    settings: Settings, encoder: Encoder, former: Encoder | None = None, judge: Judge | None = None
) -> Iterator[Worker]:
    """A worker in a thread of this process; stopped at the end, and what it raised is raised here."""
    worker = Worker(settings, encoder, former, judge=judge)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:  # raised again in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run, name="worker", daemon=True)
    thread.start()
    try:
        wait_until(lambda: hasattr(worker, "metrics_port") or not thread.is_alive(), "the worker serves its metrics")
        yield worker
    finally:
        worker.stop()
        thread.join(WAIT_SECONDS)
    assert not thread.is_alive(), "the worker did not stop"
    if errors:
        raise errors[0]


class WorkerProcess(ChildProcess):
    """A worker as a process of its own: `python -m tests.kit.worker_process`.

    `model` is a model's folder, or None for the encoder of tests/kit/vectors.py, then taking `text_seconds` a text.
    `fault` is where it shall end or freeze itself, as worker_process.py describes; `record` a file for what it commits;
    `bug` one to plant in it, and `left_behind_seconds` after how long it publishes what a dead worker left
    behind; `clock` a file that says by how many seconds its clock is ahead. `overrides` are what its next life is
    started with; `release` is the folder of another release's `src` and `tests`, to run that one. `store_paths` gives
    the URL of a Redis by that of a path to it.
    """

    def __init__(
        self,
        folder: Path,
        overrides: dict[str, Any],
        *,
        model: Path | None = None,
        text_seconds: float = 0.0,
        fault: str | None = None,
        record: Path | None = None,
        clock: Path | None = None,
        bug: str | None = None,
        left_behind_seconds: float | None = None,
        release: Path | None = None,
        store_paths: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.release = release
        self.name = f"worker-{uuid.uuid4().hex[:6]}"
        self.log = folder / f"{self.name}.log"
        self.port_file = folder / f"{self.name}.port"
        unknown = frozenset() if release is None else _UNKNOWN_TO_RELEASE
        self.overrides = {"kafka.worker_id": self.name} | {k: v for k, v in overrides.items() if k not in unknown}
        if model is not None:
            self.overrides["model.name"] = str(model)
        self._arguments: dict[str, Any] = {
            "settings": self.overrides,
            "port_file": str(self.port_file),
            "hash_encoder": model is None,
            "text_seconds": text_seconds,
            "fault": fault,
            "record": str(record) if record else None,
            "clock": str(clock) if clock else None,
            "bug": bug,
            "left_behind_seconds": left_behind_seconds,
            "store_paths": dict(store_paths or {}),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, for the first time or again."""
        self.port_file.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            if self._forkable:
                self._process = start_module(_MODULE, [json.dumps(self._arguments)], own_environment(), output)
            else:
                self._process = self._start_anew(output)
        # It happens once, not again in the life after it.
        self._arguments["fault"] = None

    @property
    def _forkable(self) -> bool:
        """True if a nursery has imported what it needs: not another release, nor what runs a model.

        An owner of a model starts processes of its own, which a nursery would end with it.
        """
        owns = self.overrides.get("model.processes", 1) > 1
        return self.release is None and self._arguments["hash_encoder"] and not owns

    def _start_anew(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        environment = own_environment()
        if self.release is not None:
            # Safe path: `-m` would put the folder of this process before it.
            environment["PYTHONPATH"] = f"{self.release / 'src'}{os.pathsep}{self.release}"
            environment["PYTHONSAFEPATH"] = "1"
        module = _MODULE if self.release is None else _MODULE_OF_RELEASE
        return start_tied([sys.executable, "-m", module, json.dumps(self._arguments)], output, environment)

    def has_started(self) -> bool:
        """True if its model is loaded and its metrics are served."""
        return self.port_file.exists()

    @property
    def port(self) -> int:
        """The port of its metrics page; waits for it."""
        wait_until(self.has_started, f"{self.name} serves its metrics")
        return int(self.port_file.read_text())

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """Its exit code; a signal's number is negative. Fails if it does not end."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:.0f} s:\n{self.end_of_log()}") from None

    def is_frozen(self) -> bool:
        """True if it is stopped (SIGSTOP)."""
        assert self._process is not None
        return "\nState:\tT" in Path(f"/proc/{self._process.pid}/status").read_text()

    @property
    def resident_bytes(self) -> int:
        """The memory it has resident."""
        return self._status_bytes("VmRSS")

    @property
    def peak_resident_bytes(self) -> int:
        """The most memory it ever had resident."""
        return self._status_bytes("VmHWM")

    def _status_bytes(self, name: str) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name))

    def end_of_log(self) -> str:
        """The last lines it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


class Supervisor:
    """What systemd or Kubernetes does: starts a worker again that ended because a call to Kafka was stuck (code 75)."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self.restarts = 0

    def __enter__(self) -> Self:
        self.worker.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.worker.kill()

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            if not self.worker.running and self.worker.wait(1) == ExitCode.STUCK:
                self.restarts += 1
                self.worker.kill()
                self.worker.start()
