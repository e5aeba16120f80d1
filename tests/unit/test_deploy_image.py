"""worker/Dockerfile, what goes into its build, and its health check."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from prometheus_client import CollectorRegistry

from questream.settings import Settings
from questream.stream.health import HealthServer
from tests.kit.servers.process import free_port

ROOT = Path(__file__).parents[2]
READY = ROOT / "worker" / "ready.py"


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its continued lines joined."""

    name: str
    rest: str


def instructions() -> list[Instruction]:
    lines = (line for line in (ROOT / "worker" / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def last_stage() -> list[Instruction]:
    """The instructions of the stage that the image is made of."""
    everything = instructions()
    starts = [at for at, instruction in enumerate(everything) if instruction.name == "FROM"]
    return everything[starts[-1] :]


def only(name: str) -> str:
    """What follows the one instruction of this name in the last stage."""
    (found,) = [instruction.rest for instruction in last_stage() if instruction.name == name]
    return found


def copied_from_the_repository() -> set[str]:
    arguments = [shlex.split(instruction.rest) for instruction in instructions() if instruction.name == "COPY"]
    return {source for given in arguments if not given[0].startswith("--from") for source in given[:-1]}


def test_what_the_image_copies_exists_and_nothing_else_is_sent_to_its_build() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = copied_from_the_repository()
    assert let_in == copied
    assert all((ROOT / source).exists() for source in copied)
    assert any(fnmatch.fnmatch("src/questream/__pycache__", pattern) for pattern in patterns[1:])


def test_every_stage_stands_on_one_named_release_of_python() -> None:
    everything = instructions()
    (version,) = {i.rest.partition("=")[2] for i in everything if i.rest.startswith("PYTHON_VERSION=")}
    assert re.fullmatch(r"3\.\d+", version)
    bases = {i.rest.split()[0] for i in everything if i.name == "FROM"}
    assert bases == {"python:${PYTHON_VERSION}-slim-bookworm"}


def test_the_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    user = only("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.split(':')[0]} " in only("RUN")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert compose["services"]["worker"]["user"] == user


def test_the_image_starts_questream_without_a_shell_between_it_and_its_signals() -> None:
    assert json.loads(only("ENTRYPOINT")) == ["questream"]
    assert json.loads(only("CMD")) == ["run"]


def test_modules_are_compiled_when_the_image_is_built() -> None:
    environment = " ".join(instruction.rest for instruction in instructions() if instruction.name == "ENV")
    assert "UV_COMPILE_BYTECODE=1" in environment
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_the_model_cache_lies_in_the_volume() -> None:
    (volume,) = json.loads(only("VOLUME"))
    assert f"HF_HOME={volume} " in only("ENV")
    assert f" {volume}" in only("RUN")


def test_the_health_check_is_the_same_in_image_and_compose_and_runs_a_file_of_the_image() -> None:
    in_image = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert compose["services"]["worker"]["healthcheck"]["test"] == ["CMD", *in_image]
    assert any(i.name == "COPY" and i.rest.split() == ["worker/ready.py", in_image[-1]] for i in last_stage())


def test_the_exposed_port_is_the_one_that_metrics_are_served_on() -> None:
    assert int(only("EXPOSE")) == Settings().metrics.port


@contextmanager
def serving(trouble: str | None) -> Iterator[int]:
    """The port of a worker's probes, where /readyz answers with this trouble."""
    server = HealthServer("127.0.0.1", 0, CollectorRegistry(), live=lambda: None, ready=lambda: trouble)
    try:
        yield server.port
    finally:
        server.close()


def check(port: int | str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "QUESTREAM_METRICS__PORT": str(port)}
    command = [sys.executable, "-IS", str(READY)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


def test_a_ready_worker_is_healthy() -> None:
    with serving(None) as port:
        checked = check(port)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_worker_that_is_not_ready_is_unhealthy_and_says_why() -> None:
    with serving("Redis does not answer") as port:
        checked = check(port)
    assert (checked.returncode, checked.stderr) == (1, "Redis does not answer\n")


def test_a_worker_that_does_not_serve_is_unhealthy() -> None:
    port = free_port()
    checked = check(port)
    assert checked.returncode == 1
    assert f"no answer on port {port}" in checked.stderr


def test_where_the_environment_names_no_port_the_default_of_the_settings_is_asked() -> None:
    assert runpy.run_path(str(READY))["DEFAULT_PORT"] == Settings().metrics.port
    # Whether anything listens there is not ours to say; an empty variable, as compose files leave it, is no port.
    assert "Traceback" not in check("").stderr
